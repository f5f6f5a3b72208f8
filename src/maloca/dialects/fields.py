"""Request fields that every dialect checks the same way."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maloca.core.sampling import MAX_SEED, MAX_STOP_STRINGS

MAX_NEW_TOKENS_LIMIT: Final = 1_000_000
MAX_STOP_LENGTH: Final = 256
MAX_TEXTS: Final = 2048


class Strict(BaseModel):
    """A request body: no conversions, no unknown fields, no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def no_nul(text: str) -> str:
    """Refuse NUL, which ends a text for the native libraries below."""
    if "\0" in text:
        raise ValueError("a text must not contain NUL characters")
    return text


def _as_stops(value: str | list[str] | None) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if len(stops) > MAX_STOP_STRINGS:
        raise ValueError(f"at most {MAX_STOP_STRINGS} stop strings are possible")
    if any(not stop or len(stop) > MAX_STOP_LENGTH for stop in stops):
        raise ValueError(f"a stop string has 1 to {MAX_STOP_LENGTH} characters")
    return tuple(stops)


Text = Annotated[str, AfterValidator(no_nul)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
NewTokens = Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS_LIMIT)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Seed = Annotated[int, Field(ge=-(2**63), le=MAX_SEED), AfterValidator(lambda seed: seed & MAX_SEED)]
Stops = Annotated[str | list[Text] | None, AfterValidator(_as_stops)]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for OpenAPI."""
    return {status: {"model": ErrorBody, "description": _REASONS[status]} for status in statuses}


class ErrorDetail(BaseModel):
    """What went wrong, and the way out."""

    message: str
    type: str
    code: str
    param: str | None = None
    hint: str | None = None


class ErrorBody(BaseModel):
    """The shape of every error."""

    error: ErrorDetail


_REASONS: Final = {
    400: "The request can never work as it is.",
    401: "The token is missing or wrong.",
    403: "The Host or Origin is not accepted.",
    404: "There is nothing of that name or id.",
    409: "What exists already stands in the way.",
    413: "The body is too large.",
    422: "The request can never work as it is.",
    429: "The queue is full; Retry-After says when to come back.",
    500: "The model failed.",
    503: "Not ready, or the model worker crashed.",
    504: "The time allowed ran out.",
}
