"""What an ingest shows of itself while it waits."""

from __future__ import annotations

import pytest

from api.cli.progress import ingest_progress
from ingest.embedding import EmbeddingStatus
from ingest.tally import IngestProgress


def test_a_pause_says_who_is_waited_for_why_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = EmbeddingStatus(n_waiting=900, concurrency=4, paused_s=11.2, reason="rate limited")
    with ingest_progress("docs") as show:
        show(IngestProgress(5, 5, 1000, 100, 9000, "a.txt", embedding=waiting))
        show(IngestProgress(5, 5, 1000, 200, 9000, "b.txt", embedding=EmbeddingStatus(n_waiting=800, n_under_way=4)))
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("waiting for the endpoint: rate limited for 12 s")
    assert "waiting" not in second
