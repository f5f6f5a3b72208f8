"""Moving windows in Redis, which all workers and replicas share."""

from __future__ import annotations

from typing import Any, Final

from limits.aio.storage import RedisStorage

from maloca.core.settings import BadSetting

_PATIENCE_SECONDS: Final = 0.25


def connect(url: str) -> Any:
    """Return a pool of connections, which connects when first used; disconnect it at the end.

    Raises:
        BadSetting: The URL cannot be used, or the Redis client, an extra, is not installed.
    """
    try:
        from redis.asyncio import ConnectionPool  # noqa: PLC0415 - an optional dependency

        return ConnectionPool.from_url(
            url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS
        )
    except ImportError:
        raise BadSetting(
            "MALOCA_REDIS_URL is set, and the Redis client is missing: pip install maloca[redis]."
        ) from None
    except ValueError as error:
        raise BadSetting(f"MALOCA_REDIS_URL cannot be used: {error}.") from None


def shared_windows(pool: Any) -> RedisStorage:
    """Return a storage of the `limits` package; it raises StorageError while Redis is gone."""
    # The package's own default is another client, which is none of our dependencies.
    return RedisStorage(
        "async+redis://", implementation="redispy", wrap_exceptions=True, connection_pool=pool
    )
