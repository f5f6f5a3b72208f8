"""Attempts and breakers as Prometheus sees them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from maloca.server.providers.chain import Link

BREAKER_STATES: Final = ("closed", "open", "half-open", "cooling", "disabled")


class Watched(Protocol):
    """Whatever has providers in order."""

    def links(self) -> list[Link]:
        """Return them."""
        ...


class ProviderMetrics(Collector):
    """Counts attempts, and reads the breakers when Prometheus asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "maloca_provider_attempts",
            "Providers asked, by how that went.",
            ["provider", "outcome"],
            registry=registry,
        )
        self._watched: Watched | None = None
        registry.register(self)

    def watch(self, watched: Watched) -> None:
        """Read the breakers of these providers from now on."""
        self._watched = watched

    def count(self, provider: str, outcome: str) -> None:
        """Count one attempt: "ok" or the error's code."""
        self._attempts.labels(provider, outcome).inc()

    def collect(self) -> Iterable[Metric]:
        """Yield 1 for the state that each breaker is in, 0 for the others."""
        family = GaugeMetricFamily(
            "maloca_provider_breaker", "State of each breaker.", labels=["provider", "state"]
        )
        for link in self._watched.links() if self._watched else ():
            current = link.breaker.state(link.provider.secret)
            for state in BREAKER_STATES:
                family.add_metric([link.provider.name, state], float(state == current))
        return [family]
