"""Making accounts, changing them, and leaving."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from sqlalchemy import select, update
from tests.server.accounts.conftest import PASSWORD, House, NewHouse, bearer, code_of, log_in

from maloca.server.accounts import invitations
from maloca.server.accounts.models import ApiKey, Invitation, LoginSession, User
from maloca.server.db.base import now

ANA = {"username": "ana", "password": PASSWORD}


class TestRegistration:
    async def test_an_account_is_made_and_signs_in(self, house: House) -> None:
        made = await house.client("192.0.2.7").post("/auth/register", json=ANA)
        assert made.status_code == 201
        assert made.headers["Cache-Control"] == "no-store"
        assert made.json() | {"id": "", "created_at": ""} == {
            "id": "",
            "username": "ana",
            "role": "user",
            "created_at": "",
            "last_login_at": None,
            "disabled_at": None,
        }
        tokens = (await log_in(house.client("192.0.2.7"), "ANA")).json()
        assert tokens["token_type"] == "bearer"  # noqa: S105 - OAuth 2's name of a kind
        assert tokens["expires_in"] == 900
        me = await house.client("192.0.2.7").get("/auth/me", headers=bearer(tokens["access_token"]))
        assert me.json()["username"] == "ana"

    async def test_what_cannot_be_used_is_named(self, house: House) -> None:
        for change, code, param in (
            ({"password": "short-7"}, "weak_password", "password"),
            ({"password": "x7Gm!20ab" * 200}, "weak_password", "password"),
            ({"password": "Contraseña2024"}, "weak_password", "password"),
            ({"username": "ana maria"}, "invalid_request", "username"),
            ({"username": "_ana"}, "invalid_request", "username"),
            ({"username": "a" * 65}, "invalid_request", "username"),
            ({"username": "ana\u202e"}, "invalid_request", "username"),
            ({"role": "owner"}, "invalid_request", "role"),
            ({"invitation": "mli_wrong"}, "invalid_invitation", "invitation"),
        ):
            answer = await house.client().post("/auth/register", json=ANA | change)
            assert (answer.status_code, code_of(answer)) == (422, code), change
            assert answer.json()["error"]["param"] == param
            if "password" in change:
                assert change["password"] not in answer.text

    async def test_a_name_is_taken_whatever_its_case(self, house: House) -> None:
        await house.client().post("/auth/register", json=ANA | {"username": "José"})
        for name in ("josé", "JOSÉ", "Jose\u0301"):
            answer = await house.client().post("/auth/register", json=ANA | {"username": name})
            assert (answer.status_code, code_of(answer)) == (409, "username_taken"), name

    async def test_of_many_who_want_a_name_one_gets_it(self, house: House) -> None:
        answers = await asyncio.gather(
            *(house.client().post("/auth/register", json=ANA) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]

    async def test_an_address_registers_only_so_often(self, house: House) -> None:
        weak = {"username": "ana", "password": "12345678"}
        client = house.client("192.0.2.7")
        for _ in range(60):
            assert (await client.post("/auth/register", json=weak)).status_code == 422
        answer = await client.post("/auth/register", json=ANA)
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "60"
        assert (await house.client("192.0.2.8").post("/auth/register", json=ANA)).status_code == 201

    async def test_a_closed_house_takes_nobody(self, new_house: NewHouse) -> None:
        house = await new_house(environment="production")
        answer = await house.client().post("/auth/register", json=ANA)
        assert (answer.status_code, code_of(answer)) == (403, "registration_closed")


class TestInvitations:
    async def test_one_invitation_makes_one_account(self, new_house: NewHouse) -> None:
        house = await new_house(registration="invite")
        await house.add("olga", "owner")
        refused = await house.client().post("/auth/register", json=ANA)
        assert (refused.status_code, code_of(refused)) == (403, "invitation_needed")
        olga = await house.sign_in("olga")
        made = (await olga.post("/admin/api/invitations", json={"role": "admin"})).json()
        assert [i["id"] for i in (await olga.get("/admin/api/invitations")).json()] == [made["id"]]
        answers = await asyncio.gather(
            *(
                house.client().post(
                    "/auth/register",
                    json={"username": f"ana{i}", "password": PASSWORD, "invitation": made["token"]},
                )
                for i in range(8)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [201, *[422] * 7]
        assert [a.json()["role"] for a in answers if a.status_code == 201] == ["admin"]
        assert (await olga.get("/admin/api/invitations")).json() == []

    async def test_a_name_that_is_taken_does_not_use_it_up(self, new_house: NewHouse) -> None:
        house = await new_house(registration="invite")
        await house.add("olga", "owner")
        olga = await house.sign_in("olga")
        token = (await olga.post("/admin/api/invitations", json={})).json()["token"]
        body = ANA | {"invitation": token}
        taken = await house.client().post("/auth/register", json=body | {"username": "olga"})
        assert taken.status_code == 409
        assert (await house.client().post("/auth/register", json=body)).status_code == 201

    async def test_it_can_be_taken_back_and_expires(self, new_house: NewHouse) -> None:
        house = await new_house(registration="invite")
        await house.add("olga", "owner")
        olga = await house.sign_in("olga")
        first = (await olga.post("/admin/api/invitations", json={})).json()
        second = (await olga.post("/admin/api/invitations", json={})).json()
        gone = f"/admin/api/invitations/{first['id']}"
        assert (await olga.delete(gone)).status_code == 204
        assert (await olga.delete(gone)).status_code == 404
        async with house.database.write() as session:
            await session.execute(update(Invitation).values(expires_at=now()))
        for token in (first["token"], second["token"]):
            body = ANA | {"invitation": token}
            answer = await house.client().post("/auth/register", json=body)
            assert code_of(answer) == "invalid_invitation"

    async def test_only_owners_invite_administrators(self, owned: House) -> None:
        await owned.add("adela", "admin")
        adela = await owned.sign_in("adela")
        answer = await adela.post("/admin/api/invitations", json={"role": "admin"})
        assert (answer.status_code, code_of(answer)) == (403, "owners_only")
        assert (await adela.post("/admin/api/invitations", json={})).status_code == 201


class TestSetUp:
    async def test_the_link_makes_the_owner_once(self, house: House) -> None:
        token = await invitations.new_setup_token(house.database)
        body = {"token": token, "username": "olga", "password": PASSWORD}
        made = await house.client().post("/auth/setup", json=body)
        assert (made.status_code, made.json()["role"]) == (201, "owner")
        again = await house.client().post("/auth/setup", json=body | {"username": "other"})
        assert (again.status_code, code_of(again)) == (422, "invalid_invitation")
        assert await invitations.new_setup_token(house.database) is None

    async def test_it_works_on_this_machine_alone(self, house: House) -> None:
        token = await invitations.new_setup_token(house.database)
        body = {"token": token, "username": "olga", "password": PASSWORD}
        for client in (house.client("192.0.2.7"), house.client(**{"X-Forwarded-For": "127.0.0.1"})):
            answer = await client.post("/auth/setup", json=body)
            assert (answer.status_code, code_of(answer)) == (403, "not_this_machine")

    async def test_a_newer_link_replaces_an_older_and_a_day_ends_it(self, house: House) -> None:
        older = await invitations.new_setup_token(house.database)
        newer = await invitations.new_setup_token(house.database)
        body = {"username": "olga", "password": PASSWORD}
        answer = await house.client().post("/auth/setup", json=body | {"token": older})
        assert code_of(answer) == "invalid_invitation"
        async with house.database.read() as session:
            ends = (await session.scalars(select(Invitation.expires_at))).one()
        assert dt.timedelta(hours=23) < ends - now() <= dt.timedelta(hours=24)
        async with house.database.write() as session:
            await session.execute(update(Invitation).values(expires_at=now()))
        answer = await house.client().post("/auth/setup", json=body | {"token": newer})
        assert code_of(answer) == "invalid_invitation"

    async def test_it_does_not_register_and_an_invitation_does_not_set_up(
        self, new_house: NewHouse
    ) -> None:
        house = await new_house(registration="invite")
        token = await invitations.new_setup_token(house.database)
        answer = await house.client().post("/auth/register", json=ANA | {"invitation": token})
        assert code_of(answer) == "invalid_invitation"

    async def test_an_owner_made_meanwhile_ends_it(self, house: House) -> None:
        token = await invitations.new_setup_token(house.database)
        await house.add("olga", "owner")
        body = {"token": token, "username": "other", "password": PASSWORD}
        answer = await house.client().post("/auth/setup", json=body)
        assert (answer.status_code, code_of(answer)) == (409, "owner_exists")


class TestOneself:
    async def test_a_new_password_ends_the_other_sessions(self, owned: House) -> None:
        ana, elsewhere = await owned.sign_in("ana"), await owned.sign_in("ana")
        body = {"current_password": "wrong-one-here", "new_password": "guadua y bejuco 3"}
        wrong = await ana.post("/auth/password", json=body)
        assert (wrong.status_code, code_of(wrong)) == (401, "invalid_credentials")
        body["current_password"] = PASSWORD
        assert (await ana.post("/auth/password", json=body)).status_code == 204
        assert (await ana.get("/auth/me")).status_code == 200
        assert (await elsewhere.get("/auth/me")).status_code == 401
        assert (await log_in(owned.client(), "ana")).status_code == 401
        assert (await log_in(owned.client(), "ana", "guadua y bejuco 3")).status_code == 200

    async def test_a_weak_new_password_changes_nothing(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        body = {"current_password": PASSWORD, "new_password": "ana12345"}
        assert code_of(await ana.post("/auth/password", json=body)) == "weak_password"
        assert (await log_in(owned.client(), "ana")).status_code == 200

    async def test_leaving_takes_everything_along(self, owned: House) -> None:
        ana = await owned.sign_in("ana")
        _, key = await owned.key_of(ana)
        wrong = await ana.request("DELETE", "/auth/me", json={"password": "wrong-one-here"})
        assert wrong.status_code == 401
        left = await ana.request("DELETE", "/auth/me", json={"password": PASSWORD})
        assert left.status_code == 204
        for headers in (ana.headers, bearer(key)):
            assert (await owned.client().get("/ask", headers=headers)).status_code == 401
        async with owned.database.read() as session:
            for table in (ApiKey, LoginSession):
                assert (await session.scalars(select(table))).all() == []
            names = (await session.scalars(select(User.username))).all()
        assert sorted(names) == ["beto", "olga"]

    async def test_the_export_has_ones_own_rows_without_secrets(self, owned: House) -> None:
        ana, beto = await owned.sign_in("ana"), await owned.sign_in("beto")
        _, key = await owned.key_of(ana, name="mine")
        await owned.key_of(beto, name="his")
        export: dict[str, Any] = (await ana.get("/auth/me/export")).json()
        assert [row["username"] for row in export["users"]] == ["ana"]
        assert [row["name"] for row in export["api_keys"]] == ["mine"]
        assert len(export["sessions"]) == 1
        text = str(export)
        assert "hash" not in text
        assert key not in text
        assert "beto" not in text


class TestLastOwner:
    async def test_the_last_owner_stays(self, owned: House) -> None:
        olga = await owned.sign_in("olga")
        olga_id = (await olga.get("/auth/me")).json()["id"]
        path = f"/admin/api/users/{olga_id}"
        for answer in (
            await olga.request("DELETE", "/auth/me", json={"password": PASSWORD}),
            await olga.delete(path),
            await olga.patch(path, json={"disabled": True}),
            await olga.patch(path, json={"role": "user"}),
        ):
            assert (answer.status_code, code_of(answer)) == (409, "last_owner")
        assert (await owned.client().get("/ask")).status_code == 401

    async def test_of_two_owners_who_remove_each_other_one_stays(self, owned: House) -> None:
        await owned.add("omar", "owner")
        olga, omar = await owned.sign_in("olga"), await owned.sign_in("omar")
        ids = [(await each.get("/auth/me")).json()["id"] for each in (olga, omar)]
        answers = await asyncio.gather(
            olga.patch(f"/admin/api/users/{ids[1]}", json={"role": "user"}),
            omar.patch(f"/admin/api/users/{ids[0]}", json={"role": "user"}),
        )
        async with owned.database.read() as session:
            owners = await session.scalars(select(User.id).where(User.role == "owner"))
            assert len(owners.all()) == 1
        first, second = sorted(answer.status_code for answer in answers)
        assert first == 200
        assert second in {401, 403, 409}


class TestOthers:
    async def test_the_id_of_another_is_not_found(self, owned: House) -> None:
        ana, beto = await owned.sign_in("ana"), await owned.sign_in("beto")
        key_id, key = await owned.key_of(ana)
        session_id = (await ana.get("/auth/sessions")).json()[0]["id"]
        for path in (f"/auth/api-keys/{key_id}", f"/auth/sessions/{session_id}"):
            for other in (beto, await owned.sign_in("olga")):
                assert (await other.delete(path)).status_code == 404
        assert (await beto.get("/auth/api-keys")).json() == []
        assert (await owned.client().get("/ask", headers=bearer(key))).status_code == 200
        assert (await ana.get("/ask")).status_code == 200

    async def test_administration_is_for_administrators(self, owned: House) -> None:
        ana, gone = await owned.sign_in("ana"), await owned.sign_in("ana")
        beto, olga = await owned.sign_in("beto"), await owned.sign_in("olga")
        await gone.post("/auth/logout")
        beto_id = (await beto.get("/auth/me")).json()["id"]
        await olga.patch(f"/admin/api/users/{beto_id}", json={"disabled": True})
        for method, path in (
            ("GET", "/admin/api/users"),
            ("PATCH", "/admin/api/users/x"),
            ("DELETE", "/admin/api/users/x"),
            ("POST", "/admin/api/users/x/reset-password"),
            ("GET", "/admin/api/invitations"),
            ("POST", "/admin/api/invitations"),
            ("DELETE", "/admin/api/invitations/x"),
            ("GET", "/admin/api/audit"),
        ):
            body = {"json": {}} if method in {"PATCH", "POST"} else {}
            for client, status in ((owned.client(), 401), (gone, 401), (beto, 401), (ana, 403)):
                answer = await client.request(method, path, **body)
                assert answer.status_code == status, path

    async def test_an_administrator_manages_users_alone(self, owned: House) -> None:
        await owned.add("adela", "admin")
        adela = await owned.sign_in("adela")
        ids = {u["username"]: u["id"] for u in (await adela.get("/admin/api/users")).json()}
        assert list(ids) == ["adela", "ana", "beto", "olga"]
        for name in ("olga", "adela"):
            path = f"/admin/api/users/{ids[name]}"
            for answer in (
                await adela.patch(path, json={"disabled": True}),
                await adela.patch(path, json={"role": "owner"}),
                await adela.delete(path),
                await adela.post(f"{path}/reset-password"),
            ):
                assert (answer.status_code, code_of(answer)) == (403, "owners_only")
        path = f"/admin/api/users/{ids['ana']}"
        assert code_of(await adela.patch(path, json={"role": "admin"})) == "owners_only"
        assert (await adela.patch(path, json={"disabled": True})).json()["disabled_at"]
        assert (await adela.patch("/admin/api/users/nobody", json={})).status_code == 404

    async def test_a_reset_password_is_shown_once_and_works(self, owned: House) -> None:
        ana, olga = await owned.sign_in("ana"), await owned.sign_in("olga")
        ana_id = (await ana.get("/auth/me")).json()["id"]
        reset = await olga.post(f"/admin/api/users/{ana_id}/reset-password")
        password = reset.json()["password"]
        assert (await log_in(owned.client(), "ana")).status_code == 401
        assert (await log_in(owned.client(), "ana", password)).status_code == 200
        assert password not in (await olga.get("/admin/api/audit")).text
