"""Outlook messages; the only importer of python-oxmsg."""

from __future__ import annotations

import io

from ingest.readers.draft import Draft
from ingest.readers.html import read_html
from ingest.readers.mail import decoded_header
from ingest.readers.reading import Reading

__all__ = ["read_msg"]


def read_msg(data: bytes, name: str) -> Reading:
    """Read an Outlook message: subject, sender, receivers, date, body, names of attachments."""
    # Imported late: few folders hold such messages.
    from oxmsg import Message

    message = Message.load(io.BytesIO(data))
    sent = message.sent_date.isoformat(" ", "minutes") if message.sent_date else ""
    receivers = ", ".join(filter(None, (_address(each.name, each.email_address) for each in message.recipients)))
    headers = {"From": decoded_header(message.sender or ""), "To": receivers, "Date": sent}
    draft = Draft()
    draft.heading(1, message.subject or "")
    draft.add("\n".join(f"{key}: {value}" for key, value in headers.items() if value))
    if message.body and message.body.strip():
        draft.add(message.body)
    elif message.html_body:
        draft.include(read_html(message.html_body.encode("utf-8-sig", "replace"), name, is_page=False))
    draft.add(
        "\n".join(
            f"Attachment: {attachment.file_name or 'without a name'} ({attachment.mime_type or 'unknown type'})"
            for attachment in message.attachments
        )
    )
    metadata = {key.lower(): value for key, value in headers.items()}
    return draft.reading("application/vnd.ms-outlook", metadata=metadata)


def _address(name: str, email: str) -> str:
    return f"{name} <{email}>" if name and name != email else email or name
