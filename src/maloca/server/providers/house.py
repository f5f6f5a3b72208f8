"""The providers of this process: made once, checked in the background, re-ordered while running."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError

from maloca.client.engine import EngineClient
from maloca.core.completer import CompletionRequest, ModelInfo
from maloca.core.errors import MalocaError
from maloca.core.events import Event
from maloca.core.settings import BadSetting
from maloca.server.db.database import Database
from maloca.server.providers import repository
from maloca.server.providers.attempt import Timers
from maloca.server.providers.base import NAMES, Provider, ProviderName
from maloca.server.providers.breaker import Breaker
from maloca.server.providers.chain import Link, ProviderChain
from maloca.server.providers.egress import Egress
from maloca.server.providers.factory import new_provider
from maloca.server.providers.listing import served_models
from maloca.server.providers.metrics import ProviderMetrics
from maloca.server.providers.models import ProviderConfig
from maloca.server.providers.passages import NoPassages, PassageSource
from maloca.server.providers.settings import ProviderSettings, names_in_order

FOLLOW_SECONDS: Final = 0.5
CHECK_SECONDS: Final = 5.0
_KEYS: Final = ("openai_api_key", "anthropic_api_key")

State = Literal["unknown", "ready", "down", "open", "half-open", "cooling", "disabled", "refused"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is in force: the settings, and what administrators chose beside them.

    Attributes:
        version: 0 while administrators chose nothing.
        chain: Every name in order, those that lack a key or URL too.
        models: The model of each provider; one that is missing keeps that of its settings.
        egress: Whether conversations may leave the house at all.
    """

    version: int
    chain: tuple[ProviderName, ...]
    models: dict[str, str]
    egress: bool

    @classmethod
    def of(cls, settings: ProviderSettings, config: ProviderConfig | None) -> Choice:
        """Return the settings with a row of the database over them."""
        chain = names_in_order(settings.chain, settings.provider)
        models: dict[str, str] = {} if settings.model is None else {chain[0]: settings.model}
        choice = cls(version=0, chain=tuple(chain), models=models, egress=settings.egress)
        if config is None:
            return choice
        return dataclasses.replace(
            choice,
            version=config.version,
            chain=tuple(names_in_order(config.chain, None)) if config.chain else choice.chain,
            models=choice.models | config.models,
            egress=choice.egress if config.egress is None else config.egress,
        )


