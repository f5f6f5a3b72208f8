"""Where the engine is: what the environment says, else what runs on this machine."""

from __future__ import annotations

from maloca.asgi import records
from maloca.client.engine import EngineClient
from maloca.core.errors import Unavailable
from maloca.server.settings import ServerSettings


def engine_client() -> EngineClient:
    """Return a client of MALOCA_ENGINE_URL if it is set, else of the running engine.

    Raises:
        Unavailable: None runs here.
        BadSetting: MALOCA_ENGINE_URL or MALOCA_ENGINE_TOKEN cannot be used.
    """
    settings = ServerSettings.load()
    token = settings.engine_token.get_secret_value() if settings.engine_token else None
    if "engine_url" in settings.model_fields_set:
        return EngineClient(str(settings.engine_url), token=token)
    record = records.find("engine")
    if record is None:
        raise Unavailable(
            "No engine runs on this machine.",
            code="engine_not_running",
            hint="Start it with `maloca up`, or set MALOCA_ENGINE_URL to one elsewhere.",
        )
    return EngineClient(record.url, token=token)
