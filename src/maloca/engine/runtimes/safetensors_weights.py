"""The tensors of a safetensors file as float32 arrays, read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from maloca.core.errors import ModelFailed
from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.store.safetensors_header import SafeTensor, read_safetensors_header

Floats = npt.NDArray[np.float32]

_SUPPORTED: Final = ("F32", "F16", "BF16")


class SafetensorsWeights:
    """Tensors by name; one is read from disk when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Check the header and map the file.

        Raises:
            ModelLoadError: The file is missing, damaged or no safetensors file.
        """
        self.path = path
        try:
            self._tensors = read_safetensors_header(path)
            self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        except ModelFailed as error:
            raise ModelLoadError(str(error)) from error
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{path} cannot be mapped into memory: {error}.") from error

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return one tensor of exactly that shape.

        Raises:
            ModelLoadError: It is missing, of another shape, or of a type without a
                reading here.
        """
        entry = self._tensors.get(name)
        if entry is None:
            raise ModelLoadError(f"{self.path} lacks the tensor {name!r}, which its config needs.")
        if entry.shape != shape:
            raise ModelLoadError(
                f"{self.path}: tensor {name!r} has the shape {list(entry.shape)}, "
                f"but its config wants {list(shape)}."
            )
        return self._floats(entry).reshape(shape)

    def _floats(self, entry: SafeTensor) -> Floats:
        raw = self._bytes[entry.begin : entry.end]
        match entry.dtype:
            case "F32":
                return raw.view("<f4").astype(np.float32, copy=False)
            case "F16":
                return raw.view("<f2").astype(np.float32)
            case "BF16":
                # The upper half of a float32, so the lower half is filled with zeros.
                return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
            case other:
                raise ModelLoadError(
                    f"{self.path}: tensor {entry.name!r} is {other}; "
                    f"only {', '.join(_SUPPORTED)} can be read."
                )
