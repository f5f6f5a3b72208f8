"""Every table of the server; importing this makes `Base.metadata` whole."""

from __future__ import annotations

from maloca.server.accounts import models as accounts
from maloca.server.db.base import Base
from maloca.server.inference.cache import models as answers
from maloca.server.jobs import models as jobs
from maloca.server.limits import models as limits
from maloca.server.providers import models as providers
from maloca.server.usage import models as usage

__all__ = ["Base", "accounts", "answers", "jobs", "limits", "providers", "usage"]
