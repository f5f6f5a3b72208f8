from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maloca.core.settings import BadSetting
from maloca.server.providers.settings import ProviderSettings
from maloca.server.settings import ServerSettings

ALIASES = {
    "LLM_PROVIDER": ("claude", "provider", "anthropic"),
    "LLM_MODEL": ("some-model", "model", "some-model"),
    "DEFAULT_MODEL": ("some-model", "model", "some-model"),
    "LLM_SERVICE_ENABLED": ("false", "engine_enabled", False),
    "LLM_SERVICE_TIMEOUT": ("7", "first_token_timeout", 7.0),
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start in an empty folder, without what the user's environment says."""
    monkeypatch.chdir(tmp_path)
    for name in [*ALIASES, "LLM_SERVICE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, content: str) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "config.json").write_text(content, encoding="utf-8")


@pytest.mark.parametrize("name", ALIASES)
def test_names_of_earlier_deployments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, field, expected = ALIASES[name]
    monkeypatch.setenv(name, given)
    assert getattr(ProviderSettings.load(), field) == expected
    assert getattr(ServerSettings.load(), field) == expected


def test_our_own_names_beat_them_and_the_newer_alias_the_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLM_PROVIDER", "openai")
    monkeypatch.setenv("MALOCA_PROVIDER", "engine")
    monkeypatch.setenv("DEFAULT_MODEL", "older")
    monkeypatch.setenv("LLM_MODEL", "newer")
    found = ProviderSettings.load()
    assert (found.provider, found.model) == ("engine", "newer")
    monkeypatch.setenv("LLM_SERVICE_URL", "http://10.0.0.2:8001")
    assert str(ServerSettings.load().engine_url) == "http://10.0.0.2:8001/"


def test_keys_come_from_either_name_and_stay_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1")
    monkeypatch.setenv("MALOCA_ANTHROPIC_API_KEY", "sk-canary-2")
    found = ProviderSettings.load()
    assert found.openai_api_key is not None
    assert found.openai_api_key.get_secret_value() == "sk-canary-1"
    assert "sk-canary" not in repr(found) + found.model_dump_json()
    assert not found.egress


@pytest.mark.parametrize(
    ("content", "provider", "model"),
    [
        ({"provider": "hf", "selected_model": "m"}, "engine", "m"),
        ({"provider": "claude"}, "anthropic", None),
        ({"selected_model": "m", "something": "else"}, None, "m"),
        ({}, None, None),
    ],
)
def test_the_file_of_earlier_deployments(
    own_folder: Path, content: dict[str, Any], provider: str | None, model: str | None
) -> None:
    write(own_folder, json.dumps(content))
    found = ProviderSettings.load()
    assert (found.provider, found.model) == (provider, model)


@pytest.mark.parametrize("variable", ["MALOCA_PROVIDER", "LLM_PROVIDER"])
def test_the_environment_beats_the_file(
    own_folder: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own_folder, json.dumps({"provider": "hf", "selected_model": "m"}))
    monkeypatch.setenv(variable, "openai")
    monkeypatch.setenv("DEFAULT_MODEL", "gpt")
    found = ProviderSettings.load()
    assert (found.provider, found.model) == ("openai", "gpt")


@pytest.mark.parametrize("content", ["{", "[]", '{"provider": 7}', "\xff"])
def test_a_damaged_file_stops_the_start_by_name(own_folder: Path, content: str) -> None:
    write(own_folder, content)
    with pytest.raises(BadSetting, match=r"config\.json"):
        ProviderSettings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MALOCA_PROVIDER", "gemini"),
        ("MALOCA_CHAIN", "engine,nobody"),
        ("MALOCA_CHAIN", "engine,hf"),
        ("MALOCA_OPENAI_BASE_URL", "ftp://x"),
        ("MALOCA_OPENAI_BASE_URL", "https://me:sk-canary@api.openai.com"),
        ("MALOCA_IDLE_TIMEOUT", "0"),
        ("MALOCA_PROVIDER_ATTEMPTS", "0"),
        ("MALOCA_EGRESS", "maybe"),
    ],
)
def test_a_bad_value_stops_the_start(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSetting, match=variable) as caught:
        ProviderSettings.load()
    assert "sk-canary" not in str(caught.value)


def test_a_chain_in_the_owners_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_CHAIN", "claude, hf")
    assert ProviderSettings.load().chain == ["anthropic", "engine"]
