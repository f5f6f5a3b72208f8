"""Where Maloca keeps its state."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """Return the folder of all state: MALOCA_HOME, else the platform's place for user data."""
    chosen = os.environ.get("MALOCA_HOME")
    return (
        Path(chosen).expanduser()
        if chosen
        else platformdirs.user_data_path("maloca", appauthor=False)
    )


def models_dir() -> Path:
    """Return the folder of the model store: MALOCA_MODELS_DIR, else `models` under the home."""
    chosen = os.environ.get("MALOCA_MODELS_DIR")
    return Path(chosen).expanduser() if chosen else home() / "models"
