"""The engine over HTTP: a thin adapter around `Engine`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from maloca.asgi.application import new_app
from maloca.dialects.native import routes as native
from maloca.dialects.openai import routes as openai
from maloca.dialects.services import Services
from maloca.engine import endpoints
from maloca.engine.chat import ChatModel
from maloca.engine.engine import Engine
from maloca.engine.settings import EngineSettings


class EngineState(Services):
    """What the lifespan yields to the routes."""

    engine: Engine


def create_app(settings: EngineSettings) -> FastAPI:
    """Return the engine's app; its models begin to load when it starts."""
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[EngineState]:
        await engine.start()
        try:
            yield EngineState(
                engine=engine,
                completer=engine,
                embedder=engine,
                lister=engine,
                token_counter=engine,
            )
        finally:
            await engine.stop()

    engine.metrics.registry.register(_Gauges(engine))
    app = new_app(
        title="Maloca engine",
        description="Runs language models on this machine.",
        settings=settings,
        registry=engine.metrics.registry,
        lifespan=lifespan,
        token=settings.token,
    )
    app.include_router(native.router)
    app.include_router(endpoints.native)
    app.include_router(openai.router)
    app.include_router(endpoints.router)
    return app


class _Gauges(Collector):
    """Reads the schedulers when Prometheus asks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Yield what stands at this moment."""
        running = GaugeMetricFamily("maloca_requests_running", "In the worker.", labels=["model"])
        waiting = GaugeMetricFamily("maloca_requests_waiting", "In the queue.", labels=["model"])
        used = GaugeMetricFamily("maloca_kv_blocks_used", "Reserved KV blocks.", labels=["model"])
        total = GaugeMetricFamily("maloca_kv_blocks", "KV blocks in all.", labels=["model"])
        restarts = CounterMetricFamily(
            "maloca_worker_restarts", "Times that a worker was lost.", labels=["model"]
        )
        for model in self._engine.running():
            labels = [model.model.name]
            restarts.add_metric(labels, model.keeper.restarts)
            if isinstance(model, ChatModel):
                running.add_metric(labels, model.scheduler.running)
                waiting.add_metric(labels, model.scheduler.waiting)
                used.add_metric(labels, model.scheduler.blocks_used)
                total.add_metric(
                    labels, model.keeper.capacity.blocks if model.keeper.capacity else 0
                )
        return [running, waiting, used, total, restarts]
