"""One tree of errors; each knows its HTTP status and the way out.

MalocaError
├── InvalidRequest            422  the caller sent something that can never work
│   ├── ContextLengthExceeded 422  the prompt does not fit the model
│   ├── EmptyInput            400  there is nothing to work on
│   ├── Unsupported           422  the model or runtime cannot do what was asked
│   └── BodyTooLarge          413
├── Forbidden                 403  Host, Origin or token refused
├── NotFound                  404
│   └── ModelNotFound         404
├── Overloaded                429  the queue is full; carries Retry-After
├── ModelFailed               500  the model file cannot be loaded
├── WorkerCrashed             503  the model worker ended while it served the request
├── Unavailable               503  not ready yet, shutting down, or the engine is down
└── BudgetExceeded            504  the caller's time ran out
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it travels: over the wire, and inside a terminal `Failed` event.

    Attributes:
        message: What happened, naming the value at fault.
        type: The family a client library maps to an exception class.
        code: A stable identifier to branch on.
        status: The HTTP status that this error has before a response has begun.
        param: The request field at fault, if one is.
        hint: The way out, in a sentence.
        retry_after: Seconds after which the same request may succeed.
    """

    message: str
    type: str = "server_error"
    code: str = "internal_error"
    status: int = 500
    param: str | None = None
    hint: str | None = None
    retry_after: float | None = None

    def to_exception(self) -> MalocaError:
        """Return an exception that carries exactly this error."""
        error = MalocaError(self.message)
        error.info = self
        return error


class MalocaError(Exception):
    """Base of every error that a user may see."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    info: ErrorInfo

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.info = ErrorInfo(
            message=message,
            type=self.type,
            code=code or self.code,
            status=self.status,
            param=param,
            hint=hint,
            retry_after=retry_after,
        )


class InvalidRequest(MalocaError):
    """The request can never work as it is."""

    status = 422
    code = "invalid_request"
    type = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    """The prompt does not fit the model's context; nothing was cut."""

    code = "context_length_exceeded"


class EmptyInput(InvalidRequest):
    """There is nothing to work on."""

    status = 400
    code = "empty_input"


class Unsupported(InvalidRequest):
    """The model or its runtime cannot do what was asked."""

    code = "unsupported"


class BodyTooLarge(InvalidRequest):
    """The request body is over the limit."""

    status = 413
    code = "body_too_large"


class Forbidden(MalocaError):
    """The Host, Origin or token is not accepted."""

    status = 403
    code = "forbidden"
    type = "permission_error"


class NotFound(MalocaError):
    """Nothing is there under that name."""

    status = 404
    code = "not_found"
    type = "not_found_error"


class ModelNotFound(NotFound):
    """No model or alias has that name."""

    code = "model_not_found"


class Overloaded(MalocaError):
    """The queue is full; the same request may succeed after `retry_after` seconds."""

    status = 429
    code = "overloaded"
    type = "rate_limit_error"


class ModelFailed(MalocaError):
    """A model's files are damaged or its runtime refuses them."""

    code = "model_failed"


class WorkerCrashed(MalocaError):
    """The model worker ended while it served the request; it restarts by itself."""

    status = 503
    code = "worker_crashed"


class Unavailable(MalocaError):
    """The service cannot take requests at this moment."""

    status = 503
    code = "unavailable"


class BudgetExceeded(MalocaError):
    """The time that the caller allowed ran out."""

    status = 504
    code = "budget_exceeded"
    type = "timeout_error"
