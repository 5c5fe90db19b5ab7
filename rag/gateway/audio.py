"""Speech to text by an endpoint: what is sent, and what comes back in whichever of the known shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.errors import EndpointResponseError
from rag.gateway.endpoint import EndpointClient
from rag.gateway.multipart import multipart_body
from rag.types import Medium

__all__ = ["ReplyFormat", "Segment", "Task", "Transcript", "TranscriptionRequest", "transcribe"]

Task = Literal["transcribe", "translate"]
ReplyFormat = Literal["json", "verbose_json", "diarized_json", "text", "srt", "vtt"]

_ROUTES: Mapping[Task, str] = {"transcribe": "/audio/transcriptions", "translate": "/audio/translations"}
_ENDINGS = {
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/ogg": "ogg",
    "audio/webm": "webm",
}
"""Endpoints tell the format by the end of the file's name."""
_CUE = re.compile(
    r"^[ \t]*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})[ \t]*-->[ \t]*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A recording and how it is to be transcribed, or translated into English.

    ``language`` is the one spoken (ISO 639-1, "": the model finds out), ``prompt`` a hint at names and style. None and
    "" leave the endpoint's default.
    """

    medium: Medium
    model: str
    task: Task = "transcribe"
    reply_format: ReplyFormat = "json"
    language: str = ""
    prompt: str = ""
    temperature: float | None = None

    def fields(self) -> dict[str, str]:
        """Return the form's fields beside the file; "json" goes unsaid: it is the default, and not all know it."""
        fields = {"model": self.model}
        if self.reply_format != "json":
            fields["response_format"] = self.reply_format
        if self.reply_format == "verbose_json" and self.task == "transcribe":
            fields["timestamp_granularities[]"] = "segment"
        if self.reply_format == "diarized_json":
            fields["chunking_strategy"] = "auto"  # required beyond 30 seconds
        if self.language and self.task == "transcribe":
            fields["language"] = self.language
        if self.prompt:
            fields["prompt"] = self.prompt
        if self.temperature is not None:
            fields["temperature"] = f"{self.temperature:g}"
        return fields


@dataclass(frozen=True, slots=True)
class Segment:
    """What is said between two moments, in seconds; the figures are Whisper's own doubts, where they are told."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""
    no_speech_prob: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A reply. ``segments`` is empty where the endpoint gives no times; tokens are 0 where it does not count them."""

    text: str
    segments: tuple[Segment, ...] = ()
    language: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def transcribe(client: EndpointClient, request: TranscriptionRequest, *, retries: bool = True) -> Transcript:
    """Return what is said in a recording. Raises EndpointError, also for a reply that is no transcript."""
    medium = request.medium
    form = multipart_body(
        request.fields(),
        medium.data,
        filename=f"speech.{_ENDINGS.get(medium.media_type, 'wav')}",
        content_type=medium.media_type,
    )
    reply = await client.post_form(_ROUTES[request.task], form, retries=retries)
    return _from_text(reply) if isinstance(reply, str) else _from_json(reply)


def _from_json(reply: Mapping[str, Any]) -> Transcript:
    segments = tuple(_segments(reply.get("segments")))
    text = reply.get("text")
    if not isinstance(text, str):
        if not segments:
            raise EndpointResponseError("the reply holds no text; check that the model transcribes", status=200)
        text = " ".join(segment.text for segment in segments)
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Transcript(
        text.strip(),
        segments,
        _language(reply),
        input_tokens=_count(counts.get("input_tokens")),
        output_tokens=_count(counts.get("output_tokens")),
        raw=reply,
    )


def _segments(found: Any) -> Iterable[Segment]:
    """Yield the segments that have a text and a time, in their order."""
    for item in found if isinstance(found, list) else ():
        text = item.get("text") if isinstance(item, dict) else None
        start_s = _number(item.get("start")) if isinstance(item, dict) else None
        if not isinstance(text, str) or not text.strip() or start_s is None:
            continue
        end_s = _number(item.get("end"))
        yield Segment(
            max(0.0, start_s),
            max(0.0, start_s, end_s if end_s is not None else start_s),
            text.strip(),
            speaker=str(item.get("speaker") or ""),
            no_speech_prob=_number(item.get("no_speech_prob")),
            avg_logprob=_number(item.get("avg_logprob")),
            compression_ratio=_number(item.get("compression_ratio")),
        )


def _language(reply: Mapping[str, Any]) -> str:
    """Return the language that the endpoint says it heard: a name ("english") or a code, as the model has it."""
    language = reply.get("language")
    if isinstance(language, str):
        return language
    several = reply.get("languages")
    codes = [item.get("code") if isinstance(item, dict) else item for item in several or ()] if several else []
    return ", ".join(code for code in codes if isinstance(code, str))


def _from_text(reply: str) -> Transcript:
    """Return the transcript that plain text is: subtitles (SRT, WebVTT) with their times, or nothing but what is said.

    >>> _from_text("1\\n00:00:01,500 --> 00:00:04,000\\nHello.\\n").segments[0].start_s
    1.5
    """
    reply = reply.replace("\r\n", "\n")
    cues = list(_CUE.finditer(reply))
    if not cues:
        return Transcript(reply.strip())
    segments: list[Segment] = []
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        block = reply[cue.end() : following.start() if following else len(reply)].partition("\n")[2]
        text = " ".join(block.partition("\n\n")[0].split())
        if text:
            segments.append(Segment(_seconds(cue[1]), _seconds(cue[2]), text))
    return Transcript(" ".join(segment.text for segment in segments), tuple(segments))


def _seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
