"""Every table of the server; importing this makes `Base.metadata` whole."""

from __future__ import annotations

from maloca.server.accounts import models as accounts
from maloca.server.db.base import Base
from maloca.server.jobs import models as jobs
from maloca.server.providers import models as providers

__all__ = ["Base", "accounts", "jobs", "providers"]
