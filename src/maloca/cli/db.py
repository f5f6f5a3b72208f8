"""`maloca db`: the database as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from maloca.cli import console
from maloca.cli.i18n import t
from maloca.core.errors import InvalidRequest, Unavailable
from maloca.server.db import maintenance, versions
from maloca.server.settings import ServerSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Back up, restore and migrate the database.",
)


@app.command()
def path() -> None:
    """Print where the database is: a file, or a URL without its password."""
    console.write(versions.shown(ServerSettings.load().database))


@app.command()
def backup(
    *,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="Where to.", show_default="backups under MALOCA_HOME"
        ),
    ] = None,
) -> None:
    """Write a backup and print its path; Maloca may run meanwhile."""
    url = ServerSettings.load().database
    try:
        made = asyncio.run(maintenance.backup(url, folder))
    except OSError as error:
        raise _not_written(error) from error
    console.write(str(made))
    console.say(f"Bring it back with `maloca db restore {made}`.", style="dim")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `maloca db backup` wrote.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Bring a backup back in place of the database, which is kept beside it."""
    url = ServerSettings.load().database
    if not yes:
        if not console.interactive():
            raise InvalidRequest(
                f"Nobody is there to confirm that {versions.shown(url)} is replaced.",
                hint=f"Run `maloca db restore {file} --yes`.",
            )
        typer.confirm(f"Replace {versions.shown(url)} by {file}?", abort=True, err=True)
    try:
        kept = asyncio.run(maintenance.restore(url, file))
    except OSError as error:
        raise _not_written(error) from error
    console.say(f"{versions.shown(url)} is as in {file}.")
    if kept is not None:
        console.say(f"What was there before is {kept}.")
    if asyncio.run(versions.state(url)).pending:
        console.say("It is from an older version: run `maloca db migrate`.")


@app.command()
def migrate(
    *,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION", help="An older or newer revision.", show_default="the newest"
        ),
    ] = None,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Do not make a backup first.")
    ] = False,
) -> None:
    """Bring the database to the revision that this version of Maloca needs, after a backup."""
    run_migration(ServerSettings.load(), to=to, with_backup=not no_backup, quiet=False)


def run_migration(
    settings: ServerSettings, *, to: str | None = None, with_backup: bool = True, quiet: bool = True
) -> None:
    """Migrate, and say what was done; if `quiet`, only when there was data to migrate."""
    try:
        done = asyncio.run(maintenance.migrate(settings.database, to, with_backup=with_backup))
    except OSError as error:
        raise _not_written(error) from error
    if done.backup is not None:
        console.say(t("up.backup", path=done.backup))
    if done.steps and (done.backup is not None or not quiet):
        console.say(t("up.migrated", steps=", ".join(done.steps)))
    elif not done.steps and not quiet:
        console.say("The database is at that revision already.")


def _not_written(error: OSError) -> Unavailable:
    return Unavailable(
        f"A file cannot be written: {error}.",
        code="not_written",
        hint="See that there is room and that the folder is yours.",
    )
