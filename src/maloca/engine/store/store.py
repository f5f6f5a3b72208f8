"""The models on disk: a folder for each, with a manifest, and aliases that point to them."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from maloca.core.errors import InvalidRequest, ModelFailed, ModelNotFound
from maloca.engine.store.atomic import discard, publish, staging_folder, write_atomic
from maloca.engine.store.manifest import MANIFEST, Manifest, StoredModel
from maloca.engine.store.names import check_name, safe_relative

ALIASES: Final = ".aliases.json"
LOCKS: Final = ".locks"
DOWNLOADS: Final = ".downloads"
Models = list[StoredModel]
_MAX_MANIFEST: Final = 4 * 1024 * 1024


class ModelStore:
    """Everything is read from disk at each call, so several processes may share one store.

    Every write is atomic: a killed process leaves the state before it or after it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def path(self) -> Path:
        """The store's folder; it need not exist yet."""
        return self._root

    def list(self) -> Models:
        """Return every model that can be read, sorted by name.

        A damaged manifest is logged as a warning and its model left out.
        """
        models = []
        for folder in self._folders():
            try:
                models.append(self._read(folder))
            except ModelFailed as error:
                _warn(folder, error)
        return models

    def get(self, name_or_alias: str) -> StoredModel:
        """Return the model of that name, or the one that the alias points to.

        Raises:
            ModelNotFound: Nothing has that name; the hint says what there is.
            ModelFailed: Its manifest is damaged.
        """
        # No alias has a model's name, so a damaged file of aliases need not hide the models.
        if self._holds(name_or_alias):
            return self._read(self._root / name_or_alias)
        name = self.aliases().get(name_or_alias, name_or_alias)
        if not self._holds(name):
            raise self._not_found(name_or_alias, name)
        return self._read(self._root / name)

    def aliases(self) -> dict[str, str]:
        """Return alias → model name, sorted; an alias may point to a model that is not there.

        Raises:
            ModelFailed: The file of aliases is damaged.
        """
        path = self._root / ALIASES
        try:
            aliases = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFailed(
                f"The aliases in {path} cannot be read: {error}.",
                hint="Delete that file, then run `maloca models pull` for the default models.",
            ) from error
        return dict(sorted(aliases.items()))

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """Return the aliases that point to a model, sorted."""
        return tuple(alias for alias, target in self.aliases().items() if target == name)

    def set_alias(self, alias: str, name: str) -> None:
        """Point an alias to a model of the store.

        Raises:
            InvalidRequest: The alias is no valid name, or is a model's own name.
            ModelNotFound: No model has that name.
        """
        check_name(alias, what="alias")
        check_name(name)
        with self.lock("aliases"):
            if (self._root / alias).exists():
                raise InvalidRequest(
                    f"{alias!r} is a model's own name, so it cannot be an alias.",
                    code="bad_name",
                    hint="Choose another alias.",
                )
            if not self._holds(name):
                raise self._not_found(name, name)
            self._write_aliases(self.aliases() | {alias: name})

    def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a model's files; a link in the model's place is unlinked, never followed.

        Args:
            name: The model's own name; an alias is not accepted.
            force: Also drop the aliases that point to it.

        Raises:
            InvalidRequest: An alias points to it and `force` is not set, or `name` is an alias.
            ModelNotFound: No model has that name.
        """
        check_name(name)
        if name in (aliases := self.aliases()):
            raise InvalidRequest(
                f"{name!r} is an alias of {aliases[name]!r}; only a model can be removed.",
                code="is_alias",
                hint=f"Run `maloca models rm {aliases[name]}`.",
            )
        folder = self._root / name
        if not folder.is_dir() and not folder.is_symlink():
            raise self._not_found(name, name)
        with self.lock(name), self.lock("aliases"), staging_folder(self._root, name) as trash:
            if (used_by := self.aliases_of(name)) and not force:
                quoted = ", ".join(map(repr, used_by))
                raise InvalidRequest(
                    f"Model {name!r} is what {quoted} points to.",
                    code="model_in_use",
                    hint="Point it elsewhere first, or drop it too with `--force`.",
                )
            if used_by:
                self._write_aliases({a: n for a, n in self.aliases().items() if n != name})
            discard(folder, trash=trash)

    def install(self, content: Path, manifest: Manifest, *, trash: Path) -> StoredModel:
        """Put a finished folder into the store under its manifest's name, replacing what is there.

        Args:
            content: A staged folder that holds exactly the manifest's files.
            manifest: Written into the folder.
            trash: A staged folder for what is replaced; the caller deletes it.

        Raises:
            InvalidRequest: The name is not valid, or is an alias.
        """
        check_name(manifest.name)
        if (target := self.aliases().get(manifest.name)) is not None:
            raise InvalidRequest(
                f"{manifest.name!r} is an alias of {target!r}, so no model can have that name.",
                code="bad_name",
            )
        document = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        write_atomic(content / MANIFEST, document)
        folder = self._root / manifest.name
        publish(content, folder, trash=trash)
        return StoredModel(manifest, folder)

    def check(self, model: StoredModel, *, full: bool = False) -> None:
        """See that a model's files are whole: their sizes, and with `full` their SHA-256.

        Raises:
            ModelFailed: Names the first file that is missing, a link, or not what it was.
        """
        for file in model.manifest.files:
            path = model.folder / file.path
            try:
                found = path.lstat()
            except OSError:
                raise _damaged(model, f"{path} is missing") from None
            if not stat.S_ISREG(found.st_mode) or path.resolve() != model.folder.resolve() / (
                file.path
            ):
                raise _damaged(model, f"{path} is not a plain file inside the store")
            if found.st_size != file.size:
                raise _damaged(model, f"{path} has {found.st_size} bytes instead of {file.size}")
            if full and (digest := sha256_of(path)) != file.sha256:
                raise _damaged(model, f"{path} has SHA-256 {digest} instead of {file.sha256}")

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the store's lock of that name across processes; the death of one frees it."""
        from filelock import FileLock  # noqa: PLC0415 - reading a store needs no lock.

        with FileLock(self.lock_path(name)):
            yield

    def lock_path(self, name: str) -> Path:
        """Return the file behind a lock, in a folder that exists."""
        folder = self._root / LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        # A dot keeps the store's own locks apart from a model's, which has a valid name.
        return folder / (f".{name}.lock" if name == "aliases" else f"{name}.lock")

    def downloads(self) -> Path:
        """Return the folder of unfinished downloads, which exists afterwards."""
        folder = self._root / DOWNLOADS
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _folders(self) -> tuple[Path, ...]:
        """Return the folders that may be models, sorted; links are not followed."""
        if not self._root.is_dir():
            return ()
        return tuple(
            path
            for path in sorted(self._root.iterdir())
            if _is_valid(path.name) and path.is_dir() and not path.is_symlink()
        )

    def _holds(self, name: str) -> bool:
        """Whether a model's folder has that name."""
        folder = self._root / name
        return _is_valid(name) and not folder.is_symlink() and (folder / MANIFEST).is_file()

    def _read(self, folder: Path) -> StoredModel:
        """Return the model in that folder, or raise ModelFailed naming its manifest."""
        path = folder / MANIFEST
        try:
            if path.stat().st_size > _MAX_MANIFEST:
                raise ValueError(f"it is over {_MAX_MANIFEST} bytes")  # noqa: TRY301
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
            _check_manifest(manifest, folder.name)
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFailed(
                f"The manifest {path} cannot be used: {error}.",
                hint=f"Run `maloca models pull {folder.name}` to install the model again.",
            ) from error
        return StoredModel(manifest, folder)

    def _write_aliases(self, aliases: dict[str, str]) -> None:
        """Replace the file of aliases."""
        document = msgspec.json.encode(dict(sorted(aliases.items())))
        write_atomic(self._root / ALIASES, msgspec.json.format(document, indent=2))

    def _not_found(self, asked: str, name: str) -> ModelNotFound:
        """Return an error that says what there is, and how to get what is not."""
        from maloca.engine.store.catalogue import catalogue  # noqa: PLC0415 - only on this path.

        present = ", ".join([*self.aliases(), *(path.name for path in self._folders())])
        fetch = name if name in catalogue() else "NAME"
        said = f"{asked[:100]!r}" if asked == name else f"{name!r}, which {asked!r} points to,"
        return ModelNotFound(
            f"Model {said} is not in the store {self._root}.",
            hint=f"There is: {present or 'nothing yet'}. Run `maloca models pull {fetch}` "
            f"to fetch one (NAME: {', '.join(catalogue())}).",
        )


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_valid(name: str) -> bool:
    """Whether `check_name` accepts it."""
    try:
        check_name(name)
    except InvalidRequest:
        return False
    return True


def _check_manifest(manifest: Manifest, folder_name: str) -> None:
    """Raise ValueError when a manifest contradicts itself or names files outside its folder."""
    if manifest.name != folder_name:
        raise ValueError(f"it is of {manifest.name!r}, but lies in {folder_name!r}")
    paths = [file.path for file in manifest.files]
    if bad := [path for path in paths if not safe_relative(path)]:
        raise ValueError(f"it names the file {bad[0]!r}, outside the model's folder")
    if manifest.weights not in paths:
        raise ValueError(f"its weights {manifest.weights!r} are not among its files")
    if manifest.context_length < 1:
        raise ValueError(f"its context length is {manifest.context_length}")


def _damaged(model: StoredModel, what: str) -> ModelFailed:
    """Return the error for a model that is not whole."""
    return ModelFailed(
        f"Model {model.name!r} is damaged: {what}.",
        hint=f"Run `maloca models pull {model.name}` to fetch it again.",
    )


def _warn(folder: Path, error: ModelFailed) -> None:
    """Log that a model was left out."""
    import structlog  # noqa: PLC0415 - keeps the command line's start short.

    structlog.get_logger(__name__).warning(
        "model left out", folder=str(folder), reason=error.info.message
    )
