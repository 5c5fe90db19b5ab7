"""What an ingest has learnt of an endpoint, kept beside ``vectors.db``, so that the next one need not be refused again.

``endpoints.json`` holds one entry an endpoint and model: the largest requests it takes, the longest text, and how many
requests it bore at once. An entry is forgotten after a week, because limits are raised too. The file may be deleted.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from index.files import write_whole
from rag.types import EmbedderProfile, EmbeddingLimits

__all__ = ["Learnt", "LearntLimits"]

FORGOTTEN_AFTER_S = 7 * 86_400.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known beyond the provider's table; None where nothing is."""

    max_inputs: int | None = None
    max_request_tokens: int | None = None
    max_input_tokens: int | None = None
    concurrency: int | None = None

    def within(self, limits: EmbeddingLimits) -> EmbeddingLimits:
        """Return the limits, narrowed to what was learnt."""
        most = limits.max_concurrency or limits.concurrency
        return replace(
            limits,
            max_inputs=min(limits.max_inputs, self.max_inputs or limits.max_inputs),
            max_request_tokens=min(limits.max_request_tokens, self.max_request_tokens or limits.max_request_tokens),
            max_input_tokens=min(limits.max_input_tokens, self.max_input_tokens or limits.max_input_tokens),
            concurrency=min(most, self.concurrency or limits.concurrency),
        )


class LearntLimits:
    """The limits of one endpoint and model as they are known now; ``path`` None keeps them in memory only.

    ``clock`` gives seconds since 1970.
    """

    def __init__(self, profile: EmbedderProfile, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self._told = profile.limits
        self._path = path if profile.endpoint else None
        self._key = f"{profile.endpoint} {profile.model}"
        self._clock = clock
        self._learnt = self._read()
        self._limits = self._learnt.within(self._told)

    @property
    def limits(self) -> EmbeddingLimits:
        return self._limits

    def learn(self, **found: int) -> None:
        """Take in a limit by its name in ``Learnt``, at least 1, and keep it."""
        learnt = replace(self._learnt, **{name: max(1, value) for name, value in found.items()})
        if learnt == self._learnt:
            return
        _LOG.info("learnt of %s: %s", self._key, ", ".join(f"{name} is {value}" for name, value in found.items()))
        self._learnt = learnt
        self._limits = learnt.within(self._told)
        self._write()

    def _read(self) -> Learnt:
        entry = self._entries().get(self._key)
        if entry is None:
            return Learnt()
        return Learnt(**{item.name: entry.get(item.name) for item in fields(Learnt)})

    def _entries(self) -> dict[str, dict[str, Any]]:
        """Return the entries of the file that are sound and fresh."""
        if self._path is None or not self._path.exists():
            return {}
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            return {key: entry for key, entry in entries.items() if _is_sound(entry) and self._is_fresh(entry)}
        except (OSError, ValueError, AttributeError) as error:
            _LOG.warning("%s is ignored, it cannot be read (%s); it will be written anew", self._path, error)
            return {}

    def _is_fresh(self, entry: dict[str, Any]) -> bool:
        learnt_at: float = entry["learnt_at"]
        return 0 <= self._clock() - learnt_at < FORGOTTEN_AFTER_S

    def _write(self) -> None:
        if self._path is None:
            return
        known = self._entries()
        first_at = known.get(self._key, {}).get("learnt_at", self._clock())
        entries = {**known, self._key: {**asdict(self._learnt), "learnt_at": first_at}}
        try:
            write_whole(self._path, json.dumps(entries, indent=1).encode())
        except OSError as error:  # nothing depends on it but a few requests of the next run
            _LOG.warning("%s cannot be written (%s); the next ingest will learn anew", self._path, error)


def _is_sound(entry: Any) -> bool:
    """Tell whether an entry has what ``Learnt`` has, each a whole number from 1 or nothing, and its time."""
    if not isinstance(entry, dict) or not isinstance(entry.get("learnt_at"), int | float):
        return False
    values = [entry.get(item.name) for item in fields(Learnt)]
    return all(value is None or (type(value) is int and value >= 1) for value in values)
