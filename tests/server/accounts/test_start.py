"""What must be set before the server starts, and the secret that it keeps."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection
from tests.asgi.drive import scope_of
from tests.server.accounts.conftest import SECRET, NewHouse

from maloca.core.settings import BadSetting
from maloca.server.accounts import signing_key, start
from maloca.server.accounts.address import client_address
from maloca.server.settings import ServerSettings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the setting under test


class TestProduction:
    def test_what_is_missing_or_unsafe_is_named(self) -> None:
        with pytest.raises(BadSetting) as refused:
            ServerSettings.load(
                environment="production",
                cors_origins=["*"],
                allowed_hosts=["*"],
                cookie_secure=False,
            )
        for name in ("SECRET_KEY", "CORS_ORIGINS", "ALLOWED_HOSTS", "COOKIE_SECURE"):
            assert f"MALOCA_{name}" in str(refused.value)

    def test_it_starts_when_all_is_safe(self) -> None:
        settings = ServerSettings.load(environment="production", secret_key=SECRET)
        assert settings.secure_cookies is True
        assert settings.who_may_register == "closed"
        assert SECRET not in repr(settings)

    def test_names_of_earlier_deployments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENVIRONMENT", "production")
        monkeypatch.setenv("SECRET_KEY", SECRET)
        monkeypatch.setenv("CORS_ORIGINS", "https://a.example, https://b.example")
        settings = ServerSettings.load()
        assert settings.is_production
        assert settings.cors_origins == ["https://a.example", "https://b.example"]
        monkeypatch.setenv("MALOCA_ENVIRONMENT", "development")
        assert not ServerSettings.load().is_production

    def test_a_short_secret_is_refused_and_not_shown(self) -> None:
        with pytest.raises(BadSetting, match="at least 32 characters") as refused:
            ServerSettings.load(secret_key="too-short-to-be-one")  # noqa: S106 - not a real one
        assert "too-short-to-be-one" not in str(refused.value)

    def test_a_proxy_is_an_address(self) -> None:
        with pytest.raises(BadSetting, match=r"10\.0\.0\.0/8"):
            ServerSettings.load(trusted_proxies=["nginx"])


class TestExposure:
    async def test_without_an_owner_the_server_stays_here(self, new_house: NewHouse) -> None:
        house = await new_house()
        url = house.database.url.render_as_string(hide_password=False)
        here = ServerSettings.load(database_url=url)
        beyond = ServerSettings.load(database_url=url, host=EVERYWHERE)
        await start.check_exposure(here)
        with pytest.raises(BadSetting, match="nobody owns this house yet"):
            await start.check_exposure(beyond)


class TestSecret:
    def test_it_is_made_once_and_its_owners_alone(self, tmp_path: Path) -> None:
        made = signing_key.load_or_create(tmp_path / "home")
        assert signing_key.load_or_create(tmp_path / "home") == made
        (file,) = (tmp_path / "home").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(made) == 64

    def test_several_first_starts_agree(self, tmp_path: Path) -> None:
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            made = pool.map(signing_key.load_or_create, [tmp_path / "home"] * 8)
        assert len(set(made)) == 1
        assert len(list((tmp_path / "home").iterdir())) == 1

    def test_a_damaged_one_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "secret_key").write_text("short", encoding="ascii")
        with pytest.raises(BadSetting, match="secret_key is damaged"):
            signing_key.load_or_create(tmp_path)

    def test_a_file_system_without_links(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError("no links here")

        monkeypatch.setattr("maloca.server.accounts.signing_key.os.link", refuse)
        made = signing_key.load_or_create(tmp_path)
        assert signing_key.load_or_create(tmp_path) == made
        assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "found"),
    [
        ("192.0.2.1", [], [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.5"], [], "192.0.2.1"),
        ("10.0.0.7", ["203.0.113.5"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.7", ["1.1.1.1, 203.0.113.5"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.7", ["203.0.113.5, 10.0.0.8"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.7", ["203.0.113.5", "10.0.0.8"], ["10.0.0.0/8"], "203.0.113.5"),
        ("10.0.0.7", ["nonsense"], ["10.0.0.0/8"], "10.0.0.7"),
        ("10.0.0.7", [], ["10.0.0.0/8"], "10.0.0.7"),
        ("::ffff:192.0.2.1", [], [], "192.0.2.1"),
        ("::1", ["2001:db8::1"], ["::1"], "2001:db8::1"),
        ("testclient", [], [], "unknown"),
    ],
)
def test_a_client_is_where_trusted_proxies_say(
    peer: str, forwarded: list[str], trusted: list[str], found: str
) -> None:
    headers = [("x-forwarded-for", value) for value in forwarded]
    connection = HTTPConnection(scope_of(headers=headers, client=(peer, 1)))
    assert client_address(connection, trusted) == found
