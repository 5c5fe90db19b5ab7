"""Recordings from file to citation: cut at silences, sent once, kept, priced before, placed by their times."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from api.cli.output import report_lines
from api.doctor import examine
from api.footnote import Footnote
from rag.errors import ConfigError
from tests.ingest.one_path import estimate, ingest, only
from tests.recordings import RATE, WORDS, decoded, encoded, hear, spoken, wav
from tests.upstream import Fault, Said, Upload, Upstream, error_body

OpenFootnote = Callable[..., Footnote]
N_WORDS = 30
LONG = spoken(0.3, *(item for n in range(N_WORDS) for item in (WORDS[n % len(WORDS)], 1.1)))
"""45 seconds: a word every second and a half, none on the stroke of a second."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def environ(upstream: Upstream) -> dict[str, str]:
    upstream.hear = hear
    return {
        "RAG_EMBEDDINGS_BASE_URL": upstream.base_url,
        "RAG_EMBEDDINGS_MODEL": "stub-embedding",
        "RAG_EMBEDDINGS_PRICE_PER_MILLION": "0",
        "RAG_AUDIO_BASE_URL": upstream.base_url,
        "RAG_AUDIO_MODEL": "whisper-x",
        "RAG_AUDIO_PART_SECONDS": "20",
        "RAG_AUDIO_PRICE_PER_MINUTE": "0.6",
    }


def words_of(footnote: Footnote, document_id: str) -> list[str]:
    return footnote.document(document_id).text.split()


async def test_a_citation_into_a_recording_carries_the_time(folder: Path, footnote_with: OpenFootnote) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea", 0.5, "coffee", 65.0, "garlic")))
    footnote = footnote_with()
    file = only(await ingest(footnote, folder))
    assert (file.state, file.n_pages) == ("indexed", 3)
    assert "00:00:32 of it is silent, and was not sent" in file.warnings
    document = footnote.document("talk.wav")
    assert document.text == "tea coffee\n\ngarlic"
    assert document.place_at(document.text.index("garlic")) == "00:01:06"
    answer = await footnote.ask("What about garlic?")
    assert [(source.document_id, source.place) for source in answer.sources] == [("talk.wav", "00:00:00")]


async def test_a_long_recording_is_sent_in_parts_that_are_the_whole(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.flac").write_bytes(encoded(LONG, "flac", "flac"))
    footnote = footnote_with()
    report = await ingest(footnote, folder)
    sent = [decoded(upload.data) for upload in upstream.uploads()]
    assert len(sent) == 3
    assert all(len(samples) <= 20 * RATE for samples in sent)
    assert any(np.array_equal(np.concatenate(parts), LONG) for parts in permutations(sent))  # as they came in
    assert words_of(footnote, "talk.flac") == [WORDS[n % len(WORDS)] for n in range(N_WORDS)]
    document = footnote.document("talk.flac")
    times = [page.label for page in document.pages]
    assert times == [f"00:00:{int(0.3 + 1.5 * n):02}" for n in range(N_WORDS)]
    assert report.cost == pytest.approx(0.6 * len(LONG) / RATE / 60)
    assert any(
        re.fullmatch(r"3 stretches of speech read by whisper-x \(0.8 minutes, 0.45 USD\)", line)
        for line in report_lines(report)
    )


async def test_a_rename_a_copy_new_tags_and_a_rebuild_send_nothing_again(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "a.mp3").write_bytes(encoded(LONG, "mp3", "libmp3lame"))
    footnote = footnote_with()
    await ingest(footnote, folder)
    (folder / "a.mp3").rename(folder / "b.mp3")
    (folder / "copy.mp3").write_bytes((folder / "b.mp3").read_bytes())
    (folder / "tagged.mp3").write_bytes(encoded(LONG, "mp3", "libmp3lame", title="Groceries"))
    report = await ingest(footnote, folder)
    (count,) = report.media
    assert (count.n_read, count.n_known) == (0, 9)
    await ingest(footnote, folder, rebuild=True)
    assert set(upstream.heard.values()) == {1}
    assert len(upstream.heard) == 3
    assert footnote.document("tagged.mp3").title == "Groceries"


async def test_a_killed_run_keeps_the_parts_it_has_heard(
    folder: Path, tmp_path: Path, footnote_with: OpenFootnote, environ: dict[str, str], upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(LONG))
    upstream.script("audio", None)
    upstream.always("audio", Fault(hang=True))
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli.main", "ingest", str(folder), "--library", str(tmp_path / "library")),
        env={**os.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2]), "RAG_AUDIO_CONCURRENCY": "1"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    while len(upstream.calls("audio")) < 2:  # the first is stored before the second is sent
        await asyncio.sleep(0.02)
    killed.kill()
    await killed.wait()
    upstream.always("audio", Fault())
    report = await ingest(footnote_with(), folder)
    (count,) = report.media
    assert (count.n_known, count.n_read) == (1, 2)
    assert set(upstream.heard.values()) == {1}


