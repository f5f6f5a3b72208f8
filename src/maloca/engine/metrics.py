"""What the engine counts, for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

_TTFT_BUCKETS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_TOKEN_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
_SECONDS_BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60)


class EngineMetrics:
    """Counters and histograms; a registry of its own, so that engines do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "maloca_requests",
            "Requests by how they ended: stop, length, cancelled or an error code.",
            ["model", "kind", "outcome"],
            registry=self.registry,
        )
        self.ttft = Histogram(
            "maloca_ttft_seconds",
            "Time from acceptance to the first token.",
            ["model"],
            buckets=_TTFT_BUCKETS,
            registry=self.registry,
        )
        self.inter_token = Histogram(
            "maloca_inter_token_seconds",
            "Time between two tokens of one answer.",
            ["model"],
            buckets=_TOKEN_BUCKETS,
            registry=self.registry,
        )
        self.queue = Histogram(
            "maloca_queue_seconds",
            "Time from acceptance until the worker took the request.",
            ["model"],
            buckets=_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.prompt_tokens = Counter(
            "maloca_prompt_tokens", "Tokens read.", ["model"], registry=self.registry
        )
        self.completion_tokens = Counter(
            "maloca_completion_tokens", "Tokens written.", ["model"], registry=self.registry
        )
