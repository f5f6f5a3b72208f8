"""Which model, in which version, a name means at this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from maloca.core.completer import CompletionRequest, ModelLister
from maloca.core.errors import MalocaError
from maloca.server.providers.engine import DEFAULT
from maloca.server.providers.house import Providers

REFRESH_SECONDS: Final = 2.0


class ModelIdentities:
    """Knows the engine's models by name and alias, a few seconds late at most.

    While the engine does not answer, its models are those that it had: what they said before is
    still what they would say.
    """

    def __init__(
        self,
        lister: ModelLister,
        *,
        means: Callable[[CompletionRequest], str | None] = lambda request: request.model,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nobody yet.

        Args:
            lister: Knows the engine's models.
            means: Returns the engine's model that a request would be answered by first; None if
                another provider comes first.
            clock: Monotonic seconds, for tests.
        """
        self._lister = lister
        self._means = means
        self._clock = clock
        self._known: dict[str, tuple[str, str]] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def of(self, request: CompletionRequest) -> tuple[str, str] | None:
        """Return a model's own name and what identifies its version; None if it is not known."""
        name = self._means(request)
        if name is None:
            return None
        if self._clock() - self._read_at >= REFRESH_SECONDS:
            async with self._reading:
                if self._clock() - self._read_at >= REFRESH_SECONDS:
                    await self._read()
        return self._known.get(name)

    async def _read(self) -> None:
        try:
            models = await self._lister.models()
        except MalocaError:
            models = None
        self._read_at = self._clock()
        if models is None:
            return
        self._known = {
            name: (model.name, f"{model.name}|{model.created}|{model.size}|{model.runtime}")
            for model in models
            for name in (model.name, *model.aliases)
        }


def preferred_model(providers: Providers) -> Callable[[CompletionRequest], str | None]:
    """Return a function that tells which of the engine's models a request asks first.

    It returns None while another provider comes first: whose model and version that is, nobody
    here knows.
    """

    def means(request: CompletionRequest) -> str | None:
        links = providers.links()
        name = request.provider or (links[0].provider.name if links else None)
        engine = providers.link("engine")
        if engine is None or name not in {"engine", "hf"}:
            return None
        return engine.provider.model if request.model == DEFAULT else request.model

    return means
