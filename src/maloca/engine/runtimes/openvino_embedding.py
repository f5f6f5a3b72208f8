"""Text embeddings in OpenVINO, from an IR, an ONNX file or a BERT encoder's safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import openvino as ov
from msgspec import Meta

from maloca.engine.runtimes.base import EmbeddingRuntime, ModelLoadError
from maloca.engine.runtimes.bert_config import CONFIG, BertConfig
from maloca.engine.runtimes.bert_graph import build_bert
from maloca.engine.runtimes.length_groups import length_groups
from maloca.engine.runtimes.safetensors_weights import SafetensorsWeights
from maloca.engine.runtimes.sentence_pooling import Pooling, sentence_model
from maloca.engine.workers.frames import Capacity, ModelSpec

DEVICE: Final = "CPU"

# Measured with bench/embeddings.py: from 256 tokens on a group is as fast as it gets, and a run
# of the model costs as much by itself as some 16 tokens.
GROUP_TOKENS: Final = 512
GROUP_PADDING: Final = 16

MAX_TOKEN_ID: Final = 2**31

_READABLE: Final = (".xml", ".onnx", ".safetensors")
_SHIPPED: Final = ("openvino/openvino_model.xml", "onnx/model.onnx")


class EmbeddingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of this runtime.

    Attributes:
        pooling: The mean of a text's token vectors, or the vector of its first token.
        normalize: Whether vectors get unit length.
        threads: Processor threads; None lets OpenVINO take every core.
        precision: Of the arithmetic; "bf16" needs a processor that computes in it.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    precision: Literal["f32", "bf16"] = "f32"


class OpenVinoEmbedding(EmbeddingRuntime):
    """Runs one text encoder on the processor.

    A text's vector does not depend on what else is in the batch, but for rounding.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Load, compile and warm up the model that `spec.weights` names.

        Weights in safetensors give way to an IR or ONNX file that the model ships beside them.

        Raises:
            ModelLoadError: The files are damaged, or ask for what is not supported.
        """
        core = ov.Core()
        options = _options(spec, core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))
        path = _choose(Path(spec.weights), Path(spec.folder))
        encoder, self._vocabulary, positions = _read(core, path)
        try:
            model = sentence_model(encoder, options.pooling, normalize=options.normalize)
            compiled = core.compile_model(model, DEVICE, _settings(options))
        except (ModelLoadError, RuntimeError) as error:
            raise ModelLoadError(f"{path} cannot be run: {_brief(error)}") from error
        self._types = [port.get_element_type().to_dtype() for port in compiled.inputs]
        self._request = compiled.create_infer_request()
        length = min(spec.context_length, positions or spec.context_length)
        dim = self._warm_up(path, length)
        self.capacity = Capacity(context_length=length, dim=dim, device=DEVICE)

    def embed(self, batch: Sequence[Sequence[int]]) -> bytes:
        """Return row-major little-endian float32 of shape (len(batch), capacity.dim).

        Raises:
            ValueError: A text is empty, too long, or has an id outside of the vocabulary.
        """
        lengths = [len(text) for text in batch]
        self._check(batch, lengths)
        vectors = np.empty((len(batch), self.capacity.dim), dtype="<f4")
        groups = length_groups(lengths, max_tokens=GROUP_TOKENS, max_padding=GROUP_PADDING)
        for group in groups:
            vectors[group] = self._run([batch[position] for position in group])
        return vectors.tobytes()

    def _check(self, batch: Sequence[Sequence[int]], lengths: Sequence[int]) -> None:
        """Refuse what the model would answer with nonsense instead of an error."""
        limit = self.capacity.context_length
        for position, (text, length) in enumerate(zip(batch, lengths, strict=True)):
            if not 0 < length <= limit:
                raise ValueError(f"text {position} has {length} tokens, not 1 to {limit}")
            for wrong in (min(text), max(text)):
                if not 0 <= wrong < self._vocabulary:
                    raise ValueError(
                        f"text {position} has the token id {wrong}, not 0 to {self._vocabulary - 1}"
                    )

    def _run(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Return the vectors of one group, shape (texts, dim)."""
        shape = (len(texts), max(map(len, texts)))
        ids, mask = (np.zeros(shape, dtype) for dtype in self._types)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        self._request.infer([ids, mask], share_inputs=True)
        vectors: npt.NDArray[np.float32] = self._request.get_output_tensor().data
        return vectors

    def _warm_up(self, path: Path, length: int) -> int:
        """Run a short and a long text, and return the vectors' length.

        Raises:
            ModelLoadError: The model fails, or its vectors are not made of numbers.
        """
        try:
            for text in ([0], [0] * min(length, GROUP_TOKENS)):
                vectors = self._run([text])
        except RuntimeError as error:
            raise ModelLoadError(f"{path} cannot be run: {_brief(error)}") from error
        if not np.isfinite(vectors).all():
            raise ModelLoadError(f"{path} does not give finite vectors; its weights are damaged.")
        return int(vectors.shape[-1])


def _options(spec: ModelSpec, device_can: Sequence[str]) -> EmbeddingOptions:
    """Return the spec's options, which must be known and within what the device can do."""
    try:
        options = msgspec.convert(spec.options, EmbeddingOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(EmbeddingOptions.__struct_fields__)
        raise ModelLoadError(
            f"the options {spec.options} of {spec.name} cannot be used: {error}. There are "
            f"{known}; pooling is mean or cls, precision is f32 or bf16."
        ) from None
    # OpenVINO itself would fall back to float32 without a word.
    if options.precision.upper() not in {"F32", *device_can}:
        raise ModelLoadError(
            f"precision is {options.precision}, which this processor cannot compute in; "
            f"set precision to f32 for {spec.name}."
        )
    return options


def _choose(weights: Path, folder: Path) -> Path:
    """Return what to load: the graph that the model ships, where it ships one."""
    if weights.suffix not in _READABLE:
        raise ModelLoadError(f"{weights} is none of {', '.join(_READABLE)}.")
    if weights.suffix != ".safetensors":
        return weights
    shipped = (folder / name for name in _SHIPPED)
    return next((path for path in shipped if path.is_file()), weights)


def _read(core: ov.Core, path: Path) -> tuple[ov.Model, int, int | None]:
    """Return the encoder, the size of its vocabulary and the positions that it has, if known."""
    if path.suffix == ".safetensors":
        config = BertConfig.read(path.with_name(CONFIG))
        return build_bert(config, SafetensorsWeights(path)), config.vocab_size, config.positions
    if not path.is_file():
        raise ModelLoadError(f"{path} is missing.")
    try:
        return core.read_model(path), MAX_TOKEN_ID, None
    except RuntimeError as error:
        raise ModelLoadError(f"OpenVINO cannot read {path}: {_brief(error)}") from error


def _settings(options: EmbeddingOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        # One group at a time on every thread: as fast in all as one group per thread, and a
        # single question is answered in half the time.
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": options.precision,
        # Workers that pin threads would all choose the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    return settings


def _brief(error: Exception) -> str:
    """Return the last line of an error: OpenVINO puts its own source lines before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
