"""The secret that signs tokens: given by the owner, or generated once and kept in a file."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from maloca.core.settings import BadSetting

FILE: Final = "secret_key"
MIN_LENGTH: Final = 32
_OWNER_ONLY: Final = 0o600


def load_or_create(folder: Path) -> str:
    """Return the secret in `folder`, made on the first call and readable by its owner only.

    Raises:
        BadSetting: The file is too short to be a secret.
    """
    path = folder / FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written whole beside its place and linked into it: whichever process is first wins, and no
    # other ever reads half a secret.
    draft = folder / f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            _put(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    secret = path.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < MIN_LENGTH:
        raise BadSetting(
            f"{path} is damaged: it has less than {MIN_LENGTH} characters. "
            "Remove it (everybody must sign in again), or set MALOCA_SECRET_KEY."
        )
    return secret


def _put(draft: Path, path: Path) -> None:
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    except OSError:
        # A file system without links: the last of several first starts wins, before anybody has
        # signed in.
        draft.replace(path)
