"""The keys of a service's readers: each with access labels, kept as hashes in ``LIBRARY/keys.json``.

A key is 32 random bytes, so its plain SHA-256 can be kept: there is nothing to guess. The file is read again when it
changes, so that a key that is taken back is refused by the next request.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from index.files import write_whole
from index.restricted import checked_labels
from rag.errors import ConfigError

__all__ = ["ReaderKey", "ReaderKeys"]

_PREFIX = "fn-"


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """Somebody who may ask, search and read what ``labels`` open. ``created_at`` is in Unix seconds."""

    name: str
    sha256: str
    labels: tuple[str, ...]
    created_at: float


class ReaderKeys:
    """The reader keys of a library. Raises ConfigError where the file is not as it was written."""

    def __init__(self, library: Path) -> None:
        self._path = library / "keys.json"
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, ReaderKey] = {}

    def all(self) -> list[ReaderKey]:
        """Return the keys, by name."""
        self._read()
        return sorted(self._keys.values(), key=lambda key: key.name)

    def find(self, given: str) -> ReaderKey | None:
        """Return the key that was sent, None where there is no such key."""
        self._read()
        return self._keys.get(_hash(given))

    def add(self, name: str, labels: Sequence[str]) -> str:
        """Make a key and return it: it is told this once, and kept as a hash."""
        if not name.strip() or not name.isprintable() or len(name) > 100:
            raise ConfigError(f"a key's name must be 1 to 100 printable characters, got {name!r}")
        sorted_labels = tuple(sorted(checked_labels(labels)))
        if any(key.name == name for key in self.all()):
            raise ConfigError(f"there is a key of the name {name!r}; remove it first, or choose another name")
        key = _PREFIX + secrets.token_urlsafe(32)
        self._write([*self.all(), ReaderKey(name, _hash(key), sorted_labels, time.time())])
        return key

    def remove(self, name: str) -> None:
        """Take a key back."""
        kept = [key for key in self.all() if key.name != name]
        if len(kept) == len(self._keys):
            raise ConfigError(f"there is no key of the name {name!r}; `rag keys` lists them")
        self._write(kept)

    def _read(self) -> None:
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._keys = {key.sha256: key for key in _parsed(self._path.read_text("utf-8"))}
                self._stamp = stamp
        except FileNotFoundError:
            self._keys, self._stamp = {}, None
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._stamp = None
            raise ConfigError(
                f"the reader keys in {str(self._path)!r} cannot be read ({error}); nobody is let in by them. Put the"
                " file back, or delete it and make new keys"
            ) from error

    def _write(self, keys: Sequence[ReaderKey]) -> None:
        content = json.dumps({"keys": [asdict(key) for key in keys]}, ensure_ascii=False, indent=1)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, content.encode())
        self._stamp = None


def _parsed(text: str) -> list[ReaderKey]:
    return [
        ReaderKey(str(each["name"]), str(each["sha256"]), tuple(map(str, each["labels"])), float(each["created_at"]))
        for each in json.loads(text)["keys"]
    ]


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
