"""Who may ask: every route of inference against every kind of caller."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError
from tests.server.inference.conftest import Build, House
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

HOLA: Final[list[Any]] = [{"role": "user", "content": "hola"}]
ROUTES: Final[dict[str, dict[str, Any]]] = {
    "/predict": {"prompt": "hola"},
    "/v1/chat/completions": {"model": "default", "messages": HOLA},
    "/v1/embeddings": {"model": "embedding", "input": "hola"},
    "/chats/stream": {"messages": HOLA},
}


def status_of(house: House, path: str, headers: dict[str, str]) -> int:
    if path.startswith("ws:"):
        url = house.url.replace("http", "ws") + path.removeprefix("ws:")
        try:
            with connect(url, additional_headers=headers):
                return 200
        except InvalidStatus as error:
            return error.response.status_code
    if path == "/v1/models":
        return house.client.get(path, headers=headers).status_code
    return house.client.post(path, json=ROUTES[path], headers=headers).status_code


ALL: Final = [*ROUTES, "/v1/models", "ws:/predict/ws"]


def test_everybody_everywhere(build_on_both: Build) -> None:
    house = build_on_both(rate_limit_requests=1000)
    # Until there is an owner, whoever sits at this machine may ask.
    assert {path: status_of(house, path, {}) for path in ALL} == dict.fromkeys(ALL, 200)
    people = house.people
    people.add("owner", role="owner")
    revoked = people.add("revoked")
    people.revoke(revoked)
    callers: dict[str, tuple[dict[str, str], int]] = {
        "owner": (people.add("other owner", role="owner").headers, 200),
        "admin": (people.add("admin", role="admin").headers, 200),
        "user": (people.add("user").headers, 200),
        "key for inference": (people.add("program", scopes="inference").headers, 200),
        "x-api-key": ({"x-api-key": people.add("old program").key}, 200),
        "anonymous": ({}, 401),
        "made-up key": ({"Authorization": "Bearer mlk_made_up"}, 401),
        "wrong kind": ({"Authorization": "Basic dTpw"}, 401),
        "expired key": (people.add("late", expired=True).headers, 401),
        "revoked key": (revoked.headers, 401),
        "disabled user": (people.add("disabled", disabled=True).headers, 403),
        "wrong scope": (people.add("reader", scopes="knowledge").headers, 403),
        "other page": ({"Origin": "http://evil.example"}, 403),
    }
    for name, (headers, wanted) in callers.items():
        found = {path: status_of(house, path, headers) for path in ALL}
        assert found == dict.fromkeys(ALL, wanted), name


def test_anonymous_predict_opens_predict_alone_and_counts_by_address(build: Build) -> None:
    house = build(anonymous_predict=True, rate_limit_requests=2, trusted_proxies=["127.0.0.1"])
    house.people.add("owner", role="owner")
    assert status_of(house, "/v1/chat/completions", {}) == 401
    assert status_of(house, "/chats/stream", {}) == 401
    assert status_of(house, "ws:/predict/ws", {}) == 200

    def from_address(address: str) -> int:
        return status_of(house, "/predict", {"X-Forwarded-For": f"1.2.3.4, {address}"})

    assert [from_address("203.0.113.7") for _ in range(3)] == [200, 200, 429]
    assert from_address("203.0.113.8") == 200
    # Nobody gets around the limit by writing an address of their own: the right-most counts.
    assert from_address("203.0.113.7") == 429
    # One person has a whole /64 of IPv6.
    assert [from_address(f"2001:db8::{n}") for n in (1, 2, 3)] == [200, 200, 429]
    assert from_address("2001:db8:0:1::1") == 200
    # A wrong credential is never forgiven.
    assert status_of(house, "/predict", {"Authorization": "Bearer mlk_wrong"}) == 401


def test_users_and_keys_are_counted_apart(build: Build) -> None:
    house = build(rate_limit_requests=1)
    ana, luis = house.people.add("ana"), house.people.add("luis")
    codes = [house.post(headers=who.headers).status_code for who in (ana, luis, ana, luis)]
    assert codes == [200, 200, 429, 429]


def test_admins_give_roles_users_and_keys_limits_of_their_own(build: Build) -> None:
    house = build(rate_limit_requests=1)
    admin = house.people.add("admin", role="admin")
    ana, luis = house.people.add("ana"), house.people.add("luis")
    body = {"requests": 2, "window_seconds": 60}

    def change(method: str, path: str, who: Any = admin, **options: Any) -> httpx.Response:
        return house.client.request(method, f"/limits{path}", headers=who.headers, **options)

    assert change("PUT", f"/key/{ana.key_id}", json=body).status_code == 200
    assert change("PUT", f"/user/{luis.user_id}", json={"tokens_per_day": 0}).status_code == 200
    found = change("GET", "").json()
    assert [(row["kind"], row["name"], row["requests"]) for row in found] == [
        ("key", ana.key_id, 2),
        ("user", luis.user_id, None),
    ]
    codes = [house.post(headers=ana.headers).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    # A limit of a key's own holds on every route.
    answer = house.client.post(
        "/v1/chat/completions", json=ROUTES["/v1/chat/completions"], headers=ana.headers
    )
    assert answer.status_code == 429
    assert house.post(headers=luis.headers).json()["error"]["code"] == "token_budget_spent"
    assert change("DELETE", f"/key/{ana.key_id}").status_code == 204
    assert change("DELETE", f"/key/{ana.key_id}").status_code == 404
    assert house.post(headers=ana.headers).status_code == 200, "the default counts anew"
    assert change("PUT", "/role/user", json={"requests": 5}).status_code == 422
    assert change("PUT", "/planet/mars", json=body).status_code == 422
    for method, path in (("GET", ""), ("PUT", "/role/user"), ("DELETE", "/role/user")):
        assert change(method, path, who=ana, json=body).status_code == 403
        assert house.client.request(method, f"/limits{path}", json=body).status_code == 401


def test_the_official_sdk_with_a_key(build: Build) -> None:
    house = build()
    house.people.add("owner", role="owner")
    ana = house.people.add("ana", scopes="inference")
    reader = house.people.add("reader", scopes="knowledge")

    def client(key: str) -> OpenAI:
        return OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0, timeout=30)

    with client(ana.key) as openai:
        answer = openai.chat.completions.create(model="default", messages=HOLA, temperature=0)
        again = openai.chat.completions.create(model="default", messages=HOLA, temperature=0)
        assert answer.choices[0].message.content == again.choices[0].message.content
        assert answer.id != again.id
        chunks = openai.chat.completions.create(model="default", messages=HOLA, stream=True)
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
        assert openai.models.list().data
        assert openai.embeddings.create(model="embedding", input="hola").data
    with client("mlk_wrong") as openai, pytest.raises(AuthenticationError):
        openai.chat.completions.create(model="default", messages=HOLA)
    with client(reader.key) as openai, pytest.raises(PermissionDeniedError):
        openai.chat.completions.create(model="default", messages=HOLA)
