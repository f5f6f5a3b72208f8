"""How a pull shows itself: bars on a terminal, one line a phase elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from maloca.cli import console
from maloca.cli.i18n import TEXTS, t
from maloca.core.errors import Unavailable
from maloca.engine.store.catalogue import Entry
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.progress import Phase
from maloca.engine.store.pull import pull as pull_model
from maloca.engine.store.store import ModelStore

_MEASURED: Final = frozenset[Phase]({"downloading", "verifying", "extracting"})


def pull(
    store: ModelStore, model: str | Entry, *, source: Path | None = None
) -> tuple[StoredModel, bool]:
    """Fetch a model and show how far it is.

    Returns:
        The model, and whether anything had to be done.

    Raises:
        MalocaError: See `maloca.engine.store.pull.pull`.
        Unavailable: The engine's packages are not installed.
    """
    with Reporter(model if isinstance(model, str) else model.name) as report:
        try:
            stored = pull_model(store, model, progress=report, source=source)
        except ImportError as error:
            raise Unavailable(
                f"Models cannot be pulled without the package {error.name!r}.",
                hint="Install Maloca with its engine: `pip install 'maloca[engine]'`.",
            ) from error
    return stored, report.worked


class Reporter:
    """Shows a pull's phases one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._phase: Phase | None = None
        self._stack = ExitStack()
        self._report: console.Report | None = None

    @property
    def worked(self) -> bool:
        """Whether anything had to be done."""
        return self._phase is not None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the last bar away."""
        self._stack.close()

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        """Show how far the pull is."""
        if phase != self._phase:
            self._phase = phase
            self._stack.close()
            self._report = self._begin(phase)
        if self._report:
            self._report(done, total)

    def _begin(self, phase: Phase) -> console.Report | None:
        """Say that a phase begins; a measured one gets a bar."""
        if f"pull.{phase}" not in TEXTS:
            return None
        label = t(f"pull.{phase}", name=self._name)
        if phase in _MEASURED:
            return self._stack.enter_context(console.download(label))
        console.say(f"{label} …")
        return None
