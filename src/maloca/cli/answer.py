"""An answer as it arrives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from maloca.core.completer import Completer, CompletionRequest
from maloca.core.errors import Unavailable
from maloca.core.events import Cancelled, Delta, Done, Failed, Started, Usage


@dataclass
class Answer:
    """What has come so far; `done` and `usage` stay None in an answer that was stopped."""

    model: str = ""
    parts: list[str] = field(default_factory=list)
    usage: Usage | None = None
    done: Done | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)

    async def stream(
        self, completer: Completer, request: CompletionRequest, write: Callable[[str], None]
    ) -> None:
        """Fill the answer and hand on each piece. Cancelling the task stops the generation.

        Raises:
            MalocaError: The request was refused, or its generation failed.
        """
        async with aclosing(completer.complete(request)) as events:
            async for event in events:
                match event:
                    case Started(model=model):
                        self.model = model
                    case Delta(text):
                        self.parts.append(text)
                        write(text)
                    case Usage():
                        self.usage = event
                    case Done():
                        self.done = event
                    case Cancelled(reason):
                        raise Unavailable(f"The answer was stopped: {reason}.", code="cancelled")
                    case Failed(error):
                        raise error.to_exception()
