"""Signing in and out: refresh families, cookies, and requests of other sites."""

from __future__ import annotations

import asyncio
import datetime as dt

import httpx
import pytest
from sqlalchemy import select, update
from tests.server.accounts.conftest import PASSWORD, House, NewHouse, bearer, code_of, log_in

from maloca.server.accounts.models import LoginSession, RefreshToken, User
from maloca.server.accounts.passwords import Cost, Passwords
from maloca.server.db.base import now

ANA = {"username": "ana", "password": PASSWORD}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/auth/refresh", json={"refresh_token": token})


class TestRefresh:
    async def test_each_token_gives_the_next(self, owned: House) -> None:
        client = owned.client()
        tokens = (await log_in(client, "ana")).json()
        for _ in range(3):
            following = (await refresh(client, tokens["refresh_token"])).json()
            assert following["refresh_token"] != tokens["refresh_token"]
            tokens = following
            answer = await client.get("/ask", headers=bearer(tokens["access_token"]))
            assert answer.status_code == 200

    async def test_a_second_use_ends_the_session_for_everybody(self, owned: House) -> None:
        client = owned.client()
        first = (await log_in(client, "ana")).json()
        second = (await refresh(client, first["refresh_token"])).json()
        again = await refresh(client, first["refresh_token"])
        assert (again.status_code, code_of(again)) == (401, "invalid_token")
        assert (await refresh(client, second["refresh_token"])).status_code == 401
        for tokens in (first, second):
            answer = await client.get("/ask", headers=bearer(tokens["access_token"]))
            assert answer.status_code == 401
        olga = await owned.sign_in("olga")
        events = (await olga.get("/admin/api/audit", params={"action": "refresh.reused"})).json()
        assert [event["actor"] for event in events] == ["ana"]

    async def test_another_session_of_the_account_goes_on(self, owned: House) -> None:
        other = await owned.sign_in("ana")
        first = (await log_in(owned.client(), "ana")).json()
        for _ in range(2):
            await refresh(owned.client(), first["refresh_token"])
        assert (await other.get("/ask")).status_code == 200

    async def test_of_fifty_at_once_one_wins(self, owned: House, new_house: NewHouse) -> None:
        replica = await new_house()
        token = (await log_in(owned.client(), "ana")).json()["refresh_token"]
        answers = await asyncio.gather(
            *(refresh((owned, replica)[i % 2].client(), token) for i in range(50))
        )
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 49]
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        assert (await refresh(owned.client(), winner["refresh_token"])).status_code == 401

    async def test_what_is_unknown_expired_or_disabled_is_refused(self, owned: House) -> None:
        client = owned.client()
        assert (await refresh(client, "mlr_" + "0" * 40)).status_code == 401
        tokens = (await log_in(client, "ana")).json()
        async with owned.database.write() as session:
            await session.execute(update(RefreshToken).values(expires_at=now()))
        assert (await refresh(client, tokens["refresh_token"])).status_code == 401
        tokens = (await log_in(client, "beto")).json()
        async with owned.database.write() as session:
            await session.execute(update(User).values(disabled_at=now()))
        assert (await refresh(client, tokens["refresh_token"])).status_code == 401

    async def test_a_refresh_while_signing_out_never_fails_otherwise(self, owned: House) -> None:
        for _ in range(5):
            tokens = (await log_in(owned.client(), "ana")).json()
            out, renewed = await asyncio.gather(
                owned.client().post("/auth/logout", headers=bearer(tokens["access_token"])),
                refresh(owned.client(), tokens["refresh_token"]),
            )
            assert out.status_code == 204
            assert renewed.status_code in {200, 401}
            if renewed.status_code == 200:
                headers = bearer(renewed.json()["access_token"])
                assert (await owned.client().get("/ask", headers=headers)).status_code == 401

    async def test_only_hashes_are_stored(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        _, key = await owned.key_of(ana)
        browser = owned.client()
        await browser.post("/auth/sessions", json=ANA)
        cookie = browser.cookies["maloca_session"]
        tokens = (await log_in(owned.client(), "ana")).json()
        stored = ""
        async with owned.database.read() as session:
            for table in (User, LoginSession, RefreshToken):
                for row in (await session.execute(select(table.__table__))).all():
                    stored += str(row)
        for secret in (PASSWORD, key, cookie, tokens["refresh_token"], tokens["access_token"]):
            assert secret not in stored


class TestLogin:
    async def test_wrong_and_unknown_look_alike_and_cost_alike(
        self, owned: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        verified: list[str] = []
        original = Passwords._verify

        def spy(self: Passwords, password: str, stored: str) -> bool:
            verified.append(stored)
            return original(self, password, stored)

        monkeypatch.setattr(Passwords, "_verify", spy)
        wrong = await log_in(owned.client(), "ana", "wrong-one-here")
        unknown = await log_in(owned.client(), "nobody", "wrong-one-here")
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.content == unknown.content
        assert [stored.split("$")[:4] for stored in verified] == [verified[0].split("$")[:4]] * 2
        assert verified[0] != verified[1]

    async def test_an_endless_password_is_not_hashed_whole(self, owned: House) -> None:
        assert (await log_in(owned.client(), "ana", "x" * 4096)).status_code == 401
        assert (await log_in(owned.client(), "ana", "x" * 4097)).status_code == 422

    async def test_a_letter_is_the_same_however_it_is_composed(self, owned: House) -> None:
        composed, decomposed = "peque\u00f1o r\u00edo 4", "pequen\u0303o ri\u0301o 4"
        await owned.add("eva", password=composed)
        answer = await log_in(owned.client(), "eva", decomposed)
        assert answer.status_code == 200

    async def test_a_weaker_hash_is_made_again(self, owned: House, new_house: NewHouse) -> None:
        async def stored() -> str:
            async with owned.database.read() as session:
                query = select(User.password_hash).where(User.username == "ana")
                return str(await session.scalar(query))

        before = await stored()
        later = await new_house()
        later.accounts.passwords = Passwords(Cost(passes=2, memory=16))
        assert (await log_in(later.client(), "ana")).status_code == 200
        assert "m=8,t=1" in before
        assert "m=16,t=2" in await stored()
        assert (await log_in(owned.client(), "ana")).status_code == 200
        assert "m=16,t=2" in await stored()

    async def test_expired_sessions_are_swept_and_those_in_use_last(
        self, owned: House, new_house: NewHouse
    ) -> None:
        ana = await owned.sign_in("ana")
        async with owned.database.write() as session:
            soon = now() + dt.timedelta(hours=1)
            await session.execute(update(LoginSession).values(expires_at=soon))
        await ana.get("/ask")
        (found,) = (await ana.get("/auth/sessions")).json()
        assert dt.datetime.fromisoformat(found["expires_at"]) > now() + dt.timedelta(days=29)
        async with owned.database.write() as session:
            await session.execute(update(LoginSession).values(expires_at=now()))
        refused = await ana.get("/ask")
        assert (refused.status_code, code_of(refused)) == (401, "token_expired")
        for begin, left in ((owned.sign_in("ana"), 1), (owned.sign_in("beto"), 2)):
            await begin
            async with owned.database.read() as session:
                assert len((await session.scalars(select(LoginSession))).all()) == left
        async with owned.database.write() as session:
            await session.execute(update(LoginSession).values(expires_at=now()))
            await session.execute(update(RefreshToken).values(expires_at=now()))
        await new_house()
        async with owned.database.read() as session:
            for table in (LoginSession, RefreshToken):
                assert (await session.scalars(select(table))).all() == []


class TestCookies:
    async def test_over_plain_http(self, owned: House) -> None:
        answer = await owned.client().post("/auth/sessions", json=ANA)
        assert answer.status_code == 201
        assert "mls_" not in answer.text
        session, device = answer.headers.get_list("set-cookie")
        assert session.startswith("maloca_session=mls_")
        assert device.startswith("maloca_device=ey")
        for cookie in (session, device):
            attributes = set(cookie.lower().split("; ")[1:])
            assert {"httponly", "path=/", "samesite=strict"} < attributes
            assert not attributes & {"secure", "domain"}

    async def test_over_https(self, owned: House) -> None:
        client = owned.client(base="https://localhost")
        answer = await client.post("/auth/sessions", json=ANA)
        for cookie in answer.headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-maloca_")
            attributes = set(cookie.lower().split("; ")[1:])
            assert {"secure", "httponly", "path=/", "samesite=strict"} < attributes
            assert "domain" not in cookie.lower()
        assert (await client.get("/ask")).status_code == 200

    async def test_production_is_strict_behind_a_proxy_too(self, new_house: NewHouse) -> None:
        house = await new_house(environment="production")
        await house.add("ana")
        answer = await house.client().post("/auth/sessions", json=ANA)
        assert answer.headers["set-cookie"].startswith("__Host-maloca_session=")
        secret = answer.headers["set-cookie"].split("=")[1].split(";")[0]
        # A neighbour on the same host can set the plain name, which counts for nothing here.
        plain = await house.client().get("/ask", headers={"Cookie": f"maloca_session={secret}"})
        strict = {"Cookie": f"__Host-maloca_session={secret}"}
        assert plain.json() != (await house.client().get("/ask", headers=strict)).json()

    async def test_signing_out_ends_it_and_clears_it(self, owned: House) -> None:
        browser = owned.client(**SAME_ORIGIN)
        await browser.post("/auth/sessions", json=ANA)
        secret = browser.cookies["maloca_session"]
        out = await browser.post("/auth/logout")
        assert out.status_code == 204
        assert 'maloca_session=""; ' in out.headers["set-cookie"]
        assert "Max-Age=0" in out.headers["set-cookie"]
        kept = await owned.client().get("/ask", headers={"Cookie": f"maloca_session={secret}"})
        assert kept.status_code == 401

    async def test_other_cookies_are_none_of_our_business(self, owned: House) -> None:
        for cookie in ("theme=dark", "maloca_session=", "maloca_session=mlk_0", "maloca_session"):
            answer = await owned.client().get("/ask", headers={"Cookie": cookie})
            assert code_of(answer) == "unauthenticated"

    async def test_sessions_are_listed_with_the_present_one(self, owned: House) -> None:
        browser = owned.client("192.0.2.7", **SAME_ORIGIN, **{"User-Agent": "B" * 300})
        await browser.post("/auth/sessions", json=ANA)
        ana = await owned.sign_in("ana")
        found = {each["kind"]: each for each in (await ana.get("/auth/sessions")).json()}
        assert found["program"]["current"]
        assert not found["browser"]["current"]
        assert found["browser"]["address"] == "192.0.2.7"
        assert found["browser"]["user_agent"] == "B" * 200
        assert (await browser.delete("/auth/sessions")).json() == {"revoked": 1}
        assert (await ana.get("/ask")).status_code == 401
        assert (await browser.get("/ask")).status_code == 200


class TestOtherSites:
    async def test_a_cookie_alone_changes_nothing(self, owned: House) -> None:
        browser = owned.client()
        await browser.post("/auth/sessions", json=ANA)
        expected: list[tuple[dict[str, str], int]] = [
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": "http://localhost"}, 200),
            ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 200),
            ({}, 403),
            ({"Sec-Fetch-Site": "none"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://localhost:8001"}, 403),
            ({"Origin": "http://evil.example"}, 403),
        ]
        for headers, status in expected:
            assert (await browser.post("/ask", headers=headers)).status_code == status, headers
        assert (await browser.get("/ask")).status_code == 200

    async def test_a_bearer_needs_no_origin(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        assert (await ana.post("/ask")).status_code == 200

    async def test_no_other_site_signs_a_browser_in(self, owned: House) -> None:
        headers = {"Sec-Fetch-Site": "cross-site"}
        answer = await owned.client().post("/auth/sessions", json=ANA, headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "cross_site_request")
        assert "set-cookie" not in answer.headers

    async def test_an_allowed_origin_brings_a_token_but_never_a_cookie(
        self, new_house: NewHouse
    ) -> None:
        house = await new_house(cors_origins=["https://app.example"])
        await house.add("olga", "owner")
        origin = {"Origin": "https://app.example"}
        asked = await house.client().options(
            "/ask", headers=origin | {"Access-Control-Request-Method": "POST"}
        )
        assert asked.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Access-Control-Allow-Credentials" not in asked.headers
        olga = await house.sign_in("olga")
        answer = await olga.post("/ask", headers=origin)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        browser = house.client()
        await browser.post("/auth/sessions", json=ANA | {"username": "olga"})
        assert (await browser.post("/ask", headers=origin)).status_code == 403
        other = await olga.post("/ask", headers={"Origin": "https://other.example"})
        assert (other.status_code, code_of(other)) == (403, "origin_not_allowed")
