"""Which rows of which tables belong to an account.

A foreign key to `users` says so. A table whose rows must not fail because an account has just been
removed, such as one that is written in the background, marks its column with `owned_by` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, Table

from maloca.server.db.base import Base

_MARK: Final = "owner"


def owned_by(form: str = "{}") -> dict[str, str]:
    """Return the `info` of a column that holds an account's id in some form, such as `user:{}`."""
    return {_MARK: form}


def rows_of(user_id: str) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield each table with rows of accounts, and the condition for one account's."""
    users = Base.metadata.tables["users"]
    for table in Base.metadata.sorted_tables:
        condition = _condition(table, users, user_id)
        if condition is not None:
            yield table, condition


def marked_rows_of(user_id: str) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield those that no foreign key removes together with the account."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if (form := column.info.get(_MARK)) is not None:
                yield table, column == form.format(user_id)


def _condition(table: Table, users: Table, user_id: str) -> ColumnElement[bool] | None:
    if table is users:
        return table.columns["id"] == user_id
    for column in table.columns:
        if any(key.column.table is users for key in column.foreign_keys):
            return column == user_id
        form: str | None = column.info.get(_MARK)
        if form is not None:
            return column == form.format(user_id)
    return None
