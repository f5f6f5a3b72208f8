"""What the server counts of inference, for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_TTFT_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SECONDS_BUCKETS: Final = (0.002, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 15, 60, 300)


class InferenceMetrics:
    """Counters and histograms of one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "maloca_inference_requests",
            "Requests by how they ended: ok, failed, cancelled or rate_limited.",
            ["route", "provider", "status"],
            registry=registry,
        )
        self.ttft = Histogram(
            "maloca_inference_ttft_seconds",
            "Time from the request to the first piece of text.",
            ["provider"],
            buckets=_TTFT_BUCKETS,
            registry=registry,
        )
        self.seconds = Histogram(
            "maloca_inference_seconds",
            "Time from the request to its end.",
            ["route"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.tokens = Counter(
            "maloca_inference_tokens",
            "Tokens that models read (prompt) and wrote (completion).",
            ["provider", "kind"],
            registry=registry,
        )
        self.cache = Counter(
            "maloca_cache_requests",
            "Repeatable requests: hit, miss, shared with one in flight, or bypassed.",
            ["result"],
            registry=registry,
        )
        self.cache_bytes = Gauge(
            "maloca_cache_bytes", "Cached answers in memory.", registry=registry
        )
        self.cache_entries = Gauge(
            "maloca_cache_entries", "Cached answers in memory.", registry=registry
        )
        self.limited = Counter(
            "maloca_rate_limited",
            "Requests refused: too many requests, or too many tokens.",
            ["limit"],
            registry=registry,
        )
        self.redis_failures = Counter(
            "maloca_rate_limit_redis_failures",
            "Times that Redis did not answer and a process counted by itself.",
            registry=registry,
        )
