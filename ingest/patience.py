"""What a refused request means for those after it: said to the pacer in one way, and when waiting is over."""

from __future__ import annotations

from ingest.pacing import Pacer, Ticket
from ingest.refusals import Refusal
from rag.errors import EndpointTimeoutError, EndpointUnreachableError, RagError

__all__ = ["is_over", "tell"]

_FIRST_PATIENCE_S = 30.0
"""Patience with an address where nobody has answered yet: it is more likely wrong than busy."""


def tell(pacer: Pacer, ticket: Ticket, error: RagError, refusal: Refusal) -> bool:
    """Tell the pacer what became of a request; return whether the same may succeed later."""
    if refusal.kind == "rate":
        pacer.refuse(ticket, retry_after_s=refusal.retry_after_s)
    elif refusal.kind == "trouble":
        pacer.fail(ticket, _trouble(error), retry_after_s=refusal.retry_after_s)
    else:
        pacer.end(ticket)
        return False
    return True


def is_over(troubled_s: float, error: RagError, refusal: Refusal, *, patience_s: float, has_succeeded: bool) -> bool:
    """Return whether patience has ended, or would before the endpoint wants to be asked again."""
    if not has_succeeded and isinstance(error.__cause__, EndpointUnreachableError):
        patience_s = min(patience_s, _FIRST_PATIENCE_S)
    return troubled_s >= patience_s or troubled_s + (refusal.retry_after_s or 0) > patience_s


def _trouble(error: RagError) -> str:
    """Return the reason for a pause in a few words."""
    if isinstance(error.__cause__, EndpointUnreachableError):
        return "out of reach"
    if isinstance(error.__cause__, EndpointTimeoutError):
        return "does not answer in time"
    return f"failing (status {getattr(error.__cause__, 'status', None)})"
