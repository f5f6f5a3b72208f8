"""Accounts over HTTP."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from maloca.dialects.fields import Strict, Text
from maloca.server.accounts.api_keys import NewKey
from maloca.server.accounts.invitations import NewInvitation
from maloca.server.accounts.models import ApiKey, AuditEvent, Invitation, LoginSession, User
from maloca.server.accounts.principal import Principal, Role, Scope
from maloca.server.accounts.sessions import Tokens

_MAX_GIVEN: Final = 4096

# What is wrong with them, the rules say; here they only have an end.
Username = Annotated[Text, Field(min_length=1, max_length=200)]
Password = Annotated[Text, Field(min_length=1, max_length=_MAX_GIVEN)]
Secret = Annotated[Text, Field(min_length=1, max_length=200)]
StoredRole = Literal["owner", "admin", "user"]
KeyScopes = Annotated[list[Scope], Field(min_length=1, max_length=3)]


def _inference() -> list[Scope]:
    return ["inference"]


class _Hidden(Strict):
    """A body with a secret in it, which shows itself nowhere."""

    def __repr__(self) -> str:
        """Show the name of the class alone."""
        return f"{type(self).__name__}(…)"

    __str__ = __repr__


class RegisterRequest(_Hidden):
    """A new account."""

    username: Username
    password: Password
    invitation: Secret | None = None


class SetupRequest(_Hidden):
    """The owner's account, by the link that the terminal showed."""

    token: Secret
    username: Username
    password: Password


class LoginForm(BaseModel):
    """OAuth 2's password form (RFC 6749, 4.3.2); other fields of it are not used."""

    grant_type: Literal["password"] | None = None
    username: Username
    password: Password

    __repr__ = _Hidden.__repr__
    __str__ = _Hidden.__repr__


class BrowserLoginRequest(_Hidden):
    """A browser that signs in."""

    username: Username
    password: Password


class RefreshRequest(_Hidden):
    """A refresh token, to be used up."""

    refresh_token: Secret


class PasswordChange(_Hidden):
    """The password as it is, and as it shall be."""

    current_password: Password
    new_password: Password


class PasswordConfirmation(_Hidden):
    """The password, once more."""

    password: Password


class KeyCreate(Strict):
    """A new API key; without an end it lasts until it is revoked."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    scopes: KeyScopes = Field(default_factory=_inference)
    expires_in_days: Annotated[float, Field(gt=0, le=3660)] | None = None


class InvitationCreate(Strict):
    """A new invitation."""

    role: Literal["admin", "user"] = "user"
    expires_in_days: Annotated[float, Field(gt=0, le=90)] = 7


class UserUpdate(Strict):
    """What an administrator changes of an account; what is left out stays."""

    disabled: bool | None = None
    role: StoredRole | None = None


class TokensRead(BaseModel):
    """What a program gets when it signs in: OAuth 2's answer (RFC 6749, 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - OAuth 2's name of a kind
    expires_in: int = Field(description="Seconds until the access token ends.")
    refresh_token: str

    @classmethod
    def of(cls, tokens: Tokens, *, seconds: int) -> Self:
        """Return the answer."""
        return cls(access_token=tokens.access, expires_in=seconds, refresh_token=tokens.refresh)


class _Read(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class UserRead(_Read):
    """An account."""

    id: str
    username: str
    role: Role
    created_at: dt.datetime
    last_login_at: dt.datetime | None
    disabled_at: dt.datetime | None

    @classmethod
    def of(cls, user: User) -> Self:
        """Return an account as it is shown."""
        return cls.model_validate(user)


class MeRead(UserRead):
    """One's own account, and what the credential in use allows."""

    scopes: list[Scope]

    @classmethod
    def of_principal(cls, user: User, principal: Principal) -> Self:
        """Return the account of whoever asks."""
        shown = UserRead.of(user).model_dump()
        return cls(**shown, scopes=sorted(principal.scopes))


class SessionRead(_Read):
    """A sign-in that still lasts."""

    id: str
    kind: Literal["browser", "program"]
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    address: str
    user_agent: str
    current: bool

    @classmethod
    def of(cls, session: LoginSession, *, current: str | None) -> Self:
        """Return a session as its owner sees it."""
        return cls(
            id=session.id,
            kind="browser" if session.secret_hash else "program",
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            address=session.address,
            user_agent=session.user_agent,
            current=session.id == current,
        )


class KeyRead(_Read):
    """An API key, without the key."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Return a key as its owner sees it."""
        return cls(**_fields_of(key))


class KeyCreated(KeyRead):
    """A new API key, at the only moment at which it is shown."""

    key: str

    @classmethod
    def of_new(cls, new: NewKey) -> Self:
        """Return a new key."""
        return cls(**_fields_of(new.record), key=new.secret)


class InvitationRead(_Read):
    """An invitation, without its token."""

    id: str
    role: Role
    created_at: dt.datetime
    expires_at: dt.datetime

    @classmethod
    def of(cls, invitation: Invitation) -> Self:
        """Return an invitation."""
        return cls.model_validate(invitation)


class InvitationCreated(InvitationRead):
    """A new invitation, at the only moment at which its token is shown."""

    token: str

    @classmethod
    def of_new(cls, new: NewInvitation) -> Self:
        """Return a new invitation."""
        return cls(**InvitationRead.of(new.record).model_dump(), token=new.token)


class PasswordReset(BaseModel):
    """A generated password, to be handed over and changed."""

    password: str


class AuditRead(_Read):
    """A security event."""

    id: int
    at: dt.datetime
    action: str
    actor: str
    target: str
    address: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Return an event."""
        return cls.model_validate(event)


class Revoked(BaseModel):
    """How many were revoked."""

    revoked: int


def _fields_of(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes.split(),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
    }
