"""Writing to the store so that a reader, or a power cut, sees all of it or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from maloca.core.errors import Unavailable
from maloca.engine.store.names import check_name

STAGING: Final = ".staging"


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn what the disk refuses into an error that a user can act on.

    Raises:
        Unavailable: The disk is full, or the store cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise no_room(root, "it filled up meanwhile") from error
        place = error.filename or root
        raise Unavailable(
            f"The model store {root} failed at {place}: {error.strerror or error}.",
            code="store_unwritable",
            hint="See that this user may read and write there, or set MALOCA_MODELS_DIR.",
        ) from error


def no_room(root: Path, detail: str) -> Unavailable:
    """Return the error for a disk that is full, or would be."""
    return Unavailable(
        f"The disk of the model store {root} has no room: {detail}.",
        code="disk_full",
        hint="Free some space, or set MALOCA_MODELS_DIR to a folder on another disk.",
    )


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable, where the platform can (Windows has no such call)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Make every file below the folder durable, and the folders that name them."""
    for base, _, files in os.walk(folder):
        for name in files:
            sync_file(Path(base, name))
        sync_folder(Path(base))


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file's content in one step; its folder must exist."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def staging_folder(root: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder on the store's own file system; what is left in it goes away.

    The caller holds the lock of that name, so whatever else lies here is what a killed process
    left behind, and is cleared too.

    Raises:
        InvalidRequest: The name is not valid, so it could lead out of the staging folder.
    """
    parent = root / STAGING / check_name(name)
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(parents=True)
    try:
        yield parent
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def publish(content: Path, target: Path, *, trash: Path) -> None:
    """Move a finished folder into place; what stood there is moved into `trash` first.

    All three must lie on one file system. Between the two moves nothing stands at `target`:
    a reader sees the old model, none, or the new one, never a mixture.
    """
    sync_tree(content)
    discard(target, trash=trash)
    content.rename(target)
    sync_folder(target.parent)


def discard(target: Path, *, trash: Path) -> None:
    """Take a folder out of sight in one step; a link is unlinked and its target left alone."""
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        target.rename(trash / f"old-{target.name}")
