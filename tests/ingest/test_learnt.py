"""What is learnt of an endpoint, over a restart."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ingest.learnt import FORGOTTEN_AFTER_S, LearntLimits
from rag.types import EmbedderProfile, EmbeddingLimits

PROFILE = EmbedderProfile("m", 8, "words", EmbeddingLimits(max_inputs=2048), endpoint="https://host/v1")


def test_what_was_learnt_is_known_after_a_restart_to_the_same_endpoint_and_model_only(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    LearntLimits(PROFILE, path).learn(max_inputs=10)
    LearntLimits(PROFILE, path).learn(max_request_tokens=5000)
    again = LearntLimits(PROFILE, path).limits
    assert (again.max_inputs, again.max_request_tokens) == (10, 5000)
    other = EmbedderProfile("n", 8, "words", PROFILE.limits, endpoint=PROFILE.endpoint)
    assert LearntLimits(other, path).limits == PROFILE.limits


def test_it_only_ever_narrows_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    LearntLimits(PROFILE, path).learn(max_inputs=10, concurrency=30)
    narrow = EmbedderProfile("m", 8, "words", EmbeddingLimits(max_inputs=4, concurrency=2), endpoint=PROFILE.endpoint)
    limits = LearntLimits(narrow, path).limits
    assert (limits.max_inputs, limits.concurrency) == (4, 2)


def test_it_is_forgotten_after_a_week(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    LearntLimits(PROFILE, path, clock=lambda: 1000.0).learn(max_inputs=10)
    later = LearntLimits(PROFILE, path, clock=lambda: 1001.0 + FORGOTTEN_AFTER_S)
    assert later.limits.max_inputs == 2048


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"https://host/v1 m": {"max_inputs": 3}}', '{"https://host/v1 m": []}', "\x00\xff"],
)
def test_a_damaged_file_is_no_hindrance(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "endpoints.json"
    path.write_bytes(content.encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        learnt = LearntLimits(PROFILE, path)
    assert learnt.limits.max_inputs == 2048
    learnt.learn(max_inputs=10)
    assert LearntLimits(PROFILE, path).limits.max_inputs == 10


def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text("{", encoding="utf-8")
    LearntLimits(PROFILE, path)
    assert "is ignored" in caplog.text


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "10"])
def test_an_entry_with_senseless_values_is_no_hindrance(tmp_path: Path, value: object) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(json.dumps({"https://host/v1 m": {"max_inputs": value, "learnt_at": 1000.0}}), encoding="utf-8")
    assert LearntLimits(PROFILE, path, clock=lambda: 1001.0).limits.max_inputs == 2048


def test_an_embedded_model_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    LearntLimits(EmbedderProfile("local", 8, "words"), path).learn(max_inputs=10)
    assert not path.exists()
