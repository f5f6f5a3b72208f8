"""`maloca admin`, as an administrator runs it on the server's machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maloca.cli.main import app
from maloca.server.accounts import accounts as accounts_module
from maloca.server.accounts.passwords import Cost

PASSWORD = "tuyuyo-pescado-9"  # noqa: S105 - of these tests alone


@pytest.fixture(autouse=True)
def _cheap(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not home.exists()
    monkeypatch.setattr(accounts_module, "measure", lambda: Cost(passes=1, memory=8))


def admin(*arguments: str, stdin: str | None = None, fails: int = 0) -> Any:
    """Run a command; return what it wrote."""
    done = CliRunner().invoke(app, ["admin", *arguments], input=stdin)
    assert done.exit_code == fails, done.stderr
    assert PASSWORD not in done.output
    return done


def add(name: str, *options: str) -> Any:
    return admin("users", "add", name, "--password-stdin", *options, stdin=PASSWORD + "\n")


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(admin("users", "list", "--json").stdout)
    return found


def test_an_empty_house() -> None:
    done = admin("users", "list")
    assert done.stdout == ""
    assert "`maloca admin users add NAME --role owner`" in done.stderr
    assert listed() == []
    assert json.loads(admin("audit", "--json").stdout) == []
    assert admin("audit").stderr == "Nothing has happened yet.\n"


def test_accounts_from_beginning_to_end() -> None:
    assert add("olga", "--role", "owner").stderr == "The account olga was made (owner).\n"
    made = json.loads(add("ana", "--json").stdout)
    assert (made["username"], made["role"]) == ("ana", "user")
    table = admin("users", "list").stdout
    assert re.search(
        r"^ana +user +enabled +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +–$", table, re.MULTILINE
    )
    assert admin("users", "disable", "ANA").stderr == (
        "The account ANA is disabled and signed out.\n"
    )
    assert [user["disabled_at"] is None for user in listed()] == [False, True]
    assert json.loads(admin("users", "enable", "ana", "--json").stdout)["disabled_at"] is None
    admin("users", "role", "ana", "admin")
    assert [user["role"] for user in listed()] == ["admin", "owner"]
    assert admin("users", "rm", "ana", "--yes").stderr == "The account ana was removed.\n"
    assert [user["username"] for user in listed()] == ["olga"]
    actions = [event["action"] for event in json.loads(admin("audit", "--json").stdout)]
    assert actions == [
        "account.deleted",
        "account.role_changed",
        "account.enabled",
        "account.disabled",
        "account.created",
        "account.created",
    ]
    assert "before=user after=admin" in admin("audit").stdout
    assert (
        len(admin("audit", "--limit", "1", "--action", "account.created").stdout.split("\n")) == 3
    )


def test_an_invitation_is_printed_once() -> None:
    done = admin("invite", "--days", "2")
    assert re.fullmatch(r"mli_[0-9a-f]{40}\n", done.stdout)
    made = json.loads(admin("invite", "--role", "admin", "--json").stdout)
    assert made["role"] == "admin"
    assert made["token"].startswith("mli_")
    assert made["token"] not in admin("audit", "--json").stdout


def test_an_invitation_to_a_closed_house(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_REGISTRATION", "closed")
    assert "MALOCA_REGISTRATION=invite" in admin("invite", fails=1).stderr


def test_a_password_is_reset() -> None:
    add("ana")
    generated = admin("reset-password", "ana")
    assert len(generated.stdout.strip()) == 16
    assert "signed out everywhere" in generated.stderr
    given = admin("reset-password", "ana", "--password-stdin", "--json", stdin=PASSWORD + "\r\n")
    assert json.loads(given.stdout) == {"username": "ana"}
    assert set(json.loads(admin("reset-password", "ana", "--json").stdout)) == {
        "username",
        "password",
    }


@pytest.mark.parametrize(
    ("arguments", "stdin", "error"),
    [
        (["users", "disable", "nobody"], None, "There is no account 'nobody'."),
        (["users", "rm", "olga", "--yes"], None, "The last owner must stay."),
        (["users", "rm", "olga"], None, "Nobody is there to confirm that 'olga' is removed."),
        (["users", "add", "eva"], None, "Nobody is there to type a password."),
        (["users", "add", "eva", "--password-stdin"], "\n", "There is no password on stdin."),
        (["users", "add", "eva", "--password-stdin"], "12345678\n", "The password cannot be used"),
        (["users", "add", "e v", "--password-stdin"], PASSWORD, "'e v' cannot be a name."),
        (["users", "add", "OLGA", "--password-stdin"], PASSWORD, "The name 'OLGA' is taken."),
        (["reset-password", "nobody"], None, "There is no account 'nobody'."),
    ],
)
def test_mistakes_say_the_way_out(arguments: list[str], stdin: str | None, error: str) -> None:
    add("olga", "--role", "owner")
    done = admin(*arguments, stdin=stdin, fails=1)
    assert done.stdout == ""
    first, hint = done.stderr.splitlines()
    assert first.startswith(f"Error: {error}")
    assert hint


def test_it_speaks_spanish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_LANG", "es")
    assert add("olga").stderr == "La cuenta olga fue creada (user).\n"


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_ENVIRONMENT", "production")
    assert "MALOCA_SECRET_KEY is missing" in admin("users", "list", fails=2).stderr
