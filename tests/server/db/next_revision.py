"""A version of Maloca that knows one more revision than this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maloca.server.db import versions

CHANGE = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("colour", sa.String(8), nullable=False, server_default="red"))
        jobs.alter_column("message", type_=sa.String(40), existing_type=sa.Text())
    op.execute("update jobs set colour = 'green' where priority = 7")
    {then}


def downgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("message", type_=sa.Text(), existing_type=sa.String(40))
        jobs.drop_column("colour")
"""


def add_revision(folder: Path, monkeypatch: pytest.MonkeyPatch, then: str = "pass") -> None:
    """Let a version of Maloca know one more revision than this one."""
    shutil.copytree(versions.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = CHANGE.format(head=versions.head(), then=then)
    (folder / "rnext.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(versions, "FOLDER", folder)
    # What was read of the old folder is remembered.
    monkeypatch.setattr(versions, "_scripts", versions._scripts.__wrapped__)
