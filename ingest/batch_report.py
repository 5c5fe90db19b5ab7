"""What a run by batches tells: how far it is, what it did, and which files wait."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ingest.batch_replies import EndedBatch
from ingest.report import IngestReport

__all__ = ["ON_ORDER", "BatchProgress", "BatchReport", "BatchRun"]

ON_ORDER = "its vectors are on order; run the same command again to collect them"
"""The reason of a file that waits for a batch."""


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far the batches are: ``n_ended`` of ``n_batches``, ``n_answered`` of ``n_requests`` in those under way."""

    n_batches: int
    n_ended: int
    n_requests: int
    n_answered: int
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a run did with batches: texts it ordered, batches that ended, batches and texts still under way."""

    n_texts_ordered: int
    ended: tuple[EndedBatch, ...]
    under_way: tuple[str, ...]
    n_texts_under_way: int
    notes: tuple[str, ...] = ()

    @property
    def n_texts_stored(self) -> int:
        return sum(batch.n_stored for batch in self.ended)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "n_texts_stored": self.n_texts_stored}


@dataclass(frozen=True, slots=True)
class BatchRun:
    """An ingest by batches: its report on files, and on batches."""

    reports: tuple[IngestReport, ...]
    batch: BatchReport

    @property
    def n_files_waiting(self) -> int:
        return sum(file.reason == ON_ORDER for report in self.reports for file in report.failed)

    @property
    def exit_code(self) -> int:
        """0 when every file was dealt with or waits for a batch under way, 1 when one failed or the run was stopped."""
        failed = [file for report in self.reports for file in report.failed if file.reason != ON_ORDER]
        return 1 if failed or any(report.stopped for report in self.reports) else 0
