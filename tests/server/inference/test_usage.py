"""`/usage`: one's own for everybody, everybody's for administrators."""

from __future__ import annotations

from tests.server.inference.conftest import Build, script


def test_who_sees_what(build_on_both: Build) -> None:
    house = build_on_both()
    admin = house.people.add("admin", role="admin")
    ana, luis = house.people.add("ana"), house.people.add("luis")
    for who, count in ((ana, 2), (luis, 1)):
        for _ in range(count):
            house.post(json={"prompt": script(reply="hola")}, headers=who.headers)
    house.stop()
    house = build_on_both()

    def get(path: str, headers: dict[str, str]) -> tuple[int, list[dict[str, object]]]:
        answer = house.client.get(path, headers=headers)
        return answer.status_code, answer.json()

    status, [total] = get("/usage", ana.headers)
    assert status == 200
    assert (total["requests"], total["model"], total["completion_tokens"]) == (2, "fake", 10)
    assert "user_id" not in total
    assert get("/usage", admin.headers) == (200, [])
    status, totals = get("/usage/everyone", admin.headers)
    assert {total["user_id"]: total["requests"] for total in totals} == {
        ana.user_id: 2,
        luis.user_id: 1,
    }
    assert get("/usage/everyone", ana.headers)[0] == 403
    for path in ("/usage", "/usage/everyone"):
        assert get(path, {})[0] == 401
        assert get(path + "?days=0", admin.headers)[0] == 422
