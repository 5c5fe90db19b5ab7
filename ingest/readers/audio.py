"""Recordings, and the sound of films: what is said, as a speech model hears it, and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.readers.clock import clock
from ingest.readers.media import Media
from ingest.readers.pyav import INSTALL_PYAV, PyavSound, decoder_version, flac_bytes, pyav_is_installed
from ingest.readers.reading import Reading
from ingest.readers.silences import Stretch, is_silent, stretches
from ingest.readers.sound import NoSoundError, Sound, SoundError, WavSound, wav_bytes
from ingest.readers.sound_kinds import SoundKind, kind_of
from ingest.readers.transcript import Heard, transcript
from rag.errors import DocumentReadError
from rag.types import MediaLimits, Medium

__all__ = ["ADVICE", "read_audio"]

ADVICE = "name who transcribes it (audio.provider and its key, or audio.model), and run the same command again"
_MAX_TOLD = 5
_LONG_S = 90.0
_OVERHEAD_BYTES = 8_192
"""What a container takes beside the samples, at most."""


def read_audio(data: bytes, name: str, media: Media) -> Reading:
    """Read a recording: what is said in it, cut into paragraphs at pauses; a place is the time, "00:12:05".

    A long one is sent in parts, cut at silences (``silences``). Without PyAV only WAV can be cut, and what is short
    enough is sent as it is. Raises DocumentReadError for what cannot be decoded, or not without PyAV.
    """
    kind = kind_of(data, ".mp3")  # by content and name it was found to be one, so frames count
    if kind is None:
        raise DocumentReadError(f"cannot read {name!r}: it is no recording; give it the ending of what it is")
    if not media.serves("speech"):
        media.text(0, "speech", lambda: None)
        return Reading("", kind.media_type, warnings=(f"a recording has no text of its own; {ADVICE}",))
    try:
        sound = _opened(data, kind)
        heard = _heard(sound, media) if sound else _heard_whole(data, kind, name, media)
    except NoSoundError as error:
        return Reading("", kind.media_type, warnings=(f"no text: {error}",))
    except SoundError as error:
        advice = "play it to see whether it is whole" if pyav_is_installed() else INSTALL_PYAV
        raise DocumentReadError(f"cannot read {name!r}: it cannot be decoded ({error}); {advice}") from error
    return _reading(heard, kind, sound, media)


def _opened(data: bytes, kind: SoundKind) -> Sound | None:
    """Return the sound of a file; None where nothing here can decode it."""
    if pyav_is_installed():
        return PyavSound(data, kind)
    return WavSound(data) if kind.media_type == "audio/wav" else None


# --- asking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a recording with what was heard in them, its length, and how much of it is silent, in seconds."""

    heard: tuple[Heard, ...]
    seconds: float
    silent_s: float = 0.0


