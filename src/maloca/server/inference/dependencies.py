"""Who asks for inference, within which limits: before any dialect's route runs.

A request's meter runs from here to the end of its response, so that each leaves one row of usage
however it ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from maloca.server.accounts import authentication, cookies, credentials
from maloca.server.accounts.address import client_address
from maloca.server.accounts.dependencies import AccountsDep, CallerDep, principal, require_scope
from maloca.server.accounts.principal import Principal
from maloca.server.inference.meter import Meter
from maloca.server.inference.metered import MeteredCompleter, MeteredEmbedder
from maloca.server.inference.service import Asker, Inference
from maloca.server.limits.headers import add_headers

_OFF: Final = "X-Maloca-Cache"


async def _inference(connection: HTTPConnection) -> Inference:
    inference: Inference = connection.state.inference
    return inference


InferenceDep = Annotated[Inference, Depends(_inference)]


async def predict_caller(
    connection: HTTPConnection, accounts: AccountsDep, inference: InferenceDep
) -> Principal:
    """Return who asks `/predict`: an account or key, or anybody if the owner lets them.

    Raises:
        Unauthenticated: There is no credential, or a wrong one.
        InsufficientScope: The credential was made for something else.
    """
    settings = accounts.settings
    if inference.settings.anonymous_predict:
        secure = cookies.is_secure(connection, chosen=settings.secure_cookies)
        if credentials.find(connection, secure=secure) is None:
            return authentication.anonymous(client_address(connection, settings.trusted_proxies))
    found = await principal(connection, accounts)
    require_scope(found, "inference")
    return found


def wants_cache(request: Request) -> bool:
    """Return whether a cached answer will do; a header says when not."""
    control = request.headers.get("cache-control", "").lower()
    return "no-store" not in control and request.headers.get(_OFF, "").lower() != "off"


async def admitted(
    request: Request, inference: Inference, meter: Meter, *, predict: bool = False
) -> Asker:
    """Count a request against its caller's rate.

    Raises:
        RateLimited: It was one too many.
    """
    asker, standing = await inference.admit(meter, predict=predict)
    if standing is not None:
        add_headers(request.scope, standing.headers)
        if not standing.allowed:
            raise standing.refusal()
    return asker


def meter_of(request: Request, inference: Inference, caller: Principal) -> Meter:
    """Return the meter of a request."""
    route = getattr(request.scope.get("route"), "path", request.url.path)
    return inference.meter(caller, route=route, request_id=request.state.request_id)


async def metered_dialect(
    request: Request, caller: CallerDep, inference: InferenceDep
) -> AsyncGenerator[None, None]:
    """Let a dialect's routes work for one caller, without their knowing of accounts or limits."""
    if request.method != "POST":
        yield
        return
    with meter_of(request, inference, caller) as meter:
        asker = await admitted(request, inference, meter)
        body: Any = await request.json()
        whole = not (isinstance(body, dict) and body.get("stream"))
        request.state.completer = MeteredCompleter(
            inference, asker, whole=whole, use_cache=wants_cache(request)
        )
        request.state.embedder = MeteredEmbedder(request.state.embedder, asker)
        yield


async def metered_stream(
    request: Request, caller: CallerDep, inference: InferenceDep
) -> AsyncGenerator[None, None]:
    """Let routes that always stream work for one caller."""
    with meter_of(request, inference, caller) as meter:
        asker = await admitted(request, inference, meter)
        request.state.completer = MeteredCompleter(inference, asker, whole=False, use_cache=False)
        yield


async def _predicting(
    request: Request,
    caller: Annotated[Principal, Depends(predict_caller)],
    inference: InferenceDep,
) -> AsyncGenerator[Asker, None]:
    with meter_of(request, inference, caller) as meter:
        yield await admitted(request, inference, meter, predict=True)


PredictAsker = Annotated[Asker, Depends(_predicting)]
