"""Why an account, a credential or a change of one is refused."""

from __future__ import annotations

from maloca.core.errors import Forbidden, MalocaError


class Unauthenticated(MalocaError):
    """No credential, or none that is worth anything."""

    status = 401
    code = "unauthenticated"
    type = "authentication_error"


class InvalidCredentials(Unauthenticated):
    """The name or the password is wrong; which of them, nobody learns."""

    code = "invalid_credentials"


class AccountDisabled(Forbidden):
    """An administrator has disabled the account."""

    code = "account_disabled"


class InsufficientScope(Forbidden):
    """The credential is good, and not for this."""

    code = "insufficient_scope"


class CrossSiteRequest(Forbidden):
    """A cookie came with a request that may be another site's."""

    code = "cross_site_request"


class Conflict(MalocaError):
    """What exists already stands in the way."""

    status = 409
    code = "conflict"
    type = "invalid_request_error"


class TooManyAttempts(MalocaError):
    """Passwords are being guessed; `retry_after` seconds from now one more may be tried."""

    status = 429
    code = "too_many_attempts"
    type = "rate_limit_error"
