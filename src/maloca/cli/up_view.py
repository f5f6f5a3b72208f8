"""What a person sees while `maloca up` runs. All of it goes to stderr."""

from __future__ import annotations

from typing import Final

from rich.status import Status
from rich.text import Text

from maloca.cli import console
from maloca.cli.i18n import t
from maloca.cli.readiness import Readiness
from maloca.cli.supervisor import ServiceFailed

_SHOWN: Final = 10


class UpView:
    """Reports for the supervisor: a spinner while things start on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._status: Status | None = None
        # How many lines in a row the same service printed last.
        self._tail = ("", 0)

    def start(self, services: list[str]) -> None:
        """Say that the services start."""
        text = t("up.starting", services=", ".join(services))
        if console.err.is_terminal:
            self._status = Status(Text(text), console=console.err)
            self._status.start()
        else:
            console.say(text)

    def settle(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def line(self, service: str, text: str) -> None:
        """Show a line that a service printed."""
        same, count = self._tail
        self._tail = (service, count + 1 if same == service else 1)
        console.err.print(Text.assemble((f"{service} │ ", "cyan dim"), (text, "dim")))

    def waiting(self, service: str, state: Readiness) -> None:
        """Show what an unready service is doing."""
        if state.message:
            text = t("up.waiting.message", service=service, message=state.message)
        elif state.status == "loading":
            text = t("up.waiting.load", service=service)
        else:
            text = t("up.waiting.start", service=service)
        if self._states.get(service) == text:
            return
        self._states[service] = text
        if self._status is not None:
            self._status.update(Text(text))
        elif state.status:
            console.say(text)

    def restarting(self, service: str, exit_code: int, delay: float) -> None:
        """Say that a service ended and starts again."""
        how = t("up.killed", signal=-exit_code) if exit_code < 0 else t("up.ended", code=exit_code)
        console.say(
            t("up.restarting", service=service, how=how, delay=f"{delay:g}"), style="yellow"
        )

    def back(self, service: str) -> None:
        """Say that a restarted service is ready."""
        console.say(t("up.back", service=service), style="green")

    def stopping(self) -> None:
        """Say that everything stops."""
        self.settle()
        console.say(t("up.stopping"), style="dim")

    def explain(self, failure: ServiceFailed) -> None:
        """Show a failed service's last lines, unless they are what stands above anyway."""
        lines = failure.lines[-_SHOWN:]
        service, count = self._tail
        if not lines or (service == failure.service and count >= len(lines)):
            return
        console.say(t("up.last_lines", service=failure.service))
        for line in lines:
            self.line(failure.service, line)
