"""Who decides whether a conversation may leave the house: the strictest of all who have a say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maloca.core.completer import Privacy


def strictest(wishes: Iterable[Privacy | None]) -> Privacy:
    """Return the strictest of several wishes; a wish that nobody made counts as the strictest."""
    given = list(wishes)
    allowed = bool(given) and all(wish == "cloud-allowed" for wish in given)
    return "cloud-allowed" if allowed else "local-only"


@dataclass(frozen=True, slots=True)
class Egress:
    """The owner's decision; off unless it was turned on, whatever keys there are."""

    allowed: bool = False

    def refuses(self, *, local: bool, privacy: Privacy | None) -> str | None:
        """Return why a provider may not be asked, or None if it may."""
        if local:
            return None
        if not self.allowed:
            return "egress_off"
        return None if strictest([privacy]) == "cloud-allowed" else "local_only"
