"""What stays of a collection when its name or its content is exchanged: which one it is, and where its uploads lie.

Both stand in ``meta`` of ``collection.db``. A collection that was made before they were is known by its first mark, and
its uploads lie under its name.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from index.database import Database
from index.files import put_in_place
from index.migrations import COLLECTION_STEPS
from index.records import METRIC, CollectionConfig
from index.statements import insert_row

__all__ = ["Identity", "copy_database", "identity_of", "set_config", "set_identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """``key`` names the folder of a collection's snapshots, ``uploads`` that of its uploads."""

    key: str
    uploads: str

    @classmethod
    def new(cls, library: Path, name: str) -> Identity:
        """Return an identity that nobody has, for a collection of this name."""
        key = secrets.token_hex(8)
        # A collection that was renamed has left its uploads under the name it had.
        return cls(key, f"{name}~{key}" if (library / "uploads" / name).exists() else name)


def identity_of(folder: Path, name: str) -> Identity:
    """Return the identity of the collection ``name`` in a folder. Raises CollectionError where it cannot be read."""
    with closing(Database(folder / "collection.db", COLLECTION_STEPS)) as database, database.reading() as connection:
        found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('identity', 'uploads', 'mark')"))
        return Identity(str(found.get("identity", found["mark"])), str(found.get("uploads", name)))


def set_identity(folder: Path, identity: Identity) -> None:
    """Give the collection in a folder an identity."""
    with closing(Database(folder / "collection.db", COLLECTION_STEPS)) as database, database.writing() as connection:
        insert_row(connection, "meta", ("identity", identity.key))
        insert_row(connection, "meta", ("uploads", identity.uploads))


def set_config(folder: Path, config: CollectionConfig) -> None:
    """Say that the collection in a folder is of another configuration; its chunks are to be made anew then."""
    with closing(Database(folder / "collection.db", COLLECTION_STEPS)) as database, database.writing() as connection:
        insert_row(connection, "meta", ("config", json.dumps({**asdict(config), "metric": METRIC})))


def copy_database(source: Path, target: Path) -> None:
    """Write a collection's database, as of one moment, to a new file; whoever writes to it is not kept waiting.

    The whole database is copied, whatever tables it has. Raises CollectionError.
    """
    temporary = target.with_name(f".{target.name}.copy")
    with (
        closing(Database(source, COLLECTION_STEPS)) as database,
        database.reading() as connection,
        closing(sqlite3.connect(temporary)) as copy,
    ):
        connection.backup(copy)  # in one step: all pages are of one moment
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    put_in_place(temporary, target)