def _heard(sound: Sound, media: Media) -> _Parts:
    """Cut a recording and ask for the text of each part in which there is something to hear."""
    limits = media.limits("speech")
    encoding = _encoding(sound, limits)
    max_samples = min(int(limits.max_seconds * sound.rate), (limits.max_bytes - _OVERHEAD_BYTES) // 2)
    decoder = decoder_version() if isinstance(sound, PyavSound) else "wav"
    media.number_by(f"{decoder}, {sound.rate} Hz, {max_samples}")  # other parts have other places
    heard: list[Heard] = []
    n_samples = n_silent = 0
    for place, part in enumerate(stretches(sound.blocks(), sound.rate, max_samples=max_samples)):
        n_samples = part.end
        if is_silent(part.samples, sound.rate):
            n_silent += len(part.samples) - part.n_shared
            continue
        text = media.text(place, "speech", lambda part=part: _medium(part, sound.rate, encoding))  # type: ignore[misc]
        if media.is_full:
            break  # what is noted is asked for first; this document is not
        start_s, end_s = part.start / sound.rate, part.end / sound.rate
        heard.append(Heard(start_s, end_s, text, shared_s=part.n_shared / sound.rate))
    return _Parts(tuple(heard), n_samples / sound.rate, n_silent / sound.rate)


def _encoding(sound: Sound, limits: MediaLimits) -> str:
    """Return what parts are sent as: the first that the endpoint takes and that can be made here."""
    can_make = ("audio/flac", "audio/wav") if isinstance(sound, PyavSound) else ("audio/wav",)
    found = next((name for name in limits.media_types or can_make if name in can_make), "")
    if not found:
        raise SoundError(f"the endpoint takes {', '.join(limits.media_types)}, which cannot be made here")
    return found


def _medium(part: Stretch, rate: int, media_type: str) -> Medium:
    encode = flac_bytes if media_type == "audio/flac" else wav_bytes
    return Medium("speech", media_type, encode(part.samples, rate), seconds=len(part.samples) / rate)


def _heard_whole(data: bytes, kind: SoundKind, name: str, media: Media) -> _Parts:
    """Ask for the text of a recording as it is: nothing here can decode it."""
    limits = media.limits("speech")
    if len(data) > limits.max_bytes:
        found = f"it has {len(data) / 1e6:,.0f} MB, and {limits.max_bytes / 1e6:,.0f} can be sent at once"
    elif kind.upload_type not in (limits.media_types or (kind.upload_type,)) or not kind.upload_type:
        found = f"the endpoint does not take {kind.media_type}"
    else:
        media.number_by("whole")
        text = media.text(0, "speech", lambda: Medium("speech", kind.upload_type, data))
        return _Parts((Heard(0.0, text.usage.seconds if text else 0.0, text),), 0.0)
    raise DocumentReadError(
        f"cannot read {name!r}: {found}; to have it cut and converted, {INSTALL_PYAV} and run the same command again"
    )


# --- telling ---------------------------------------------------------------------------------------------------------


def _reading(parts: _Parts, kind: SoundKind, sound: Sound | None, media: Media) -> Reading:
    draft = transcript(parts.heard)
    tags = dict(sound.tags) if sound else {}
    warnings = [*_said(parts, media, has_text=draft.has_text)]
    if sound and sound.problem:
        warnings.append(sound.problem)
    return draft.reading(
        kind.media_type,
        title=tags.pop("title", ""),
        metadata=tags | _metadata(parts),
        warnings=tuple(warnings),
    )


def _metadata(parts: _Parts) -> dict[str, str]:
    texts = [part.text for part in parts.heard if part.text is not None and part.text.text]
    return {
        "duration": clock(parts.seconds) if parts.seconds else "",
        "language": ", ".join(dict.fromkeys(text.language for text in texts if text.language)),
        "transcribed_by": ", ".join(sorted({text.reader for text in texts})),
    }


def _said(parts: _Parts, media: Media, *, has_text: bool) -> Iterator[str]:
    """Yield what is to be said of a recording beside its text."""
    known = [(part, part.text) for part in parts.heard if part.text is not None]
    for reader in sorted({text.reader for _, text in known if text.text}):
        seconds = sum(part.end_s - part.start_s - part.shared_s for part, text in known if text.reader == reader)
        yield f"{clock(seconds)} was transcribed by the model {reader}, which may mishear"
    yield from _told([f"from {clock(part.start_s)} on: {text.note}" for part, text in known if text.note])
    yield from _told([f"{part.clocks} was not transcribed: {text.refusal}" for part, text in known if text.refusal])
    if any(part.end_s - part.start_s > _LONG_S and text.text and not text.segments for part, text in known):
        yield "the endpoint told no times: a place is that of its stretch; set audio.part_seconds for shorter ones"
    if len(known) > 1 and any(segment.speaker for _, text in known for segment in text.segments):
        yield "speakers are named anew in each stretch: one who is called A may be called B in the next"
    if media.given_up:
        yield f"parts of it were not transcribed: {media.given_up}"
    if parts.silent_s and has_text:
        yield f"{clock(parts.silent_s)} of it is silent, and was not sent"
    if not has_text and not any(text.refusal for _, text in known) and not media.given_up:
        yield f"no text: {_why_nothing(parts, media)}"


def _why_nothing(parts: _Parts, media: Media) -> str:
    if not parts.heard:
        return "it is silent" if parts.silent_s else "nothing in it could be decoded"
    return f"nothing is said in it, as far as {media.serves('speech')} hears"


def _told(said: Sequence[str]) -> Iterator[str]:
    yield from said[:_MAX_TOLD]
    if len(said) > _MAX_TOLD:
        yield f"{len(said) - _MAX_TOLD} more stretches likewise"
