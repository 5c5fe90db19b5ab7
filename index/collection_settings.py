"""The settings that a collection has of its own: one entry of ``meta``, as JSON by section and name.

They are part of the collection: copies, exports and snapshots have them. What they mean is for those to say who use
them; here they are kept as they are given.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from index.checksums import rows_checksum
from index.database import Database
from index.statements import insert_row
from rag.errors import DamagedDataError

__all__ = ["OwnSettings", "read_settings", "write_settings"]

OwnSettings = Mapping[str, Mapping[str, Any]]
_KEY = "settings"


def read_settings(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return the settings by section and name; none where none were ever given. Raises DamagedDataError."""
    row = connection.execute("SELECT CAST(value AS BLOB), checksum FROM meta WHERE key = ?", (_KEY,)).fetchone()
    if row is None:
        return {}
    text = bytes(row[0]).decode("utf-8", "replace")
    if row[1] not in (None, rows_checksum([(_KEY, text)])):
        raise DamagedDataError(
            "the settings of this collection are not as they were written; give them again: rag collections set"
        )
    return dict(json.loads(text))


def write_settings(database: Database, settings: OwnSettings) -> None:
    """Put these settings in the place of those that are there; sections without any are not kept."""
    kept = {section: dict(values) for section, values in settings.items() if values}
    with database.writing() as connection:
        insert_row(connection, "meta", (_KEY, json.dumps(kept, ensure_ascii=False, sort_keys=True)))
