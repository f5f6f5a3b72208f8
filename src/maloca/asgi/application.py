"""What both services are made of around their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware

import maloca
from maloca.asgi import docs, errors
from maloca.asgi.guard import Guard
from maloca.asgi.headers import SecurityHeaders
from maloca.asgi.request_context import HttpMetrics, RequestContext
from maloca.asgi.strict_json import BodyLimit
from maloca.core.settings import Settings

LICENCE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def new_app(
    *,
    title: str,
    description: str,
    settings: Settings,
    registry: CollectorRegistry,
    lifespan: Lifespan,
    token: SecretStr | None = None,
    allowed_origins: Sequence[str] = (),
    metrics_guards: Sequence[Any] = (),
) -> FastAPI:
    """Return an app with the guard, limits, error shape, metrics and documentation in place.

    `app.state.draining` makes readiness fail while answers in flight end.
    """
    app = FastAPI(
        title=title,
        description=description,
        version=maloca.__version__,
        license_info=LICENCE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.draining = False
    errors.install(app)
    app.include_router(docs.router)
    app.include_router(_metrics_router(registry), dependencies=metrics_guards)
    # The last one added is the outermost: it sees every request first.
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(
        Guard,
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=allowed_origins,
        token=token,
    )
    if allowed_origins:
        # Without credentials: another site's page may bring a token, never the browser's cookie.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestContext, metrics=HttpMetrics(registry))
    return app


def _metrics_router(registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
