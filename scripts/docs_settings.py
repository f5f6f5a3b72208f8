"""Write docs/settings.md from the settings classes; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from maloca.core.settings import Settings
from maloca.engine.settings import EngineSettings
from maloca.server.settings import ServerSettings

TARGET: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_HEAD: Final = """\
# Settings

Set them in the environment, or in a `.env` file in the folder that you start Maloca from; the
options of a command beat both. A value that cannot be used stops the start, and the message
names the variable, its value and the accepted form. `scripts/docs_settings.py` writes this page.

## Where state lives

These are read from the environment only.

| variable | default | what it is |
|---|---|---|
| `MALOCA_HOME` | the platform's folder for user data | Folder of all state. |
| `MALOCA_MODELS_DIR` | `models` under the home | Folder of the model store. |
| `MALOCA_LANG` | the environment's language | `es` or `en`: language of the command line. |
"""


def main() -> int:
    """Write the page, or say that it is not up to date."""
    page = render()
    if "--check" not in sys.argv:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == page:
        return 0
    print(f"{TARGET.name} is not up to date: run python scripts/docs_settings.py", file=sys.stderr)
    return 1


def render() -> str:
    """Return the page."""
    shared = set(Settings.model_fields)
    parts = [
        _HEAD,
        _table("Both services", Settings, shared),
        _table(
            "Engine", EngineSettings, set(EngineSettings.model_fields) - shared - {"models_dir"}
        ),
        _table("Server", ServerSettings, set(ServerSettings.model_fields) - shared),
    ]
    return "\n".join(parts)


def _table(title: str, owner: type[Settings], names: set[str]) -> str:
    prefix = str(owner.model_config["env_prefix"])
    rows = [
        f"| {_variables(field, prefix + name.upper())} | {_default(field)} "
        f"| {field.description or ''} |"
        for name, field in owner.model_fields.items()
        if name in names
    ]
    head = f"## {title}\n\n| variable | default | what it is |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _variables(field: FieldInfo, by_default: str) -> str:
    """Return the variables of a setting, the one that beats the others first."""
    alias = field.validation_alias
    names = alias.choices if isinstance(alias, AliasChoices) else [alias or by_default]
    return ", ".join(f"`{name}`" for name in names)


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if value is None or value == []:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.exit(main())
