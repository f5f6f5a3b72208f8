"""`maloca admin`: the accounts of this house, straight from its database.

It works while the server is stopped, and a running server sees every change at its next request.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal, TypeVar

import typer

from maloca.asgi import records
from maloca.cli import console
from maloca.cli.admin_view import audit_table, users_table
from maloca.cli.i18n import t
from maloca.cli.options import AsJson
from maloca.core.errors import InvalidRequest
from maloca.server.accounts import administration, audit_repository, invitations, repository
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.administration import COMMAND_LINE
from maloca.server.accounts.models import User
from maloca.server.accounts.schemas import AuditRead, InvitationCreated, UserRead
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.settings import ServerSettings

# Plain help at every depth, as in the commands above it.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Manage the accounts of this house.",
)
users = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Manage accounts."
)
app.add_typer(users, name="users")

_EVERYBODY: Final = 1_000_000
T = TypeVar("T")

Name = Annotated[str, typer.Argument(help="The account's name.")]
AsList = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin's first line.")
]


def _run(work: Callable[[Accounts], Awaitable[T]]) -> T:
    """Return what is done with the accounts of the database that the settings name."""

    async def open_and_work() -> T:
        settings = ServerSettings.load()
        await versions.prepare(settings.database)
        async with (
            aclosing(Database(settings.database)) as database,
            aclosing(await Accounts.open(settings, database)) as accounts,
        ):
            return await work(accounts)

    return asyncio.run(open_and_work())


@users.command("list")
def list_(*, as_json: AsList = False) -> None:
    """List the accounts."""

    async def work(accounts: Accounts) -> list[UserRead]:
        async with accounts.database.read() as session:
            found = await repository.list_users(session, limit=_EVERYBODY, offset=0)
        return [UserRead.of(user) for user in found]

    found = _run(work)
    if as_json:
        console.write_json([user.model_dump(mode="json") for user in found])
    elif found:
        users_table(found)
    else:
        console.say(t("admin.nobody"))


@users.command()
def add(
    name: Name,
    *,
    role: Annotated[
        Literal["owner", "admin", "user"], typer.Option(help="What the account may do.")
    ] = "user",
    password_stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Make an account; the password is asked for."""
    password = _password(from_stdin=password_stdin, command=f"maloca admin users add {name}")

    async def work(accounts: Accounts) -> User:
        return await administration.add_user(accounts, COMMAND_LINE, name, password, role=role)

    _tell(_run(work), t("admin.added", name=name, role=role), as_json=as_json)


@users.command()
def disable(name: Name, *, as_json: AsJson = False) -> None:
    """Disable an account: it is signed out everywhere, and its keys stop working."""
    _tell(_set_disabled(name, disabled=True), t("admin.disabled", name=name), as_json=as_json)


@users.command()
def enable(name: Name, *, as_json: AsJson = False) -> None:
    """Enable a disabled account; its keys work again."""
    _tell(_set_disabled(name, disabled=False), t("admin.enabled", name=name), as_json=as_json)


@users.command()
def role(
    name: Name,
    role: Annotated[
        Literal["owner", "admin", "user"], typer.Argument(help="What it may do from now on.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Change what an account may do."""

    async def work(accounts: Accounts) -> User:
        async with accounts.database.write() as session:
            user = await administration.get_named_or_raise(session, name)
            await administration.set_role(session, COMMAND_LINE, user, role)
        return user

    _tell(_run(work), t("admin.role", name=name, role=role), as_json=as_json)


@users.command()
def rm(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an account with everything in it."""
    if not yes:
        if not console.interactive():
            raise InvalidRequest(
                f"Nobody is there to confirm that {name!r} is removed.",
                hint=f"Run `maloca admin users rm {name} --yes`.",
            )
        typer.confirm(t("admin.confirm", name=name), abort=True, err=True)

    async def work(accounts: Accounts) -> User:
        async with accounts.database.write() as session:
            user = await administration.get_named_or_raise(session, name)
            await administration.delete_user(session, COMMAND_LINE, user)
        return user

    _tell(_run(work), t("admin.removed", name=name), as_json=as_json)


@app.command()
def invite(
    *,
    role: Annotated[
        Literal["admin", "user"], typer.Option(help="What the new account may do.")
    ] = "user",
    days: Annotated[float, typer.Option(min=0.01, max=90, help="Days that it is valid.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Make an invitation, and print its token this once."""

    async def work(accounts: Accounts) -> InvitationCreated:
        async with accounts.database.write() as session:
            made = await invitations.invite(accounts, session, COMMAND_LINE, role=role, days=days)
        return InvitationCreated.of_new(made)

    made = _run(work)
    if as_json:
        console.write_json(made.model_dump(mode="json"))
        return
    console.write(made.token)
    if record := records.find("server"):
        console.say(t("admin.invite", link=f"{record.url}/#invite={made.token}"))


@app.command("reset-password")
def reset_password(
    name: Name, *, password_stdin: FromStdin = False, as_json: AsJson = False
) -> None:
    """Give an account a new password, and sign it out everywhere; prints a generated one."""
    chosen = _first_line() if password_stdin else None

    async def work(accounts: Accounts) -> str:
        async with accounts.database.read() as session:
            user = await administration.get_named_or_raise(session, name)
        return await administration.reset_password(accounts, COMMAND_LINE, user, chosen)

    password = _run(work)
    if as_json:
        shown = {"username": name} if password_stdin else {"username": name, "password": password}
        console.write_json(shown)
        return
    if not password_stdin:
        console.write(password)
    console.say(t("admin.reset", name=name))


@app.command()
def audit(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    action: Annotated[str | None, typer.Option(help="Only this one, such as login.failed.")] = None,
    as_json: AsList = False,
) -> None:
    """List security events, the latest first."""

    async def work(accounts: Accounts) -> list[AuditRead]:
        async with accounts.database.read() as session:
            found = await audit_repository.list_events(session, limit=limit, action=action)
        return [AuditRead.of(event) for event in found]

    found = _run(work)
    if as_json:
        console.write_json([event.model_dump(mode="json") for event in found])
    elif found:
        audit_table(found)
    else:
        console.say(t("admin.no_events"))


def _set_disabled(name: str, *, disabled: bool) -> User:
    async def work(accounts: Accounts) -> User:
        async with accounts.database.write() as session:
            user = await administration.get_named_or_raise(session, name)
            await administration.set_disabled(session, COMMAND_LINE, user, disabled=disabled)
        return user

    return _run(work)


def _tell(user: User, message: str, *, as_json: bool) -> None:
    if as_json:
        shown: Any = UserRead.of(user).model_dump(mode="json")
        console.write_json(shown)
    else:
        console.say(message)


def _password(*, from_stdin: bool, command: str) -> str:
    """Return the password that a person types twice, or that a program writes once."""
    if from_stdin:
        return _first_line()
    if not console.interactive():
        raise InvalidRequest(
            "Nobody is there to type a password.",
            hint=f"Write it to stdin: `{command} --password-stdin`.",
        )
    typed: str = typer.prompt(
        t("admin.password"), hide_input=True, confirmation_prompt=True, err=True
    )
    return typed


def _first_line() -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise InvalidRequest(
            "There is no password on stdin.", hint="Write it as the first line, without quotes."
        )
    return line
