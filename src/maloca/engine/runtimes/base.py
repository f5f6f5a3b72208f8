"""What a runtime must do. Its instances live inside a model worker, on one thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from maloca.engine.workers.frames import Capacity, GenerationParams, ModelSpec, TokenOutput


class BaseRuntime(ABC):
    """A loaded model. Constructing one loads the weights and may take seconds."""

    capacity: Capacity

    @abstractmethod
    def __init__(self, spec: ModelSpec) -> None:
        """Load the model and warm it up.

        Raises:
            ModelLoadError: The files are damaged or this runtime cannot read them.
        """


class ChatRuntime(BaseRuntime):
    """Generates tokens for several requests in steps."""

    @abstractmethod
    def add(self, request_id: int, prompt: Sequence[int], params: GenerationParams) -> None:
        """Begin a generation; its first token comes from a later `step`.

        Raises:
            ValueError: The runtime refuses this one request; others are not touched.
        """

    @abstractmethod
    def cancel(self, request_id: int) -> None:
        """Stop a generation and free its blocks; no output follows. Unknown ids are ignored."""

    @abstractmethod
    def step(self) -> list[TokenOutput]:
        """Advance every running request and return what is new.

        A step should stay under about 100 ms: cancellation and fairness live between steps.
        """

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether a step would do anything."""


class EmbeddingRuntime(BaseRuntime):
    """Turns token sequences into unit vectors."""

    @abstractmethod
    def embed(self, batch: Sequence[Sequence[int]]) -> bytes:
        """Return row-major little-endian float32 of shape (len(batch), capacity.dim)."""


class ModelLoadError(Exception):
    """The model cannot be loaded; the message names the file and what is wrong with it."""