async def test_other_parts_are_not_mixed_with_those_that_are_known(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(LONG))
    await ingest(footnote_with(), folder)
    footnote = footnote_with(audio__part_seconds=12)
    await ingest(footnote, folder, rebuild=True)
    assert len(upstream.heard) > 3 + 3
    assert words_of(footnote, "talk.wav") == [WORDS[n % len(WORDS)] for n in range(N_WORDS)]
    assert [page.label for page in footnote.document("talk.wav").pages][-1] == "00:00:43"


async def test_a_model_that_tells_no_times_gets_shorter_parts_whose_times_are_told(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream, environ: dict[str, str]
) -> None:
    (folder / "talk.wav").write_bytes(wav(np.concatenate([LONG, LONG])))
    del environ["RAG_AUDIO_PART_SECONDS"]
    footnote = footnote_with(audio__model="gpt-4o-transcribe")
    await ingest(footnote, folder)
    assert len(upstream.uploads()) == 2
    assert "response_format" not in upstream.uploads()[0].fields
    first, second = footnote.document("talk.wav").pages
    assert first.label == "00:00:00"
    assert "00:00:40" <= second.label <= "00:01:00"


async def test_speakers_are_told_apart(folder: Path, footnote_with: OpenFootnote, upstream: Upstream) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea", 1.0, "milk")))
    upstream.hear = lambda upload: (Said(0.0, 0.4, "Tea?", "A"), Said(1.4, 1.8, "Milk.", "B"))
    footnote = footnote_with(audio__model="gpt-4o-transcribe-diarize")
    await ingest(footnote, folder)
    assert footnote.document("talk.wav").text == "A: Tea?\n\nB: Milk."
    assert upstream.uploads()[0].fields["chunking_strategy"] == "auto"


async def test_what_the_model_made_up_in_a_silence_is_left_out_with_a_warning(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea", 9.0)))

    def imagine(upload: Upload) -> list[Said]:
        return [*hear(upload), Said(5.0, 9.0, "Thanks for watching!", no_speech_prob=0.9, avg_logprob=-1.2)]

    upstream.hear = imagine
    footnote = footnote_with()
    file = only(await ingest(footnote, folder))
    assert footnote.document("talk.wav").text == "tea"
    assert "from 00:00:00 on: 1 of 2 segments were left out: the model takes them for silence" in file.warnings


# --- nobody, nothing, no more


async def test_without_anybody_a_recording_is_empty_with_advice_and_is_heard_as_soon_as_somebody_can(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea")))
    file = only(await ingest(footnote_with(audio__provider="off"), folder))
    assert file.state == "empty"
    assert "audio.provider" in file.reason
    assert upstream.calls("audio") == []
    assert only(await ingest(footnote_with(), folder)).state == "indexed"
    assert only(await ingest(footnote_with(), folder)).state == "unchanged"


async def test_a_key_alone_sends_no_recording_to_anybody(folder: Path, tmp_path: Path, upstream: Upstream) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea")))
    environ = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "sk-test"}
    async with Footnote.open(tmp_path / "library", environ=environ) as footnote:
        assert only(await ingest(footnote, folder)).state == "empty"
    assert upstream.calls("audio") == []


async def test_silence_is_empty_and_sent_to_nobody(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken(30.0)))
    file = only(await ingest(footnote_with(), folder))
    assert (file.state, file.reason) == ("empty", "no text: it is silent")
    assert upstream.calls("audio") == []


