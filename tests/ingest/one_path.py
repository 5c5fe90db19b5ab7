"""Runs over one folder, file or address, each with its one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.footnote import Footnote
from ingest.cost import IngestEstimate
from ingest.report import FileResult, IngestReport

__all__ = ["estimate", "ingest", "only"]


async def ingest(footnote: Footnote, place: Path | str, **options: Any) -> IngestReport:
    (report,) = await footnote.ingest(place, **options)
    return report


async def estimate(footnote: Footnote, place: Path | str) -> IngestEstimate:
    (found,) = await footnote.plan_ingest(place)
    return found


def only(report: IngestReport) -> FileResult:
    """Return what became of the one file of a run."""
    (file,) = report.files
    return file
