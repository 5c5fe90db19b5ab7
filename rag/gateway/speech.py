"""Recordings read by a model that transcribes: what was said, when, and how sure the model is of it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence

from rag.errors import EndpointError, MediaError, MediaSizeError
from rag.gateway.audio import ReplyFormat, Segment, Task, Transcript, TranscriptionRequest, transcribe
from rag.gateway.endpoint import EndpointClient
from rag.gateway.providers import SpeechModel
from rag.prices import UsagePrice
from rag.types import MediaLimits, MediaProfile, MediaText, MediaUsage, Medium, TimedText

__all__ = ["PART_S", "PART_WITHOUT_TIMES_S", "SpeechReader"]

PART_S = 600.0
"""The longest stretch that is sent to a model that tells times: at 32 kB a second below every endpoint's 25 MB."""
PART_WITHOUT_TIMES_S = 60.0
"""The longest where a model tells none: a citation then names the stretch, and a minute can still be listened to."""
READING_VERSION = 1
"""A part of the identity: raised when another text would be made of the same reply."""

# The thresholds at which Whisper's own decoder takes a segment for silence, or for a loop that it cannot leave.
# https://github.com/openai/whisper/blob/main/whisper/transcribe.py
_NO_SPEECH = 0.6
_UNSURE = -1.0
_REPEATS = 2.4
_BAD_REQUEST = frozenset({400, 415, 422})
_TOO_LONG = re.compile(
    r"too (?:large|long|big)|longer than|exceeds?\b.{0,40}(?:size|duration|length|limit)", re.IGNORECASE
)
_REPLY_FORMAT = re.compile(r"response_format|verbose_json|diarized_json", re.IGNORECASE)
_FILE_FORMAT = re.compile(r"format|decod|codec|unsupported", re.IGNORECASE)
_MARGIN_BYTES = 64 * 1024
"""What the form around a recording takes, and the container: an endpoint counts them too."""


class SpeechReader:
    """Satisfies ``rag.contracts.MediaReader`` for speech. The endpoint is asked once a call; the caller has a pace.

    ``known`` is what is known of the model; ``reply_format``, ``part_s`` and ``media_type`` overrule it where given.
    """

    def __init__(
        self,
        client: EndpointClient,
        *,
        model: str,
        known: SpeechModel,
        price: UsagePrice | None,
        task: Task = "transcribe",
        reply_format: ReplyFormat | None = None,
        language: str = "",
        prompt: str = "",
        temperature: float | None = None,
        part_s: float | None = None,
        media_type: str = "",
        concurrency: int = 4,
        max_concurrency: int = 32,
        patience_s: float = 600.0,
    ) -> None:
        self._client = client
        self._task: Task = task
        self._reply_format: ReplyFormat = reply_format or known.reply_format
        self._language = language
        self._prompt = prompt
        self._temperature = temperature
        has_times = self._reply_format not in ("json", "text")
        asked = hashlib.sha256(f"{language}\0{prompt}\0{temperature}".encode()).hexdigest()[:12]
        self._profile = MediaProfile(
            title=model,
            identity=f"speech {model} {task} {self._reply_format} {READING_VERSION} {asked}",
            price=price,
            limits=MediaLimits(
                max_bytes=known.max_bytes - _MARGIN_BYTES,
                max_seconds=min(part_s or (PART_S if has_times else PART_WITHOUT_TIMES_S), known.max_seconds),
                media_types=(media_type,) if media_type else known.media_types,
            ),
            concurrency=min(concurrency, max_concurrency),
            max_concurrency=max_concurrency,
            patience_s=patience_s,
            endpoint=client.endpoint.address,
        )

    @property
    def profile(self) -> MediaProfile:
        return self._profile

    def expected_usage(self, medium: Medium) -> MediaUsage:
        """Return the seconds that it lasts, which is what is paid for; estimated where they could not be counted."""
        return MediaUsage(seconds=medium.seconds or _about_seconds(medium), estimated=not medium.seconds)

    async def read(self, medium: Medium) -> MediaText:
        """Return what is said, without what the model itself takes for silence. Raises MediaError."""
        request = TranscriptionRequest(
            medium,
            self._profile.title,
            task=self._task,
            reply_format=self._reply_format,
            language=self._language,
            prompt=self._prompt,
            temperature=self._temperature,
        )
        try:
            transcript = await transcribe(self._client, request, retries=False)
        except EndpointError as error:
            if _is_too_long(error):
                raise MediaSizeError(f"{error}; set audio.part_seconds to send shorter stretches") from error
            raise MediaError(f"{error}{_advice(error)}") from error
        heard = [segment for segment in transcript.segments if not _is_silence(segment)]
        notes = [*_notes(transcript, heard), *self._about_translation(transcript)]
        text = " ".join(segment.text for segment in heard) if transcript.segments else transcript.text
        return MediaText(
            text,
            tuple(TimedText(segment.start_s, segment.end_s, segment.text, segment.speaker) for segment in heard),
            note="; ".join(notes),
            usage=self._usage(transcript, medium),
            language=transcript.language or self._language,
        )

    def _usage(self, transcript: Transcript, medium: Medium) -> MediaUsage:
        expected = self.expected_usage(medium)
        return MediaUsage(transcript.input_tokens, transcript.output_tokens, expected.seconds, expected.estimated)

    def _about_translation(self, transcript: Transcript) -> Iterator[str]:
        if self._task == "translate" and transcript.text:
            yield "it was translated into English: a citation quotes the translation, not what was said"


def _is_silence(segment: Segment) -> bool:
    """Tell whether the model says that it made the words up, by Whisper's own rule: no speech, and unsure of them."""
    return (
        segment.no_speech_prob is not None
        and segment.avg_logprob is not None
        and segment.no_speech_prob > _NO_SPEECH
        and segment.avg_logprob < _UNSURE
    )


def _notes(transcript: Transcript, heard: Sequence[Segment]) -> Iterator[str]:
    if n_silent := len(transcript.segments) - len(heard):
        yield f"{n_silent} of {len(transcript.segments)} segments were left out: the model takes them for silence"
    looped = [segment for segment in heard if (segment.compression_ratio or 0.0) > _REPEATS]
    if looped:
        first_s = math.floor(looped[0].start_s)
        said = f"{len(looped)} of {len(transcript.segments)} segments repeat themselves"
        yield f"{said}, as the model does where it cannot hear, the first after {first_s} s of the stretch"


def _about_seconds(medium: Medium) -> float:
    """Return about how long a recording lasts that could not be looked into: as if 64 kbit were a second of it."""
    return len(medium.data) / 8_000


def _is_too_long(error: EndpointError) -> bool:
    """Tell whether an endpoint says that a recording is too large (nginx and others: 413) or too long (OpenAI: 400)."""
    return error.status == 413 or (error.status in _BAD_REQUEST and bool(_TOO_LONG.search(str(error))))


def _advice(error: EndpointError) -> str:
    """Return what helps where the endpoint does not know what it was asked for, or was sent."""
    if error.status not in _BAD_REQUEST:
        return ""
    if _REPLY_FORMAT.search(str(error)):
        return "; set audio.response_format to one that it knows"
    return "; set audio.format to one that it knows" if _FILE_FORMAT.search(str(error)) else ""
