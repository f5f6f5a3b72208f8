"""The engine as a library: models by name or alias, completions, embeddings. No HTTP here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence

import structlog

from maloca.core.completer import CompletionRequest, EmbeddingRequest, Embeddings, ModelInfo
from maloca.core.errors import ErrorInfo, InvalidRequest, MalocaError, Unavailable
from maloca.core.events import Event
from maloca.core.messages import Message
from maloca.engine.chat import ChatModel
from maloca.engine.embedding import EmbeddingModel
from maloca.engine.metrics import EngineMetrics
from maloca.engine.settings import EngineSettings
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.store import ModelStore

DEFAULT = "default"
EMBEDDING = "embedding"

log = structlog.get_logger(__name__)


class Engine:
    """Implements `Completer`, `Embedder` and `ModelLister` over the model store.

    A model is loaded when it is first asked for; the aliased ones at start.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.store = ModelStore(settings.models_dir)
        self.metrics = EngineMetrics()
        # Why an alias could not be loaded at the start.
        self.problems: dict[str, ErrorInfo] = {}
        self._loaded: dict[str, ChatModel | EmbeddingModel] = {}
        self._stopping = False

    async def start(self) -> None:
        """Begin to load the aliased models; one that is not there is only a warning."""
        if not self.settings.preload:
            return
        for alias in (DEFAULT, EMBEDDING):
            try:
                await self._model(alias)
            except MalocaError as error:
                self.problems[alias] = error.info
                log.warning(
                    "model_not_loaded", alias=alias, reason=str(error), hint=error.info.hint
                )

    async def stop(self) -> None:
        """End every stream and every worker."""
        self._stopping = True
        await asyncio.gather(*(model.stop() for model in self._loaded.values()))

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one answer; see `Completer.complete`."""
        if request.provider not in {None, "engine"}:
            raise InvalidRequest(
                f"provider: {request.provider!r} is not to be had from an engine.",
                param="provider",
                hint="Leave it out here, or ask the server.",
            )
        model = await self.chat_model(request.model)
        events = model.complete(request)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Return one vector per text; see `Embedder.embed`."""
        return await (await self.embedding_model(request.model)).embed(request)

    async def models(self) -> list[ModelInfo]:
        """Return every model of the store, sorted by name."""
        stored = await asyncio.to_thread(self.store.list)
        aliases = await asyncio.to_thread(self.store.aliases)
        return [self._info(model, aliases) for model in stored]

    async def tokenize(self, model: str, text: str | Sequence[Message]) -> list[int]:
        """Return token ids; see `TokenCounter.tokenize`."""
        if not isinstance(text, str):
            return await (await self.chat_model(model)).encode(text)
        return await asyncio.to_thread((await self._model(model)).tokenizer.encode_text, text)

    async def chat_model(self, name: str) -> ChatModel:
        """Return a chat model, loading it if need be.

        Raises:
            ModelNotFound: No model or alias has that name.
            InvalidRequest: It is not a chat model.
        """
        model = await self._model(name)
        if not isinstance(model, ChatModel):
            raise InvalidRequest(
                f"{name!r} is an embedding model, it cannot chat.", param="model", code="wrong_kind"
            )
        return model

    async def embedding_model(self, name: str) -> EmbeddingModel:
        """Return an embedding model, loading it if need be.

        Raises:
            ModelNotFound: No model or alias has that name.
            InvalidRequest: It is not an embedding model.
        """
        model = await self._model(name)
        if not isinstance(model, EmbeddingModel):
            raise InvalidRequest(
                f"{name!r} is a chat model, it cannot embed.", param="model", code="wrong_kind"
            )
        return model

    async def loaded(self, alias: str) -> ChatModel | EmbeddingModel | None:
        """Return the model that an alias points to, if it has been asked for already.

        Raises:
            ModelFailed: The file of aliases is damaged.
        """
        name = (await asyncio.to_thread(self.store.aliases)).get(alias, alias)
        return self._loaded.get(name)

    def running(self) -> Iterator[ChatModel | EmbeddingModel]:
        """Yield every model that has a worker."""
        return iter(list(self._loaded.values()))

    async def _model(self, name: str) -> ChatModel | EmbeddingModel:
        self._refuse_while_stopping()
        if (model := self._loaded.get(name)) is not None:
            return model
        stored = await asyncio.to_thread(self.store.get, name)
        if (model := self._loaded.get(stored.name)) is None:
            model = await asyncio.to_thread(self._open, stored)
            self._refuse_while_stopping()
            # Two requests may have come here at the same time: the first one's model counts.
            model = self._loaded.setdefault(stored.name, model)
            model.keeper.start()
        return model

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("The engine is stopping.", retry_after=5.0)

    def _open(self, stored: StoredModel) -> ChatModel | EmbeddingModel:
        """Check the files and read the text layer."""
        self.store.check(stored)
        kind = ChatModel if stored.manifest.kind == "chat" else EmbeddingModel
        return kind(stored, self.settings, self.metrics)

    def _info(self, stored: StoredModel, aliases: dict[str, str]) -> ModelInfo:
        manifest = stored.manifest
        loaded = self._loaded.get(stored.name)
        return ModelInfo(
            name=stored.name,
            kind=manifest.kind,
            state=str(loaded.keeper.state) if loaded else "stored",
            context_length=manifest.context_length,
            aliases=sorted(alias for alias, name in aliases.items() if name == stored.name),
            created=manifest.installed,
            runtime=manifest.runtime,
            licence=manifest.licence,
            size=stored.size,
            dim=manifest.dim or None,
        )
