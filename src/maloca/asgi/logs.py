"""One form for every log line of a service: structlog's and the standard library's alike."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

import structlog

_SHARED: Final[tuple[Any, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
)


def configure(level: str = "info") -> None:
    """Send all logging to stderr, one line an event; colours on a terminal only.

    Args:
        level: "debug", "info", "warning" or "error".
    """
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
        pad_event_to=0,
        # The default prints local variables, where secrets and users' texts are.
        exception_formatter=structlog.dev.plain_traceback,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # These speak of every connection and request, which our own events and metrics already do; the
    # last one shows every statement with its values.
    for noisy in ("uvicorn.error", "httpx", "httpcore", "asyncio", "aiosqlite", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
