"""The option ``--seen-by``: what somebody with some access labels sees."""

from __future__ import annotations

from api.footnote import Footnote

__all__ = ["as_seen"]


def as_seen(footnote: Footnote, labels: str | None) -> Footnote:
    """Return a Footnote as ``--seen-by LABELS`` wants it; None is all of it, "" what is open to everybody."""
    if labels is None:
        return footnote
    return footnote.seen_by(label.strip() for label in labels.split(",") if label.strip())
