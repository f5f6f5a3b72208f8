"""The models on disk: a folder for each, with a manifest, and aliases that point to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from maloca.core.errors import InvalidRequest, ModelFailed, ModelNotFound
from maloca.engine.store.atomic import discard, disk_errors, publish, staging_folder, write_atomic
from maloca.engine.store.integrity import check_files, read_model
from maloca.engine.store.manifest import MANIFEST, Manifest, StoredModel
from maloca.engine.store.names import check_name

ALIASES: Final = ".aliases.json"
LOCKS: Final = ".locks"
DOWNLOADS: Final = ".downloads"
Models = list[StoredModel]


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
                models.append(read_model(folder))
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
            return read_model(self._root / name_or_alias)
        name = self.aliases().get(name_or_alias, name_or_alias)
        if not self._holds(name):
            raise self._not_found(name_or_alias, name)
        return read_model(self._root / name)

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
            Unavailable: The store cannot be written.
        """
        check_name(alias, what="alias")
        check_name(name)
        with disk_errors(self._root), self._alias_lock():
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
            Unavailable: The store cannot be written.
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
        with (
            disk_errors(self._root),
            self.lock(name),
            self._alias_lock(),
            staging_folder(self._root, name) as trash,
        ):
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
        check_files(model, full=full)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a model's lock across processes; the death of one frees it."""
        with _locked(self.lock_path(name)):
            yield

    def lock_path(self, name: str) -> Path:
        """Return the file behind a model's lock, in a folder that exists.

        Raises:
            InvalidRequest: The name is not valid.
        """
        check_name(name)
        return self._locks() / f"{name}.lock"

    def downloads(self) -> Path:
        """Return the folder of unfinished downloads, which exists afterwards."""
        folder = self._root / DOWNLOADS
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _alias_lock(self) -> AbstractContextManager[None]:
        """Return the lock of the aliases; no model's name begins with a dot."""
        return _locked(self._locks() / ".aliases.lock")

    def _locks(self) -> Path:
        folder = self._root / LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _folders(self) -> tuple[Path, ...]:
        """Return the folders that may be models, sorted; links are not followed."""
        with disk_errors(self._root):
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
        with disk_errors(self._root):
            return _is_valid(name) and not folder.is_symlink() and (folder / MANIFEST).is_file()

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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock  # noqa: PLC0415 - reading a store needs no lock.

    with FileLock(path):
        yield


def _is_valid(name: str) -> bool:
    """Whether `check_name` accepts it."""
    try:
        check_name(name)
    except InvalidRequest:
        return False
    return True


def _warn(folder: Path, error: ModelFailed) -> None:
    """Log that a model was left out."""
    import structlog  # noqa: PLC0415 - keeps the command line's start short.

    structlog.get_logger(__name__).warning(
        "model left out", folder=str(folder), reason=error.info.message
    )
