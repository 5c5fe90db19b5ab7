"""The reader of recordings, as it runs in a child: formats, hostile files, transcripts, and life without PyAV."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import read
from ingest.readers.media import Media, ServedKind
from ingest.readers.transcript import Heard, transcript, without_repeat
from rag.errors import DocumentReadError, UnsupportedFormatError
from rag.types import Document, MediaLimits, MediaText, MediaUsage, Medium, PlacedText, TimedText
from tests.recordings import RATE, decoded, encoded, spoken, wav, words_in

TALK = spoken("tea", 0.5, "coffee", 1.0, "garlic")
LIMITS = MediaLimits(max_bytes=20_000_000, max_seconds=20.0, media_types=("audio/flac", "audio/wav", "audio/mpeg"))


def document(name: str, data: bytes, media: Media | None = None) -> Document:
    return read(Path(name), document_id=name, data=data, media=media)


def wanted(name: str, data: bytes, limits: MediaLimits = LIMITS) -> list[Medium]:
    """Return the recordings that would be sent."""
    media = Media([ServedKind("speech", "whisper-x", limits)])
    document(name, data, media)
    return [want.medium for want in media.wants if want.medium is not None]


def heard(name: str, data: bytes, limits: MediaLimits = LIMITS) -> Document:
    """Read a file as a run does: ask, hear the words of what is asked, and read again until nothing is asked."""
    known: list[PlacedText] = []
    while True:
        media = Media([ServedKind("speech", "whisper-x", limits)], known)
        found = document(name, data, media)
        if not media.wants:
            return found
        known += [
            PlacedText("speech", want.place, media.reader, said(want.medium))
            for want in media.wants
            if want.medium is not None
        ]


def said(medium: Medium) -> MediaText:
    segments = tuple(TimedText(start, end, word) for start, end, word in words_in(decoded(medium.data)))
    text = " ".join(segment.text for segment in segments)
    return MediaText(text, segments, reader="whisper-x", usage=MediaUsage(seconds=medium.seconds), language="english")


# --- formats


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [
        ("a.mp3", "mp3", "libmp3lame"),
        ("a.m4a", "ipod", "aac"),
        ("a.mp4", "mp4", "aac"),
        ("a.mov", "mov", "aac"),
        ("a.aac", "adts", "aac"),
        ("a.flac", "flac", "flac"),
        ("a.opus", "ogg", "libopus"),
        ("a.webm", "webm", "libopus"),
        ("a.mpeg", "mpeg", "mp2"),
        ("a.aiff", "aiff", "pcm_s16be"),
        ("a.avi", "avi", "pcm_s16le"),
        ("a.wav", "wav", "pcm_s24le"),
    ],
)
def test_a_recording_of_any_kind_is_heard(name: str, container: str, codec: str) -> None:
    (medium,) = wanted(name, encoded(TALK, container, codec))
    assert medium.media_type == "audio/flac"
    words = words_in(decoded(medium.data))
    assert [word for _, _, word in words] == ["tea", "coffee", "garlic"]
    assert [start for start, _, _ in words] == pytest.approx([0.0, 0.9, 2.3], abs=0.09)  # encoders put a bit before it
    assert medium.seconds == pytest.approx(2.7, abs=0.15)


def test_a_film_is_read_for_its_sound_and_one_without_sound_is_empty() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as writer:
        stream = writer.add_stream("mpeg4", rate=10, width=32, height=32)
        writer.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        writer.mux(stream.encode(None))
    found = document("film.mp4", file.getvalue(), Media([ServedKind("speech", "whisper-x", LIMITS)]))
    assert (found.text, found.warnings) == ("", ("no text: it has no sound",))


def test_new_tags_leave_the_recording_what_it_is() -> None:
    plain, tagged = (encoded(TALK, "mp3", "libmp3lame", **tags) for tags in ({}, {"title": "Drinks", "artist": "Ann"}))
    assert plain != tagged
    assert [m.address for m in wanted("a.mp3", plain)] == [m.address for m in wanted("b.mp3", tagged)]
    found = heard("b.mp3", tagged)
    assert (found.title, found.metadata["artist"]) == ("Drinks", "Ann")


def test_what_a_file_is_decides_and_not_its_name() -> None:
    assert heard("notes.txt", wav(TALK)).media_type == "audio/wav"
    assert heard("a.wav", encoded(TALK, "mp3", "libmp3lame")).media_type == "audio/mpeg"


# --- what is told


def test_a_place_is_the_time_of_what_is_said() -> None:
    talk = spoken("tea", 0.5, "coffee", 3.0, "garlic", 16.0, "onion", 0.4, "plum")
    found = heard("talk.wav", wav(talk))
    assert found.text == "tea coffee\n\ngarlic\n\nonion plum"
    labels = {word: found.place_at(found.text.index(word)) for word in ("tea", "garlic", "onion", "plum")}
    assert labels == {"tea": "00:00:00", "garlic": "00:00:04", "onion": "00:00:20", "plum": "00:00:21"}
    assert dict(found.metadata) == {"duration": "00:00:21", "language": "english", "transcribed_by": "whisper-x"}
    assert found.warnings == ("00:00:21 was transcribed by the model whisper-x, which may mishear",)


def test_parts_are_cut_at_silences_and_hold_the_whole() -> None:
    talk = spoken(*(item for n in range(30) for item in (("tea", "coffee", "milk")[n % 3], 1.1)))
    media = wanted("talk.wav", wav(talk))
    assert len(media) == 3
    assert sum(medium.seconds for medium in media) == len(talk) / RATE
    assert np.array_equal(np.concatenate([decoded(medium.data) for medium in media]), talk)
    assert [word for medium in media for _, _, word in words_in(decoded(medium.data))] == ["tea", "coffee", "milk"] * 10


def test_words_that_two_parts_share_are_told_once() -> None:
    talk = spoken(*(item for n in range(60) for item in (("tea", "coffee", "milk", "salt")[n % 4], 0.1)))
    assert heard("talk.wav", wav(talk)).text.split() == ["tea", "coffee", "milk", "salt"] * 15


def test_silence_is_not_sent() -> None:
    media = Media([ServedKind("speech", "whisper-x", LIMITS)])
    found = document("quiet.wav", wav(spoken(50.0)), media)
    assert media.wants == []
    assert found.warnings == ("no text: it is silent",)
    assert len(wanted("half.wav", wav(spoken("tea", 40.0)))) == 1


def test_a_recording_that_nobody_reads_says_what_to_set() -> None:
    media = Media()
    found = document("talk.mp3", encoded(TALK, "mp3", "libmp3lame"), media)
    assert found.unread == ("speech",)
    assert "audio.provider" in found.warnings[0]


def part(
    text: str = "", *segments: tuple[float, float, str] | tuple[float, float, str, str], start: float = 0
) -> Heard:
    return Heard(start, start + 60, MediaText(text, tuple(TimedText(*segment) for segment in segments)))


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([part("Said without times.")], "Said without times."),
        ([part("One."), part("Two.", start=60)], "One.\n\nTwo."),
        ([part("", (0, 1, "He said"), (1, 2, "nothing."))], "He said nothing."),
        ([part("", (0, 1, "今天"), (1, 2, "天气好"))], "今天天气好"),
        ([part("", (0, 1, "Tea?", "A"), (1, 2, "Yes.", "B"), (2, 3, "Please.", "B"))], "A: Tea?\n\nB: Yes. Please."),
        ([part("", (0, 40, "Long."), (40, 62, "Longer."), (62, 63, "New."))], "Long. Longer.\n\nNew."),
        ([part("", (0, 1, "  "), (2, 3, "a\nb"))], "a b"),
    ],
)
def test_paragraphs_follow_pauses_speakers_and_sentences(parts: Sequence[Heard], text: str) -> None:
    assert transcript(parts).reading("audio/wav").text == text


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ("so we went home", "We went home. Then", "Then"),
        ("今天天气很好", "天气很好,我们走", "我们走"),
        ("one two", "three four", "three four"),
        ("tea tea", "tea", ""),
        ("", "tea", "tea"),
    ],
)
def test_a_repeat_is_found_by_its_words(before: str, after: str, left: str) -> None:
    assert without_repeat(before, after) == left


# --- hostile and damaged


def header_that_lies() -> bytes:
    data = bytearray(wav(TALK))
    struct.pack_into("<I", data, 4, 0xFFFFFFF0)
    struct.pack_into("<I", data, 40, 0xFFFFFF00)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("cut.m4a", encoded(TALK, "ipod", "aac")[:400], "cannot be decoded"),
        ("text.mp3", b"It is a truth universally acknowledged", "named .mp3 but is something else"),
        ("nothing.wav", b"", "named .wav but is empty"),
        ("head.wav", b"RIFF\x24\x00\x00\x00WAVE", "cannot be decoded"),
        ("noise.ogg", b"OggS" + bytes(range(256)) * 40, "cannot be decoded"),
        ("mp4.mp4", b"\x00\x00\x00\x18ftypisom" + b"\xff" * 500, "cannot be decoded"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_cannot_be_decoded_is_said_to_be(name: str, data: bytes, said: str) -> None:
    with pytest.raises(DocumentReadError, match=said):
        heard(name, data)


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("webm", "libopus"), ("wav", "pcm_s16le")])
def test_a_recording_that_breaks_off_is_read_as_far_as_it_goes(container: str, codec: str) -> None:
    data = encoded(spoken("tea", 1.0, "coffee", 1.0, *(["milk", 1.0] * 4), "garlic"), container, codec)
    found = heard(f"talk.{container}", data[: len(data) // 2])
    assert found.text.startswith("tea")
    assert "garlic" not in found.text
    assert any("breaks off" in warning for warning in found.warnings)


def test_a_header_that_promises_hours_is_not_believed() -> None:
    (medium,) = wanted("talk.wav", header_that_lies())
    assert medium.seconds == 2.7


def test_damage_in_the_middle_is_left_out_and_told() -> None:
    mp3 = bytearray(encoded(spoken("tea", 2.0, "coffee", 2.0, "garlic"), "mp3", "libmp3lame"))
    mp3[len(mp3) // 3 : len(mp3) // 2] = b"\x55" * (len(mp3) // 2 - len(mp3) // 3)
    found = heard("talk.mp3", bytes(mp3))
    assert found.text.startswith("tea")
    assert found.text.endswith("garlic")


def test_what_follows_a_damaged_stretch_keeps_its_time() -> None:
    m4a = bytearray(encoded(spoken("tea", *(["milk", 1.0] * 6), "garlic"), "ipod", "aac"))
    start = m4a.index(b"mdat")
    media = start + 4, len(m4a) * 9 // 10
    middle = slice(media[0] + (media[1] - media[0]) * 4 // 10, media[0] + (media[1] - media[0]) * 6 // 10)
    m4a[middle] = b"\xff" * (middle.stop - middle.start)
    (medium,) = wanted("talk.m4a", bytes(m4a))
    (start_s,) = [start for start, _, word in words_in(decoded(medium.data)) if word == "garlic"]
    assert start_s == pytest.approx(8.8, abs=0.15)


SEEDS = [
    encoded(TALK, container, codec)
    for container, codec in (("mp3", "libmp3lame"), ("ipod", "aac"), ("ogg", "libopus"), ("webm", "libopus"))
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=60)), min_size=1, max_size=8))
def test_a_recording_with_anything_in_it_is_read_or_said_to_be_unreadable(
    seed: bytes, patches: list[tuple[float, bytes]]
) -> None:
    data = bytearray(seed)
    for place, patch in patches:
        start = int(place**3 * len(data))  # more of them in the headers
        data[start : start + len(patch) + 1] = patch
    said = ""
    try:
        document("a.mp3", bytes(data), Media([ServedKind("speech", "whisper-x", LIMITS)]))
    except DocumentReadError as error:
        said = str(error)
    assert "the audio reader failed with" not in said  # that is for what nobody thought of


def test_a_playlist_that_names_other_files_opens_none(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(wav(TALK))
    playlist = f"#EXTM3U\n#EXTINF:10,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n".encode()
    with pytest.raises(DocumentReadError, match=r"named \.mp3"):
        heard("list.mp3", playlist)
    with pytest.raises((DocumentReadError, UnsupportedFormatError)):
        heard("list.mp3", b"ffconcat version 1.0\nfile secret.wav\n" + bytes(8))


def test_odd_rates_channels_and_widths_of_wav_are_heard() -> None:
    for data in (wav(spoken("tea", 0.5, "coffee", rate=8_000), rate=8_000), wav(TALK, channels=6)):
        (medium,) = wanted("a.wav", data)
        assert [word for _, _, word in words_in(decoded(medium.data))][:2] == ["tea", "coffee"]


# --- without PyAV


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


def test_without_pyav_wav_is_cut_all_the_same(no_pyav: None) -> None:
    talk = spoken(*(item for n in range(30) for item in (("tea", "coffee", "milk")[n % 3], 1.1)))
    media = wanted("talk.wav", wav(talk, channels=2))
    assert [medium.media_type for medium in media] == ["audio/wav"] * 3
    assert sum(medium.seconds for medium in media) == len(talk) / RATE


def test_without_pyav_a_short_recording_is_sent_as_it_is(no_pyav: None, mp3: bytes) -> None:
    (medium,) = wanted("talk.mp3", mp3)
    assert (medium.data, medium.media_type) == (mp3, "audio/mpeg")


def test_without_pyav_a_long_recording_says_what_to_install(no_pyav: None, mp3: bytes) -> None:
    with pytest.raises(DocumentReadError, match=r"footnote-rag\[audio\]"):
        wanted("talk.mp3", mp3, MediaLimits(max_bytes=1_000, media_types=("audio/mpeg",)))
    with pytest.raises(DocumentReadError, match=r"does not take audio/mpeg.*footnote-rag\[audio\]"):
        wanted("talk.mp3", mp3, MediaLimits(media_types=("audio/wav",)))


@pytest.fixture(scope="module")
def mp3() -> bytes:
    return encoded(TALK, "mp3", "libmp3lame")
