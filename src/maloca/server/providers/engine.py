"""The engine, and a standby engine, as providers."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Literal

import structlog

from maloca.client.engine import EngineClient
from maloca.core.completer import CompletionRequest
from maloca.core.errors import MalocaError, ModelNotFound, Unavailable
from maloca.core.events import Event

DEFAULT: Final = "default"
_READY: Final = frozenset({"ready", "loading"})

log = structlog.get_logger(__name__)


class EngineProvider:
    """Asks the engine. A selected model takes the place of `default` once the engine has it."""

    name: Literal["engine"] = "engine"
    local = True
    secret: str | None = None

    def __init__(self, client: EngineClient, *, model: str = DEFAULT) -> None:
        """Speak through a client that its maker closes."""
        self._client = client
        self._selected = model
        self._missing = False

    @property
    def model(self) -> str:
        """The selected model, or `default` while the engine does not have it."""
        return DEFAULT if self._missing else self._selected

    @model.setter
    def model(self, name: str) -> None:
        self._selected, self._missing = name, False

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the engine's events; see `Completer.complete`."""
        if request.model == DEFAULT and self.model != DEFAULT:
            return self._complete_selected(request)
        return self._client.complete(request)

    async def _complete_selected(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the selected model's events, or those of the engine's default without it."""
        selected = dataclasses.replace(request, model=self._selected)
        try:
            async with aclosing(self._client.complete(selected)) as events:
                async for event in events:
                    yield event
        except MalocaError as error:
            # A model is looked for before anything starts.
            if error.info.code != ModelNotFound.code:
                raise
        else:
            return
        self._note_missing(missing=True)
        async with aclosing(self._client.complete(request)) as events:
            async for event in events:
                yield event

    async def check(self) -> None:
        """Find out whether the engine runs and has the selected model; see `Provider.check`."""
        await _check(self._client)
        if self._selected != DEFAULT:
            self._note_missing(missing=not await self.has(self._selected))

    def _note_missing(self, *, missing: bool) -> None:
        if missing and not self._missing:
            log.warning(
                "selected_model_missing",
                model=self._selected,
                hint="Pull it with maloca models pull, or select another; "
                "the engine's default answers meanwhile.",
            )
        self._missing = missing

    async def has(self, name: str) -> bool:
        """Return whether the engine has a chat model of that name or alias.

        Raises:
            MalocaError: It cannot be asked.
        """
        return any(
            name == model.name or name in model.aliases
            for model in await self._client.models()
            if model.kind == "chat"
        )

    async def aclose(self) -> None:
        """Leave the client to its maker."""


class StandbyProvider:
    """Asks a second engine for its own default model, whatever model was meant."""

    name: Literal["standby"] = "standby"
    local = True
    secret: str | None = None

    def __init__(self, client: EngineClient, *, model: str = DEFAULT) -> None:
        """Take over the client, and close it in the end."""
        self._client = client
        self.model = model

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the standby's events; see `Completer.complete`."""
        return self._client.complete(dataclasses.replace(request, model=self.model))

    async def check(self) -> None:
        """Find out whether the standby runs; see `Provider.check`."""
        await _check(self._client)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _check(client: EngineClient) -> None:
    """Ask an engine how it is.

    Raises:
        MalocaError: It cannot be reached, or says that it cannot work.
    """
    found = await client.health()
    status = str(found.get("status"))
    if status not in _READY:
        raise _unwell(client, status, str(found.get("message") or "no reason given"))


def _unwell(client: EngineClient, status: str, message: str) -> MalocaError:
    return Unavailable(f"The engine at {client.url} is {status}: {message}.", code="engine_unwell")
