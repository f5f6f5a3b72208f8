"""Jobs over HTTP: whose they are, and their events as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp, serve
from tests.server.jobs.conftest import Queue

from maloca.server.accounts.models import ApiKey, User
from maloca.server.accounts.principal import Role
from maloca.server.accounts.tokens import API_KEY, digest
from maloca.server.app import create_app
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.jobs import leases
from maloca.server.settings import ServerSettings

NONE = "-"
PEOPLE: dict[str, tuple[Role, str]] = {
    "olga": ("owner", "inference knowledge admin"),
    "ana": ("user", "inference knowledge"),
    "ben": ("user", "inference knowledge"),
}


@pytest.fixture
async def people(database: Database) -> None:
    async with database.write() as session:
        for name, (role, scopes) in PEOPLE.items():
            session.add(
                User(id=name, username=name, username_key=name, password_hash=NONE, role=role)
            )
            await session.flush()
            session.add(
                ApiKey(
                    user_id=name,
                    name="test",
                    prefix=API_KEY + name,
                    key_hash=digest(API_KEY + name * 10),
                    scopes=scopes,
                    created_at=now(),
                )
            )


@pytest.fixture
def live(people: None, migrated_database_url: str) -> Iterator[LiveApp]:
    del people
    settings = ServerSettings.load(port=0, database_url=migrated_database_url)
    with serve(create_app(settings)) as app:
        yield app


def client(live: LiveApp, name: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {API_KEY}{name * 10}"} if name else {}
    return httpx.Client(base_url=live.url, headers=headers, timeout=30)


def parse(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Return id, event and data of each server-sent event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if fields and "id" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_whose_jobs_they_are(live: LiveApp, queue: Queue) -> None:
    hers, his = await queue.submit(owner_id="ana"), await queue.submit(owner_id="ben")
    with client(live, None) as nobody:
        for method, path in (
            ("GET", "/jobs"),
            ("GET", f"/jobs/{hers}"),
            ("GET", f"/jobs/{hers}/events"),
            ("POST", f"/jobs/{hers}/cancel"),
        ):
            assert nobody.request(method, path).status_code == 401, path
        assert nobody.post("/jobs", json={"kind": "demo"}).status_code == 401
    with client(live, "ana") as ana:
        assert [job["id"] for job in ana.get("/jobs").json()["jobs"]] == [hers]
        for method, path in (
            ("GET", f"/jobs/{his}"),
            ("GET", f"/jobs/{his}/events"),
            ("POST", f"/jobs/{his}/cancel"),
            ("GET", "/jobs/nothing"),
        ):
            refused = ana.request(method, path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "job_not_found")
        assert ana.post("/jobs", json={"kind": "demo"}).status_code == 403
        job = ana.post(f"/jobs/{hers}/cancel").json()
        assert (job["state"], job["owner_id"]) == ("cancelled", "ana")
        assert "lease" not in job
        assert "payload" not in job
    with client(live, "olga") as olga:
        assert [job["id"] for job in olga.get("/jobs").json()["jobs"]] == [his, hers]
        assert olga.get("/jobs?state=queued").json()["jobs"][0]["id"] == his
        assert olga.get("/jobs?state=asleep").status_code == 422
        assert olga.post(f"/jobs/{his}/cancel").json()["state"] == "cancelled"
        refused = olga.post("/jobs", json={"kind": "demo", "payload": {"sleep": 1}})
        assert refused.status_code == 422
        made = olga.post("/jobs", json={"kind": "demo", "payload": {"steps": 1}, "priority": 3})
        assert made.status_code == 201
        assert (made.json()["state"], made.json()["priority"]) == ("queued", 3)
        assert (await queue.get(made.json()["id"])).payload["steps"] == 1


async def test_events_are_replayed_and_followed(live: LiveApp, queue: Queue) -> None:
    job_id = await queue.submit(owner_id="ana")
    with client(live, "ana") as ana:
        with ana.stream("GET", f"/jobs/{job_id}/events") as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            blocks = response.iter_text()
            assert [event[:2] for event in parse(next(blocks))] == [(1, "queued")]
            job = await queue.claim("one")
            assert job is not None
            assert job.lease is not None
            [(number, kind, data)] = parse(next(blocks))
            assert (number, kind, data["runner"]) == (2, "started", "one")
        # The client has gone away; it comes back with the last id that it saw.
        async with queue.database.write() as session:
            for step in range(1, 4):
                await leases.report(session, job.lease, step / 3, f"step {step}")
            await leases.end(session, job.lease, "succeeded", result={"counted": 3})
        everything = parse(ana.get(f"/jobs/{job_id}/events").text)
        assert [event[0] for event in everything] == [1, 2, 3, 4, 5, 6]
        assert [event[1] for event in everything].count("succeeded") == 1
        assert everything[-1][1] == "succeeded"
        assert everything[-1][2]["result"] == {"counted": 3}
        for seen in range(6):
            again = ana.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(seen)})
            assert parse(again.text) == everything[seen:]
        over = ana.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": "6"})
        assert (over.status_code, over.content) == (204, b"")
        for wrong in ("-1", "one", "9999999999"):
            refused = ana.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": wrong})
            assert refused.status_code == 422


async def test_a_stream_ends_when_the_server_drains(live: LiveApp, queue: Queue) -> None:
    job_id = await queue.submit(owner_id="ana")
    with (
        client(live, "ana") as ana,
        ana.stream("GET", f"/jobs/{job_id}/events") as response,
    ):
        blocks = response.iter_text()
        assert "queued" in next(blocks)
        live.app.state.draining = True
        assert list(blocks) == []