class Providers:
    """The `Completer` of the server: whichever chain is in force at the moment."""

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        engine: EngineClient,
        total_timeout: float,
        passages: PassageSource | None = None,
        metrics: ProviderMetrics | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        reread: Callable[[], ProviderSettings] = ProviderSettings.load,
    ) -> None:
        """Make every provider that the settings allow; nobody is called yet.

        Args:
            settings: What its owner chose.
            engine: The engine's client, which its maker closes.
            total_timeout: Seconds that a request may take in all.
            passages: What the extractive provider quotes; by default nothing.
            metrics: Counts attempts.
            transport: Another way to reach clouds and standby, for tests.
            reread: Reads the settings again when somebody asks for a reload.
        """
        self._settings = settings
        self._engine = engine
        self._total = total_timeout
        self._passages = passages or NoPassages()
        self._metrics = metrics
        self._transport = transport
        self._reread = reread
        self._links: dict[ProviderName, Link] = {}
        # The model of each provider's settings, for when nobody chose another.
        self._own_models: dict[ProviderName, str] = {}
        self._checks: dict[ProviderName, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for name in NAMES:
            if (provider := self._new(name)) is not None:
                self._links[name] = Link(provider, Breaker())
        self.choice = Choice.of(settings, None)
        self.chain = self._chain()
        if metrics is not None:
            metrics.watch(self)

    async def __aenter__(self) -> Self:
        """Return the providers themselves."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop what runs in the background, and close all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self._links.values():
            await link.provider.aclose()

    def start(self, database: Database) -> None:
        """Check every provider and follow the database in the background."""
        self._in_background(self._keep_checking())
        self._in_background(self._keep_following(database))

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield one provider's events; see `Completer.complete`."""
        return self.chain.complete(request)

    async def models(self) -> list[ModelInfo]:
        """Return the models that can be asked for; see `served_models`."""
        first = self.chain.links[0].provider if self.chain.links else None
        return await served_models(self._engine, first)

    def links(self) -> list[Link]:
        """Return the providers of the chain in force, in order."""
        return list(self.chain.links)

    def link(self, name: ProviderName) -> Link | None:
        """Return a provider, if the settings bring what it needs."""
        return self._links.get(name)

    def state(self, link: Link) -> tuple[State, str | None]:
        """Return how a provider stands, and why."""
        provider = link.provider
        if not provider.local and not self.choice.egress:
            return "refused", "egress_off"
        error = link.breaker.last_error
        breaker = link.breaker.state(provider.secret)
        if breaker != "closed":
            return breaker, error.code if error else None
        found = self._checks.get(provider.name)
        if found is None:
            return "unknown", None
        return ("ready", None) if not found else ("down", found)

    async def follow(self, database: Database) -> None:
        """Put what administrators chose into force, if it has changed."""
        async with database.read() as session:
            if await repository.get_version(session) == self.choice.version:
                return
            config = await repository.get_config(session)
        self._renew_keys()
        self.choice = Choice.of(self._settings, config)
        self.chain = self._chain()
        log.info("providers_changed", version=self.choice.version, chain=list(self.choice.chain))
        self._in_background(self.check())

    async def check(self) -> None:
        """Ask every provider that may be asked whether it would answer, and log what changed."""
        may_be_asked = [
            link.provider for link in self.chain.links if link.provider.local or self.choice.egress
        ]
        await asyncio.gather(*map(self._check, may_be_asked))

    async def _check(self, provider: Provider) -> None:
        before = self._checks.get(provider.name)
        try:
            await provider.check()
            found = ""
        except MalocaError as error:
            found = error.info.code
            if found != before:
                log.warning("provider_down", provider=provider.name, reason=str(error))
        except Exception:
            found = "internal_error"
            log.exception("provider_check_failed", provider=provider.name)
        if not found and found != before:
            log.info("provider_ready", provider=provider.name, model=provider.model)
        self._checks[provider.name] = found

    async def _keep_checking(self) -> None:
        await self.check()
        states = {link.provider.name: self.state(link)[0] for link in self.chain.links}
        log.info("providers", egress=self.choice.egress, **states)
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            # Clouds are not called without a request: their state follows from requests.
            local = [link.provider for link in self.chain.links if link.provider.local]
            await asyncio.gather(*map(self._check, local))

    async def _keep_following(self, database: Database) -> None:
        told = False
        while True:
            try:
                await self.follow(database)
                told = False
            except (SQLAlchemyError, OSError) as error:
                # What was in force stays so; the log hears of it once.
                if not told:
                    log.warning("provider_config_unread", reason=type(error).__name__)
                told = True
            await asyncio.sleep(FOLLOW_SECONDS)

    def _chain(self) -> ProviderChain:
        links = [self._links[name] for name in self.choice.chain if name in self._links]
        for link in links:
            name = link.provider.name
            link.provider.model = self.choice.models.get(name, self._own_models[name])
        return ProviderChain(
            links,
            egress=Egress(allowed=self.choice.egress),
            timers=Timers(
                first_token=self._settings.first_token_timeout,
                idle=self._settings.idle_timeout,
                total=self._total,
            ),
            max_attempts=self._settings.provider_attempts,
            on_attempt=self._metrics.count if self._metrics else None,
        )

    def _renew_keys(self) -> None:
        """Take the keys that stand in the environment or `.env` by now."""
        try:
            fresh = self._reread()
        except BadSetting as error:
            log.warning("settings_unread", reason=str(error))
            return
        keys = {name: key for name in _KEYS if (key := getattr(fresh, name)) is not None}
        changed = {n: key for n, key in keys.items() if key != getattr(self._settings, n)}
        if not changed:
            return
        self._settings = self._settings.model_copy(update=changed)
        for setting in changed:
            name: ProviderName = "openai" if setting.startswith("openai") else "anthropic"
            old = self._links.get(name)
            provider = self._new(name)
            if provider is None:
                continue
            # The breaker stays: it forgets a refused key by itself when another one comes.
            self._links[name] = Link(provider, old.breaker if old else Breaker())
            if old is not None:
                self._retire(old.provider)
            log.info("provider_key_changed", provider=name)

    def _retire(self, provider: Provider) -> None:
        """Close a provider once the answers under way had their time."""

        async def later() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(self._total)
            await provider.aclose()

        self._in_background(later())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new(self, name: ProviderName) -> Provider | None:
        provider = new_provider(
            name,
            self._settings,
            engine=self._engine,
            passages=self._passages,
            timeout=self._total,
            transport=self._transport,
        )
        if provider is not None:
            self._own_models[name] = provider.model
        return provider
