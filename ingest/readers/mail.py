"""Mail: single messages and mailboxes. Header and body in whatever encoding; attachments are named, not read."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import EmailMessage
from typing import cast

from ingest.readers.draft import Draft, one_line
from ingest.readers.encoding import decode
from ingest.readers.html import LABELS, read_html
from ingest.readers.reading import Reading

__all__ = ["decoded_header", "read_eml", "read_mbox"]

_SHOWN = ("From", "To", "Cc", "Date")
_POSTMARK = re.compile(rb"^From \S.*\d{4}[^\n]*\r?\n", re.MULTILINE)
_QUOTED_POSTMARK = re.compile(rb"^>(>*From )", re.MULTILINE)


def read_eml(data: bytes, name: str) -> Reading:
    """Read a mail message: subject, sender, receivers, date, the text (else the HTML), names of attachments."""
    draft = Draft()
    metadata = _write(draft, data)
    return draft.reading("message/rfc822", metadata=metadata)


def read_mbox(data: bytes, name: str) -> Reading:
    """Read a mailbox: each message under its subject; a place is "message 3"."""
    edges = [match for match in _POSTMARK.finditer(data) if _parts_messages(data, match.start())]
    draft = Draft()
    for number, match in enumerate(edges, start=1):
        end = edges[number].start() if number < len(edges) else len(data)
        draft.page(f"message {number}")
        _write(draft, _QUOTED_POSTMARK.sub(rb"\1", data[match.end() : end]))
    reading = draft.reading("application/mbox", title=name.rpartition("/")[2], metadata={"messages": str(len(edges))})
    return reading if edges else read_eml(data, name)


def _parts_messages(data: bytes, start: int) -> bool:
    return start == 0 or data[max(start - 4, 0) : start].replace(b"\r", b"").endswith(b"\n\n")


def _write(draft: Draft, data: bytes) -> dict[str, str]:
    """Write one message to a draft; return its headers as metadata."""
    message = message_from_bytes(data, policy=policy.default)
    headers = {name.lower(): decoded_header(str(value)) for name, value in reversed(list(message.raw_items()))}
    draft.heading(1, headers.get("subject", ""))
    draft.add("\n".join(f"{name}: {headers[name.lower()]}" for name in _SHOWN if headers.get(name.lower())))
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        _write_body(draft, cast(EmailMessage, body))
    names = (
        [
            f"Attachment: {decoded_header(part.get_filename() or 'without a name')} ({part.get_content_type()})"
            for part in message.iter_attachments()
        ]
        if message.is_multipart()
        else []
    )
    draft.add("\n".join(names))
    return {name: headers[name] for name in ("from", "to", "date") if headers.get(name)}


def _write_body(draft: Draft, body: EmailMessage) -> None:
    raw = body.get_payload(decode=True)
    text = _decoded(raw if isinstance(raw, bytes) else b"", body.get_content_charset())
    if body.get_content_subtype() == "html":
        # As marked UTF-8: what the page says of its own encoding was true before the mail was taken apart.
        draft.include(read_html(text.encode("utf-8-sig", "replace"), "", is_page=False))
    else:
        draft.add(text)


def _decoded(raw: bytes, label: str | None) -> str:
    """Decode as the mail says where that holds, else as it looks."""
    if label:
        try:
            return raw.decode(LABELS.get(label.lower(), label))
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(raw).text


def decoded_header(value: str) -> str:
    """Return a header as it is meant: encoded words decoded, raw bytes (as lone surrogates) by their look."""
    raw = value.encode("ascii", "surrogateescape") if _is_raw(value) else None
    if raw is not None and not raw.isascii():
        return one_line(decode(raw).text)
    try:
        words = decode_header(value)
    except HeaderParseError:
        return one_line(value)
    pieces = (word if isinstance(word, str) else _decoded(word, label) for word, label in words)
    return one_line("".join(pieces))


def _is_raw(value: str) -> bool:
    """Tell whether a header is as it came: ASCII, with other bytes as lone surrogates."""
    return all(character < "\x80" or "\udc80" <= character <= "\udcff" for character in value)
