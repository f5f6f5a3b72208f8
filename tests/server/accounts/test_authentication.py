"""Who gets in, with which credential, and how soon nobody does any more."""

from __future__ import annotations

import datetime as dt

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from tests.asgi.drive import scope_of
from tests.server.accounts.conftest import SECRET, House, NewHouse, bearer, code_of, log_in

from maloca.server.accounts.tokens import TokenSigner
from maloca.server.db.base import now


class TestWithoutAnOwner:
    async def test_this_machine_may_ask(self, house: House) -> None:
        for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            answer = await house.client(address).get("/ask")
            assert answer.status_code == 200
            assert answer.json().startswith("ip:")

    async def test_a_client_that_must_send_some_key_may_send_any(self, house: House) -> None:
        assert (await house.client().get("/ask", headers=bearer("unused"))).status_code == 200

    async def test_a_proxy_makes_nobody_local(self, house: House) -> None:
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            answer = await house.client().get("/ask", headers={header: "127.0.0.1"})
            assert (answer.status_code, code_of(answer)) == (401, "unauthenticated"), header

    async def test_others_need_an_account(self, house: House) -> None:
        assert (await house.client("192.0.2.7").get("/ask")).status_code == 401

    async def test_anonymous_has_no_account_and_no_power(self, house: House) -> None:
        for path in ("/auth/me", "/auth/sessions", "/auth/api-keys", "/manage"):
            assert (await house.client().get(path)).status_code == 401, path

    async def test_a_wrong_credential_of_ours_is_not_forgiven(self, house: House) -> None:
        for wrong in ("mlk_" + "0" * 40, "eyJ.eyJ.x"):
            answer = await house.client().get("/ask", headers=bearer(wrong))
            assert (answer.status_code, code_of(answer)) == (401, "invalid_token")

    async def test_the_first_user_is_no_owner(self, house: House) -> None:
        body = {"username": "ana", "password": "tuyuyo-pescado-9"}
        made = await house.client().post("/auth/register", json=body)
        assert made.json()["role"] == "user"
        assert (await house.client().get("/ask")).status_code == 200


