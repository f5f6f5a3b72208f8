"""Puts inference together for the length of a service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from maloca.core.completer import ModelLister
from maloca.server.db.database import Database
from maloca.server.inference.cache.store import AnswerStore
from maloca.server.inference.identity import ModelIdentities, preferred_model
from maloca.server.inference.metrics import InferenceMetrics
from maloca.server.inference.service import Inference
from maloca.server.inference.settings import InferenceSettings
from maloca.server.limits.allowances import Allowances
from maloca.server.limits.budgets import TokenBudgets
from maloca.server.limits.limiter import RequestLimiter
from maloca.server.providers.house import Providers
from maloca.server.usage.recorder import UsageRecorder

_MIB: Final = 1024 * 1024


@asynccontextmanager
async def running(
    settings: InferenceSettings,
    database: Database,
    registry: CollectorRegistry,
    *,
    providers: Providers,
    engine: ModelLister,
) -> AsyncGenerator[Inference, None]:
    """Yield what the routes need; at the end everything that waits is written."""
    metrics = InferenceMetrics(registry)
    recorder = UsageRecorder(database, registry)
    store = (
        AnswerStore(database, max_bytes=settings.cache_mb * _MIB, seconds=settings.cache_seconds)
        if settings.cache_mb
        else None
    )
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    limiter = RequestLimiter(redis_url=redis, failures=metrics.redis_failures)
    recorder.start()
    if store is not None:
        store.start()
    try:
        yield Inference(
            providers,
            settings,
            identities=ModelIdentities(engine, means=preferred_model(providers)),
            store=store,
            limiter=limiter,
            allowances=Allowances(
                database, predict=settings.predict_rate, tokens_per_day=settings.tokens_per_day
            ),
            budgets=TokenBudgets(database),
            recorder=recorder,
            metrics=metrics,
        )
    finally:
        if store is not None:
            await store.stop()
        await recorder.stop()
        await limiter.aclose()
