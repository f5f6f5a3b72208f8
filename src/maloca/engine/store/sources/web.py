"""Fetching over HTTP as pip would: its certificates, its proxy, credentials kept out of sight."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from maloca import __version__
from maloca.engine.store.sources.pip_config import PipConfig

if TYPE_CHECKING:
    import httpx

_TIMEOUT: Final = 60.0
_CONNECT_TIMEOUT: Final = 15.0


class FetchFailed(Exception):
    """A URL could not be fetched.

    Attributes:
        transient: Whether trying again may help.
    """

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.transient = transient


def redact(url: str) -> str:
    """Return a URL that may be shown: without its user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=_host(parts)).geturl() if "@" in parts.netloc else url


def with_credentials(url: str, of: str) -> str:
    """Return a URL with the credentials of another one on the same host, as pip shares them."""
    parts, other = urlsplit(url), urlsplit(of)
    if "@" in parts.netloc or "@" not in other.netloc or _origin(parts) != _origin(other):
        return url
    return parts._replace(netloc=other.netloc).geturl()


class Web:
    """HTTP clients in one configuration, closed together."""

    def __init__(self, config: PipConfig) -> None:
        self._config = config
        self._clients: dict[bool, httpx.Client] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Return itself; connections are opened when first needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._stack.close()

    @contextmanager
    def get(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Yield a response whose body has not been read; redirects are followed.

        Raises:
            FetchFailed: No answer came, or it broke off while the caller read it.
        """
        import httpx  # noqa: PLC0415 - 60 ms that only a download should pay.

        parts = urlsplit(url)
        auth = (
            httpx.BasicAuth(unquote(parts.username or ""), unquote(parts.password or ""))
            if "@" in parts.netloc
            else None
        )
        client = self._client(trusted=self._is_trusted(parts))
        try:
            # The URL goes without credentials, since httpx writes it to the log.
            with client.stream("GET", redact(url), headers=headers, auth=auth) as response:
                yield response
        except httpx.TransportError as error:
            transient = not isinstance(error, httpx.UnsupportedProtocol)
            raise FetchFailed(_reason(error), transient=transient) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(_reason(error)) from error

    def _client(self, *, trusted: bool) -> httpx.Client:
        """Return the client for hosts whose certificates are checked, or for those excepted."""
        import httpx  # noqa: PLC0415

        if trusted not in self._clients:
            try:
                client = httpx.Client(
                    verify=_tls(self._config, trusted=trusted),
                    proxy=self._config.proxy,
                    timeout=httpx.Timeout(_TIMEOUT, connect=_CONNECT_TIMEOUT),
                    follow_redirects=True,
                    headers={"User-Agent": f"maloca/{__version__}"},
                )
            except (OSError, ValueError) as error:
                raise FetchFailed(
                    f"pip's cert, client-cert or proxy cannot be used: {error}"
                ) from error
            self._clients[trusted] = self._stack.enter_context(client)
        return self._clients[trusted]

    def _is_trusted(self, parts: SplitResult) -> bool:
        """Whether pip's `trusted-host` names this host, with or without its port."""
        return not {parts.hostname, _host(parts)}.isdisjoint(self._config.trusted_hosts)


def _tls(config: PipConfig, *, trusted: bool) -> ssl.SSLContext:
    """Return the TLS settings that pip would use: its `cert`, else the system's authorities."""
    context: ssl.SSLContext
    if trusted:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # pip's `trusted-host`; the digest is still checked.
    elif config.cert:
        context = ssl.create_default_context(cafile=config.cert)
    else:
        import truststore  # noqa: PLC0415

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if config.client_cert:
        context.load_cert_chain(config.client_cert)
    return context


def _host(parts: SplitResult) -> str:
    """Return `host` or `host:port`, without credentials."""
    return parts.netloc.rpartition("@")[2]


def _origin(parts: SplitResult) -> tuple[str, str]:
    return parts.scheme, _host(parts)


def _reason(error: Exception) -> str:
    """Say why there was no answer; some errors of the library have no text."""
    return str(error) or type(error).__name__
