"""Speech to text: an upload taken apart, and what was heard in every shape that is asked for."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A form with a file: ``task`` is "transcriptions" or "translations", ``data`` the file's bytes."""

    task: str
    filename: str
    content_type: str
    fields: Mapping[str, str]
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Said:
    """One segment. ``no_speech_prob``, ``avg_logprob`` and ``compression_ratio`` are those of a sure model."""

    start_s: float
    end_s: float
    text: str
    speaker: str = "A"
    no_speech_prob: float = 0.01
    avg_logprob: float = -0.2
    compression_ratio: float = 1.2


def upload_of(path: str, content_type: str, body: bytes) -> Upload:
    """Return what a multipart body holds (RFC 7578)."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: dict[str, str] = {}
    filename, kind, data = "", "", b""
    for part in form.iter_parts():  # type: ignore[attr-defined]
        payload = part.get_payload(decode=True)
        if part.get_filename() is None:
            fields[part.get_param("name", header="content-disposition")] = payload.decode()
        else:
            filename, kind, data = part.get_filename(), part.get_content_type(), payload
    return Upload(path.rsplit("/", 1)[-1], filename, kind, fields, data)


def transcription_reply(upload: Upload, said: Sequence[Said], *, seconds: float) -> JSON | str:
    """Return what was said, as the request wants it told."""
    text = " ".join(item.text for item in said)
    usage = {"type": "duration", "seconds": round(seconds)}
    match upload.fields.get("response_format", "json"):
        case "verbose_json":
            segments = [_segment(number, item) for number, item in enumerate(said)]
            task = "transcribe" if upload.task == "transcriptions" else "translate"
            return {
                "task": task,
                "language": upload.fields.get("language", "english"),
                "duration": seconds,
                "text": text,
                "segments": segments,
                "usage": usage,
            }
        case "diarized_json":
            turns = [
                {
                    "type": "transcript.text.segment",
                    "id": f"seg_{number}",
                    "start": item.start_s,
                    "end": item.end_s,
                    "text": item.text,
                    "speaker": item.speaker,
                }
                for number, item in enumerate(said)
            ]
            return {"task": "transcribe", "duration": seconds, "text": text, "segments": turns, "usage": usage}
        case "text":
            return f"{text}\n"
        case "srt":
            cues = [
                f"{n}\n{_clock(item.start_s)} --> {_clock(item.end_s)}\n{item.text}\n" for n, item in _counted(said)
            ]
            return "\n".join(cues)
        case "vtt":
            cues = [
                f"{_clock(item.start_s, '.')} --> {_clock(item.end_s, '.')}\n{item.text}\n"
                for _, item in _counted(said)
            ]
            return "WEBVTT\n\n" + "\n".join(cues)
    return {"text": text, "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}}


def _segment(number: int, item: Said) -> JSON:
    return {
        "id": number,
        "seek": 0,
        "start": item.start_s,
        "end": item.end_s,
        "text": f" {item.text}",
        "tokens": [50364],
        "temperature": 0.0,
        "avg_logprob": item.avg_logprob,
        "compression_ratio": item.compression_ratio,
        "no_speech_prob": item.no_speech_prob,
    }


def _counted(said: Sequence[Said]) -> list[tuple[int, Said]]:
    return list(enumerate(said, start=1))


def _clock(seconds: float, point: str = ",") -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{round(1000 * (seconds - whole)):03}"
