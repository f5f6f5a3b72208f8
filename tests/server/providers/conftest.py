from __future__ import annotations

from tests.faults.conftest import (
    anthropic_at,
    openai_at,
    served_anthropic,
    served_openai,
)

__all__ = ["anthropic_at", "openai_at", "served_anthropic", "served_openai"]
