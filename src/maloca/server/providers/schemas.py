"""What `/model` and the providers' administration read and write."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from maloca.dialects.fields import Name, Strict
from maloca.server.providers.base import ProviderName, provider_name
from maloca.server.providers.chain import Link
from maloca.server.providers.house import Providers, State


def _name(given: Any) -> Any:
    return provider_name(given) if isinstance(given, str) else given


Known = Annotated[ProviderName, BeforeValidator(_name)]


class ModelUpdate(Strict):
    """The model that answers from now on."""

    model_name: Name
    provider: Known | None = Field(
        default=None, description="Asked first from now on; without it, whoever is asked first now."
    )


class ProviderRead(BaseModel):
    """One provider of the chain.

    `state` is ready, down, unknown (not checked yet), refused (egress is off), or that of its
    breaker: open, half-open, cooling or disabled.
    """

    provider: str
    model: str
    local: bool
    state: State
    reason: str | None = None

    @classmethod
    def of(cls, link: Link, providers: Providers) -> Self:
        """Return a provider as it stands."""
        state, reason = providers.state(link)
        found = link.provider
        return cls(
            provider=found.name, model=found.model, local=found.local, state=state, reason=reason
        )


class ModelRead(BaseModel):
    """Which model answers, and who does when its provider cannot."""

    model: str | None
    provider: str | None
    egress: bool
    chain: list[ProviderRead]

    @classmethod
    def of(cls, providers: Providers) -> Self:
        """Return what is in force; the provider is the first that may be asked at all."""
        chain = [ProviderRead.of(link, providers) for link in providers.links()]
        first = next((read for read in chain if read.state != "refused"), None)
        return cls(
            model=first.model if first else None,
            provider=first.provider if first else None,
            egress=providers.choice.egress,
            chain=chain,
        )


class ProvidersRead(BaseModel):
    """The chain as administrators see it.

    `chain` holds every name in order; `providers` those that have what they need.
    """

    version: int
    chain: list[str]
    models: dict[str, str]
    egress: bool
    providers: list[ProviderRead]

    @classmethod
    def of(cls, providers: Providers) -> Self:
        """Return what is in force."""
        choice = providers.choice
        return cls(
            version=choice.version,
            chain=list(choice.chain),
            models=choice.models,
            egress=choice.egress,
            providers=[ProviderRead.of(link, providers) for link in providers.links()],
        )


class ProvidersUpdate(Strict):
    """What to change; what is left out stays. An empty update reads the keys again."""

    version: int | None = Field(
        default=None, ge=0, description="Refuse if somebody else has changed it since this version."
    )
    chain: Annotated[list[Known], Field(min_length=1)] | None = None
    models: dict[Known, Name] | None = Field(
        default=None, description="The model of each provider that is named."
    )
    egress: bool | None = Field(default=None, description="Only the owner may turn it on.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.chain is not None and len(set(self.chain)) < len(self.chain):
            raise ValueError("chain: a provider stands in it twice")
        return self
