"""A command group that imports a command only when it runs, so that `--help` is instant."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from maloca.cli import console
from maloca.core.errors import MalocaError, Unavailable


class Command(NamedTuple):
    """Where a command lives: a module with an `app`, and the line that help shows."""

    module: str
    help: str


COMMANDS: Final = {
    "up": Command("maloca.cli.up", "Start everything on this machine and open the page."),
    "chat": Command("maloca.cli.chat", "Talk with a model, or answer what stdin asks."),
    "models": Command("maloca.cli.models", "List, fetch, show and remove models."),
    "doctor": Command("maloca.cli.doctor", "Check this machine, and say what to fix."),
    "db": Command("maloca.cli.db", "Back up, restore and migrate the database."),
    "jobs": Command("maloca.cli.jobs", "List, show and cancel jobs."),
    "admin": Command("maloca.cli.admin", "Manage the accounts of this house."),
    "engine": Command("maloca.cli.engine", "Run the inference service alone."),
    "server": Command("maloca.cli.server", "Run the application service alone."),
    "version": Command("maloca.cli.version", "Print the version."),
}


class LazyGroup(TyperGroup):
    """Lists the commands of `COMMANDS` and loads one when it is called or completed.

    It is also the one place where an error that a user may see becomes text and an exit code:
    1 for a failure, 2 for bad usage or a bad setting, 130 for an interruption.
    """

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            name: TyperCommand(name=name, help=command.help) for name, command in COMMANDS.items()
        }
        super().__init__(**attributes)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the arguments name, and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else found, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn what a user may see into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except MalocaError as failure:
            console.fail(failure)
            raise typer.Exit(1) from failure
        except Exception as failure:
            # BadSetting brings pydantic-settings in, which `--help` should not pay for; whoever
            # raised it has imported it already.
            settings = sys.modules.get("maloca.core.settings")
            if settings is None or not isinstance(failure, settings.BadSetting):
                raise
            for line in str(failure).splitlines():
                console.error(line)
            raise typer.Exit(2) from failure


def load(name: str) -> Any:
    """Import a command of `COMMANDS` and return its click object.

    Raises:
        Unavailable: The command needs a package of an extra that is not installed.
    """
    try:
        loaded = get_command(import_module(COMMANDS[name].module).app)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("maloca"):
            raise
        raise Unavailable(
            f"`maloca {name}` needs the package {error.name!r}.",
            hint="Install Maloca with its engine: `pip install 'maloca[engine]'`.",
        ) from error
    loaded.name = name
    for each in (loaded, *getattr(loaded, "commands", {}).values()):
        each.rich_markup_mode = None
    return loaded
