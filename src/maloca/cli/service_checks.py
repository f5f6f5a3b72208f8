"""Checks of Maloca's own settings, models, ports and services."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import httpx

from maloca import __version__
from maloca.asgi import records
from maloca.asgi.listening import CannotListen, PortTaken, listen
from maloca.cli import console, readiness
from maloca.cli.check import Check, bad, ok
from maloca.core.errors import ModelFailed, ModelNotFound
from maloca.core.home import home, models_dir
from maloca.core.settings import BadSetting
from maloca.engine.settings import EngineSettings
from maloca.engine.store.catalogue import Entry, catalogue
from maloca.engine.store.store import ModelStore
from maloca.server.settings import ServerSettings

_SERVICES: Final = ("engine", "server")


def service_checks() -> Iterator[Check]:
    """Yield every check, each when it is done."""
    problems = list(bad_settings())
    yield from problems or [ok("settings", "settings")]
    for entry in catalogue().values():
        if entry.alias:
            yield model(ModelStore(models_dir()), entry, entry.alias)
    if not problems:
        server, engine = ServerSettings.load(), EngineSettings.load()
        yield port("server", server.host, server.port, "--port")
        yield port("engine", engine.host, engine.port, "--engine-port")
    for name in _SERVICES:
        yield asyncio.run(service(name))


def bad_settings() -> Iterator[Check]:
    """Yield one failed check for each setting that cannot be used."""
    for settings in (ServerSettings, EngineSettings):
        try:
            settings.load()
        except BadSetting as error:
            for line in str(error).splitlines():
                found = bad("fail", "settings", "settings", "settings.fix")
                yield Check(found.name, found.status, line, found.fix)


def model(store: ModelStore, entry: Entry, alias: str) -> Check:
    """See that an alias points to a model whose files are there with their sizes."""
    name = f"model:{alias}"
    try:
        found = store.get(alias)
        store.check(found)
    except ModelNotFound:
        key = "model.missing"
        return bad("warn", name, key, f"{key}.fix", alias=alias, name=entry.name)
    except ModelFailed as failure:
        return Check(name, "fail", failure.info.message, failure.info.hint)
    size = console.size(found.size)
    return ok(name, "model", alias=alias, name=found.name, size=size)


def port(service_name: str, host: str, number: int, option: str) -> Check:
    """See that the service could listen on its port, or does."""
    name = f"port:{service_name}"
    record = records.find(service_name)
    if record and record.url == records.url_of(host, number):
        return ok(name, "port.ours", port=number, who=f"maloca {service_name} (pid {record.pid})")
    try:
        listen(host, number, option=option).close()
    except (PortTaken, CannotListen) as failure:
        return Check(name, "fail", failure.info.message, failure.info.hint)
    return ok(name, "port.free", port=number)


async def service(name: str) -> Check:
    """See whether a service runs, is of this version, and answers."""
    key = f"service:{name}"
    record = records.find(name)
    if record is None:
        return ok(key, "service.stopped")
    values: dict[str, Any] = {
        "url": record.url,
        "pid": record.pid,
        "theirs": record.version,
        "ours": __version__,
        "log": home() / "logs" / f"{name}.log",
    }
    if record.version != __version__:
        return bad("warn", key, "service.version", "service.version.fix", **values)
    async with readiness.client() as http:
        try:
            answer = await http.get(f"{record.url}/health")
            answer.raise_for_status()
            status = str(answer.json()["status"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            reason = str(error) or type(error).__name__
            values["reason"] = reason
            return bad("fail", key, "service.silent", "service.silent.fix", **values)
    return ok(key, "service.healthy", status=status, **values)