async def test_music_in_which_nothing_is_said_is_empty_and_remembered(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "music.wav").write_bytes(wav(spoken("tea")))
    upstream.hear = lambda upload: ()
    file = only(await ingest(footnote_with(), folder))
    assert (file.state, file.reason) == ("empty", "no text: nothing is said in it, as far as whisper-x hears")
    await ingest(footnote_with(), folder, rebuild=True)
    assert set(upstream.heard.values()) == {1}


async def test_a_limit_that_the_endpoint_keeps_fails_the_file_until_a_setting_cuts_it_shorter(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "a.wav").write_bytes(wav(spoken("tea")))
    (folder / "b.wav").write_bytes(wav(LONG))
    upstream.script("audio", None)
    upstream.always("audio", Fault(status=413, body=error_body(413, message="Request Entity Too Large")))
    report = await ingest(footnote_with(audio__concurrency=1), folder)
    states = {file.path: (file.state, file.retriable) for file in report.files}
    assert states == {"a.wav": ("indexed", False), "b.wav": ("failed", True)}
    assert "audio.part_seconds" in report.failed[0].reason
    upstream.always("audio", Fault())
    report = await ingest(footnote_with(audio__part_seconds=10), folder)
    assert {file.path: file.state for file in report.files} == {"a.wav": "unchanged", "b.wav": "indexed"}


# --- money


async def test_a_dry_run_counts_the_minutes_and_asks_nobody(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "a.wav").write_bytes(wav(LONG))
    (folder / "b.mp3").write_bytes(encoded(spoken("tea", 2.0, "milk"), "mp3", "libmp3lame"))
    footnote = footnote_with()
    planned = await estimate(footnote, folder)
    assert upstream.calls("audio") == []
    report = await ingest(footnote, folder)
    assert [(count.kind, count.n_read) for count in planned.report.media] == [("speech", 4)]
    assert planned.report.media[0].usage.seconds == pytest.approx(report.media[0].usage.seconds)
    assert planned.cost == pytest.approx(report.cost)


async def test_the_limit_on_the_cost_stops_before_the_part_that_would_exceed_it(
    folder: Path, footnote_with: OpenFootnote, upstream: Upstream
) -> None:
    (folder / "talk.wav").write_bytes(wav(LONG))
    report = await ingest(footnote_with(audio__concurrency=1, ingest__max_cost=0.25), folder)
    assert "the limit of 0.25 USD would be exceeded" in report.stopped
    assert len(upstream.calls("audio")) == 1
    assert only(await ingest(footnote_with(), folder)).state == "indexed"
    assert set(upstream.heard.values()) == {1}


# --- who


async def test_doctor_says_who_transcribes(footnote_with: OpenFootnote, upstream: Upstream) -> None:
    said = {finding.subject: finding async for finding in examine(footnote_with())}
    assert said["audio"].level == "ok"
    assert said["audio"].found.startswith(f"whisper-x at {upstream.base_url} answers")
    said = {finding.subject: finding async for finding in examine(footnote_with(audio__provider="off"))}
    assert said["audio"].found == "nobody (audio.provider is 'off')"


@pytest.mark.parametrize(
    ("environ_of", "said"),
    [
        ({"RAG_AUDIO_PROVIDER": "deepseek", "DEEPSEEK_API_KEY": "sk-x"}, "DeepSeek serves no audio"),
        ({"RAG_AUDIO_PROVIDER": "local"}, "no embedded model transcribes"),
        ({"RAG_AUDIO_MODEL": "whisper-x"}, "audio.model is set, but no key"),
        ({"RAG_AUDIO_PROVIDER": "openai"}, "needs a key for audio"),
    ],
)
async def test_settings_that_cannot_work_are_said_to_be(
    tmp_path: Path, folder: Path, environ_of: dict[str, str], said: str
) -> None:
    (folder / "talk.wav").write_bytes(wav(spoken("tea")))
    async with Footnote.open(tmp_path / "library", environ=environ_of) as footnote:
        with pytest.raises(ConfigError, match=said):
            await footnote.ingest(folder)
