"""What leaves the machine, counted where a connection would arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp, serve
from tests.faults.clouds import KEY, WORDS
from tests.faults.conftest import Served
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.observe import eventually

from maloca.server.app import create_app
from maloca.server.providers.egress import strictest
from maloca.server.settings import ServerSettings

ROUTES = ("/v1/chat/completions", "/chats/stream")


@pytest.fixture
async def hop(openai_at: Served) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(openai_at[1].url) as proxy:
        yield proxy


@contextmanager
def server(hop: FaultProxy, **settings: Any) -> Iterator[LiveApp]:
    # This address reaches the proxy, and is none of this machine's own names.
    away = hop.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - a target, nothing listens there
    found = ServerSettings.load(
        port=0,
        engine_url="http://127.0.0.1:1",
        openai_base_url=away + "/v1",
        openai_api_key=KEY,
        **settings,
    )
    with serve(create_app(found)) as live:
        yield live


async def ask(live: LiveApp, route: str, **routing: str) -> httpx.Response:
    body: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "hola"}]}
    headers = {}
    if route.startswith("/v1/"):
        headers = {f"X-Maloca-{name.title()}": value for name, value in routing.items()}
    else:
        body |= routing
    async with httpx.AsyncClient(base_url=live.url, timeout=30) as client:
        return await client.post(route, json=body, headers=headers)


@pytest.mark.parametrize("route", ROUTES)
async def test_while_egress_is_off_nothing_leaves_whatever_is_asked(
    hop: FaultProxy, route: str
) -> None:
    with server(hop) as live:
        for routing in ({}, {"privacy": "cloud-allowed"}, {"privacy": "local-only"}):
            response = await ask(live, route, **routing)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "engine_unreachable"
        refused = await ask(live, route, provider="openai", privacy="cloud-allowed")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "egress_refused")
    assert hop.connections == 0


@pytest.mark.parametrize("route", ROUTES)
async def test_a_local_only_request_never_leaves(hop: FaultProxy, route: str) -> None:
    with server(hop, egress=True) as live:

        async def checked() -> bool:
            return hop.connections == 1

        # The check at the start, which says nothing about anybody.
        await eventually(checked)
        for routing in ({}, {"privacy": "local-only"}):
            response = await ask(live, route, **routing)
            assert response.json()["error"]["code"] == "engine_unreachable"
        refused = await ask(live, route, provider="openai")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "egress_refused")
        assert (hop.connections, hop.requests) == (1, 1)

        allowed = await ask(live, route, privacy="cloud-allowed")
        assert allowed.status_code == 200
        assert allowed.headers["x-maloca-answered-by"] == "openai"
        assert allowed.headers["x-maloca-skipped"] == "engine=engine_unreachable"
        assert WORDS[-1] in allowed.text
        assert KEY not in allowed.text + str(allowed.headers)


async def test_a_request_cannot_choose_where_it_goes(hop: FaultProxy) -> None:
    with server(hop, egress=True) as live:
        for body in ({"base_url": "http://x"}, {"api_base": "http://x"}, {"provider_url": "x"}):
            async with httpx.AsyncClient(base_url=live.url) as client:
                messages = [{"role": "user", "content": "hola"}]
                for route in ROUTES:
                    wanted = {"model": "default", "messages": messages} | body
                    response = await client.post(route, json=wanted)
                    assert response.status_code in {400, 422}
        response = await ask(live, ROUTES[0], provider="http://evil.test", privacy="cloud-allowed")
        assert response.status_code == 400
        unknown = await ask(live, ROUTES[0], privacy="anything-goes")
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "X-Maloca-Privacy")


def test_the_strictest_of_all_who_have_a_say() -> None:
    assert strictest(["cloud-allowed", "cloud-allowed"]) == "cloud-allowed"
    assert strictest(["cloud-allowed", "local-only"]) == "local-only"
    assert strictest(["cloud-allowed", None]) == "local-only"
    assert strictest([]) == "local-only"
