"""The server over HTTP: the page, the dialects over the engine client, and health."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from maloca.asgi.application import new_app
from maloca.client.engine import EngineClient
from maloca.dialects.openai import routes as openai
from maloca.dialects.services import Services
from maloca.server import endpoints, page
from maloca.server.accounts import admin_endpoints as accounts_admin
from maloca.server.accounts import endpoints as auth
from maloca.server.accounts import start
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.dependencies import may_read_metrics
from maloca.server.chats import endpoints as chats
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.inference import endpoints as predict
from maloca.server.inference import socket
from maloca.server.inference.dependencies import metered_dialect, metered_stream
from maloca.server.inference.parts import running
from maloca.server.inference.service import Inference
from maloca.server.jobs import endpoints as jobs
from maloca.server.limits import endpoints as limits
from maloca.server.limits.headers import LateHeaders
from maloca.server.providers import endpoints as providers
from maloca.server.providers.house import Providers
from maloca.server.providers.metrics import ProviderMetrics
from maloca.server.settings import ServerSettings
from maloca.server.usage import endpoints as usage


class ServerState(Services):
    """What the lifespan yields to the routes."""

    database: Database
    accounts: Accounts
    engine: EngineClient
    providers: Providers
    inference: Inference


def create_app(
    settings: ServerSettings, *, transport: httpx.AsyncBaseTransport | None = None
) -> FastAPI:
    """Return the server's app.

    Args:
        settings: What its owner chose.
        transport: Another way to reach the engine, for tests.
    """
    registry = CollectorRegistry()
    metrics = ProviderMetrics(registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServerState]:
        await versions.prepare(settings.database)
        await start.check_exposure(settings)
        token = settings.engine_token.get_secret_value() if settings.engine_token else None
        async with (
            aclosing(Database(settings.database)) as database,
            aclosing(await Accounts.open(settings, database)) as accounts,
            EngineClient(
                str(settings.engine_url),
                token=token,
                timeout=settings.request_timeout,
                connect_timeout=settings.connect_timeout,
                transport=transport,
            ) as client,
            Providers(
                settings,
                engine=client,
                total_timeout=settings.request_timeout,
                metrics=metrics,
            ) as chain,
            running(settings, database, registry, providers=chain, engine=client) as inference,
        ):
            chain.start(database)
            yield ServerState(
                database=database,
                accounts=accounts,
                engine=client,
                providers=chain,
                inference=inference,
                completer=chain,
                embedder=client,
                lister=chain,
                token_counter=client,
            )

    app = new_app(
        title="Maloca server",
        description="A house for your own language models.",
        settings=settings,
        registry=registry,
        lifespan=lifespan,
        allowed_origins=settings.cors_origins,
        metrics_guards=[Depends(may_read_metrics)],
    )
    app.add_middleware(LateHeaders)
    app.include_router(endpoints.router)
    app.include_router(auth.router)
    app.include_router(auth.form_router)
    app.include_router(accounts_admin.router)
    app.include_router(openai.router, dependencies=[Depends(metered_dialect)])
    app.include_router(chats.router, dependencies=[Depends(metered_stream)])
    app.include_router(predict.router)
    app.include_router(socket.router)
    app.include_router(usage.router)
    app.include_router(limits.router)
    app.include_router(providers.router)
    app.include_router(jobs.router)
    page.mount(app)
    return app