class TestWithAnOwner:
    async def test_anonymous_is_refused_everywhere(self, owned: House) -> None:
        answer = await owned.client().get("/ask")
        assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await owned.client().get("/ask", headers=bearer("unused"))).status_code == 401

    async def test_every_credential_takes_the_same_path(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        tenant = (await ana.get("/ask")).json()
        _, key = await owned.key_of(ana)
        for headers in (bearer(key), {"x-api-key": key}, {"Authorization": f"bearer  {key} "}):
            assert (await owned.client().get("/ask", headers=headers)).json() == tenant
        browser = owned.client()
        await browser.post(
            "/auth/sessions", json={"username": "ana", "password": "tuyuyo-pescado-9"}
        )
        assert (await browser.get("/ask")).json() == tenant

    async def test_the_first_credential_counts_and_a_wrong_one_is_not_forgiven(
        self, owned: House
    ) -> None:
        ana = await owned.sign_in("ana")
        _, key = await owned.key_of(ana)
        for wrong in ("Bearer mlk_wrong", "Basic YW5hOng=", "Bearer", "Bearer " + "x" * 5000):
            headers = {"Authorization": wrong, "x-api-key": key}
            assert (await owned.client().get("/ask", headers=headers)).status_code == 401, wrong

    async def test_each_claim_of_an_access_token_counts(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        token = ana.headers["Authorization"].removeprefix("Bearer ")
        key = OctKey.import_key(SECRET.encode())
        claims = jwt.decode(token, key, algorithms=["HS256"]).claims
        changes: list[dict[str, object]] = [
            {"aud": "maloca-device"},
            {"aud": None},
            {"iss": "someone"},
            {"exp": None},
            {"exp": 1},
            {"nbf": None},
            {"nbf": 2**40},
            {"sub": None},
            {"sid": "0" * 24},
            {"sub": "0" * 24},
        ]
        for change in changes:
            changed = {k: v for k, v in (claims | change).items() if v is not None}
            forged = jwt.encode({"alg": "HS256"}, changed, key)
            answer = await owned.client().get("/ask", headers=bearer(forged))
            expected = "token_expired" if change == {"exp": 1} else "invalid_token"
            assert (answer.status_code, code_of(answer)) == (401, expected), change

    async def test_another_signature_or_algorithm_is_refused(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        token = ana.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, OctKey.import_key(SECRET.encode())).claims
        other = OctKey.import_key("f" * 32)
        for forged in (
            jwt.encode({"alg": "HS256"}, claims, other),
            jwt.encode({"alg": "HS512"}, claims, OctKey.import_key(SECRET.encode()), ["HS512"]),
            "eyJhbGciOiJub25lIn0." + token.split(".")[1] + ".",
        ):
            answer = await owned.client().get("/ask", headers=bearer(forged))
            assert (answer.status_code, code_of(answer)) == (401, "invalid_token")

    async def test_an_access_token_lasts_for_its_minutes(self, new_house: NewHouse) -> None:
        house = await new_house(access_token_minutes=1 / 60)
        await house.add("ana")
        ana = await house.sign_in("ana")
        token = ana.headers["Authorization"].removeprefix("Bearer ")
        key = OctKey.import_key(SECRET.encode())
        claims = jwt.decode(token, key, algorithms=["HS256"]).claims
        assert claims["exp"] - claims["iat"] == 1


class TestScopes:
    async def test_a_key_does_what_it_was_made_for(self, owned: House) -> None:
        for name, scope, ask, manage in (
            ("ana", "inference", 200, 403),
            ("ana", "knowledge", 403, 403),
            ("olga", "inference", 200, 403),
            ("olga", "admin", 403, 200),
        ):
            _, key = await owned.key_of(await owned.sign_in(name), scopes=[scope])
            client = owned.client(Authorization=f"Bearer {key}")
            assert (await client.get("/ask")).status_code == ask, (name, scope)
            assert (await client.get("/manage")).status_code == manage, (name, scope)
            assert (await client.get("/auth/me")).json()["scopes"] == [scope]

    async def test_nobody_gives_what_they_do_not_have(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        answer = await ana.post("/auth/api-keys", json={"name": "x", "scopes": ["admin"]})
        assert (answer.status_code, code_of(answer)) == (403, "insufficient_scope")

    async def test_a_key_loses_what_its_account_loses(self, owned: House) -> None:
        admin = await owned.add("adela", "admin")
        _, key = await owned.key_of(await owned.sign_in("adela"), scopes=["admin"])
        client = owned.client(Authorization=f"Bearer {key}")
        assert (await client.get("/manage")).status_code == 200
        olga = await owned.sign_in("olga")
        await olga.patch(f"/admin/api/users/{admin}", json={"role": "user"})
        assert (await client.get("/manage")).status_code == 403

    async def test_a_key_changes_no_account(self, owned: House) -> None:
        _, key = await owned.key_of(await owned.sign_in("olga"), scopes=["admin", "inference"])
        client = owned.client(Authorization=f"Bearer {key}")
        for method, path in (
            ("GET", "/auth/sessions"),
            ("DELETE", "/auth/sessions"),
            ("GET", "/auth/api-keys"),
            ("GET", "/auth/me/export"),
            ("POST", "/auth/logout"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, code_of(answer)) == (403, "insufficient_scope"), path


async def _by_logout(_: House, user: httpx.AsyncClient, __: str) -> None:
    (await user.post("/auth/logout")).raise_for_status()


async def _by_another_session(house: House, user: httpx.AsyncClient, _: str) -> None:
    name = (await user.get("/auth/me")).json()["username"]
    (await (await house.sign_in(name)).delete("/auth/sessions")).raise_for_status()


async def _by_reset(house: House, _: httpx.AsyncClient, user_id: str) -> None:
    olga = await house.sign_in("olga")
    (await olga.post(f"/admin/api/users/{user_id}/reset-password")).raise_for_status()


async def _by_disabling(house: House, _: httpx.AsyncClient, user_id: str) -> None:
    olga = await house.sign_in("olga")
    change = {"disabled": True}
    (await olga.patch(f"/admin/api/users/{user_id}", json=change)).raise_for_status()


async def _by_removal(house: House, _: httpx.AsyncClient, user_id: str) -> None:
    olga = await house.sign_in("olga")
    (await olga.delete(f"/admin/api/users/{user_id}")).raise_for_status()


class TestRevocation:
    """Whatever ends a credential in one replica is seen by another at the very next request."""

    async def test_an_access_token_is_worthless_at_once(
        self, owned: House, new_house: NewHouse
    ) -> None:
        replica = await new_house()
        for revoke in (_by_logout, _by_another_session, _by_reset, _by_disabling, _by_removal):
            # A reset changed the password, and a disabled account cannot sign in.
            name = f"eva{revoke.__name__}"
            user_id = await owned.add(name)
            user = await owned.sign_in(name)
            there = replica.client(Authorization=user.headers["Authorization"])
            assert (await there.get("/ask")).status_code == 200
            await revoke(owned, user, user_id)
            assert (await there.get("/ask")).status_code == 401, name
            assert (await user.get("/ask")).status_code == 401, name

    async def test_a_key_is_worthless_at_once(self, owned: House, new_house: NewHouse) -> None:
        replica = await new_house()
        ana = await owned.sign_in("ana")
        key_id, key = await owned.key_of(ana)
        there = replica.client(Authorization=f"Bearer {key}")
        assert (await there.get("/ask")).status_code == 200
        assert (await ana.delete(f"/auth/api-keys/{key_id}")).status_code == 204
        answer = await there.get("/ask")
        assert (answer.status_code, code_of(answer)) == (401, "invalid_token")

    async def test_the_keys_of_a_disabled_account_rest(
        self, owned: House, new_house: NewHouse
    ) -> None:
        replica = await new_house()
        ana = await owned.sign_in("ana")
        ana_id = (await ana.get("/auth/me")).json()["id"]
        _, key = await owned.key_of(ana)
        there = replica.client(Authorization=f"Bearer {key}")
        olga = await owned.sign_in("olga")
        await olga.patch(f"/admin/api/users/{ana_id}", json={"disabled": True})
        answer = await there.get("/ask")
        assert (answer.status_code, code_of(answer)) == (403, "account_disabled")
        assert (await log_in(owned.client(), "ana")).status_code == 403
        await olga.patch(f"/admin/api/users/{ana_id}", json={"disabled": False})
        assert (await there.get("/ask")).status_code == 200

    async def test_an_expired_key_is_refused(
        self, owned: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, key = await owned.key_of(await owned.sign_in("ana"), expires_in_days=1)
        client = owned.client(Authorization=f"Bearer {key}")
        assert (await client.get("/ask")).status_code == 200
        later = now() + dt.timedelta(days=1, seconds=1)
        monkeypatch.setattr("maloca.server.accounts.authentication.now", lambda: later)
        answer = await client.get("/ask")
        assert (answer.status_code, code_of(answer)) == (401, "token_expired")

    async def test_a_new_owner_ends_anonymity_in_every_replica(
        self, house: House, new_house: NewHouse
    ) -> None:
        replica = await new_house()
        assert (await replica.client().get("/ask")).status_code == 200
        await house.add("olga", "owner")
        assert (await replica.client().get("/ask")).status_code == 401


async def test_metrics_are_for_this_machine_and_administrators(owned: House) -> None:
    assert (await owned.client().get("/metrics")).status_code == 200
    assert (await owned.client("192.0.2.7").get("/metrics")).status_code == 401
    proxied = owned.client(**{"X-Forwarded-For": "127.0.0.1"})
    assert (await proxied.get("/metrics")).status_code == 401
    for name, status in (("ana", 403), ("olga", 200)):
        client = await owned.sign_in(name, address="192.0.2.7")
        assert (await client.get("/metrics")).status_code == status


class TestWebSockets:
    async def test_the_same_credentials_open_them(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        tenant = (await ana.get("/ask")).json()
        _, key = await owned.key_of(ana)
        for header in (("authorization", f"Bearer {key}"), ("x-api-key", key)):
            assert await _talk(owned, header) == tenant

    async def test_without_one_they_stay_closed(self, owned: House) -> None:
        assert await _talk(owned) == 401
        assert await _talk(owned, ("authorization", "Bearer mlk_wrong")) == 401

    async def test_a_cookie_needs_the_own_origin(self, owned: House) -> None:
        browser = owned.client()
        await browser.post(
            "/auth/sessions", json={"username": "ana", "password": "tuyuyo-pescado-9"}
        )
        cookie = ("cookie", f"maloca_session={browser.cookies['maloca_session']}")
        assert await _talk(owned, cookie) == 403
        assert await _talk(owned, cookie, ("sec-fetch-site", "cross-site")) == 403
        assert str(await _talk(owned, cookie, ("origin", "http://localhost"))).startswith("user:")
        assert await _talk(owned, cookie, ("origin", "http://evil.example")) == 1008


async def _talk(house: House, *headers: tuple[str, str]) -> object:
    """Open the WebSocket; return what it says, or the status or code that refused it."""
    incoming = [{"type": "websocket.connect"}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = scope_of(path="/talk", headers=[("host", "localhost"), *headers])
    scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
    scope["extensions"] = {"websocket.http.response": {}}
    await house(scope, receive, send)  # type: ignore[arg-type]  # plain dictionaries, as ASGI has them
    for message in sent:
        if message["type"] == "websocket.send":
            return message["text"]
        if message["type"] == "websocket.http.response.start":
            return message["status"]
    return sent[0]["code"]


class TestDevices:
    def test_a_device_is_known_for_its_account_alone(self) -> None:
        signer = TokenSigner(SECRET, minutes=1)
        token = signer.issue_device("ana")
        assert signer.read_device(token, "ana")
        assert signer.read_device(token, "beto") is None
        assert signer.read_device(signer.issue("ana", "session"), "ana") is None
        assert signer.read_device(None, "ana") is None
