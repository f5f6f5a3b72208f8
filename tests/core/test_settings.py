from __future__ import annotations

from pathlib import Path

import pytest

from maloca.core.settings import BadSetting, Settings, is_loopback
from maloca.engine.settings import EngineSettings
from maloca.server.settings import ServerSettings

SECRET = "a-secret-of-some-length"  # noqa: S105 - made up


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("settings", "variable", "value", "accepted"),
    [
        (EngineSettings, "MALOCA_ENGINE_PORT", "70000", "65535"),
        (EngineSettings, "MALOCA_ENGINE_PORT", "http", "integer"),
        (EngineSettings, "MALOCA_ENGINE_QUEUE_LIMIT", "0", "greater than or equal to 1"),
        (EngineSettings, "MALOCA_ENGINE_PRELOAD", "maybe", "boolean"),
        (EngineSettings, "MALOCA_ENGINE_STEP_TIMEOUT", "-1", "greater than 0"),
        (EngineSettings, "MALOCA_ENGINE_REQUEST_TIMEOUT", "inf", "finite"),
        (EngineSettings, "MALOCA_ENGINE_LOAD_TIMEOUT", "nan", "finite"),
        (EngineSettings, "MALOCA_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        (ServerSettings, "MALOCA_MAX_BODY_BYTES", "10", "1024"),
        (ServerSettings, "MALOCA_PORT", "-1", "greater than or equal to 0"),
        (ServerSettings, "MALOCA_ENGINE_URL", "ftp://here", "http"),
    ],
)
def test_a_bad_value_names_variable_value_and_accepted_form(
    monkeypatch: pytest.MonkeyPatch,
    settings: type[Settings],
    variable: str,
    value: str,
    accepted: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSetting) as caught:
        settings.load()
    said = str(caught.value)
    assert said.startswith(f"{variable}={value!r} cannot be used: ")
    assert accepted in said


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_ENGINE_PORT", "x")
    monkeypatch.setenv("MALOCA_LOG_LEVEL", "y")
    with pytest.raises(BadSetting) as caught:
        EngineSettings.load()
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "MALOCA_LOG_LEVEL",
        "MALOCA_ENGINE_PORT",
    ]


@pytest.mark.parametrize(
    ("settings", "variable", "value", "secret"),
    [
        (EngineSettings, "MALOCA_ENGINE_TOKEN", "tooshort", "tooshort"),
        (ServerSettings, "MALOCA_ENGINE_TOKEN", "tooshort", "tooshort"),
        (ServerSettings, "MALOCA_ENGINE_URL", f"http://me:{SECRET}@host:99999", SECRET),
    ],
)
def test_no_secret_is_shown_with_a_bad_value(
    monkeypatch: pytest.MonkeyPatch,
    settings: type[Settings],
    variable: str,
    value: str,
    secret: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSetting, match=variable) as caught:
        settings.load()
    assert secret not in str(caught.value)
    assert "hidden" in str(caught.value)


def test_no_secret_is_shown_with_good_values() -> None:
    settings = EngineSettings.load(token=SECRET)
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()


def test_comma_lists_forgive_spaces_and_empty_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_ALLOWED_HOSTS", " a.example, ,b.example,, ")
    assert EngineSettings.load().allowed_hosts == ["a.example", "b.example"]


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_ENGINE_PORT", "")
    assert EngineSettings.load().port == 8001


def test_an_option_beats_the_environment_which_beats_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("MALOCA_PORT=1\nMALOCA_LOG_LEVEL=error\nOTHER=x\n")
    monkeypatch.setenv("MALOCA_PORT", "2")
    assert ServerSettings.load().port == 2
    assert ServerSettings.load(port=3).port == 3
    assert ServerSettings.load(port=None).port == 2
    assert ServerSettings.load().log_level == "error"


def test_the_engine_needs_a_token_to_listen_beyond_loopback() -> None:
    with pytest.raises(BadSetting) as caught:
        EngineSettings.load(host="0.0.0.0")  # noqa: S104 - must be refused
    said = str(caught.value)
    assert said.startswith("MALOCA_ENGINE_HOST='0.0.0.0' ")
    assert "MALOCA_ENGINE_TOKEN" in said
    assert EngineSettings.load(host="0.0.0.0", token=SECRET).host == "0.0.0.0"  # noqa: S104 - with a token


def test_models_are_looked_for_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALOCA_MODELS_DIR", str(tmp_path / "m"))
    assert EngineSettings.load().models_dir == tmp_path / "m"
    monkeypatch.delenv("MALOCA_MODELS_DIR")
    monkeypatch.setenv("MALOCA_HOME", str(tmp_path))
    assert EngineSettings.load().models_dir == tmp_path / "models"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "evil.localhost", "localhost."])  # noqa: S104 - must not count
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
