"""A scripted OpenAI-compatible endpoint over real HTTP, for tests, benchmarks and trying things by hand.

    with Upstream() as upstream:
        upstream.script("chat", Fault(status=429, headers={"retry-after": "0"}))   # the next call fails, once
        upstream.reply = lambda request: "Water boils at 100 degrees [1]."
        ...                                                # point any client at upstream.base_url
        assert len(upstream.calls("chat")) == 2
        assert upstream.embedded["some text"] == 1          # nothing was paid for twice

In tests use the ``upstream`` fixture: one server for the whole run, reset before each test.
By hand: ``python -m tests.upstream --port 8901``.
"""

from tests.upstream.batches import BatchService
from tests.upstream.faults import Fault, error_body
from tests.upstream.replies import Message, embedding_of, pictures_of
from tests.upstream.server import Call, Upstream
from tests.upstream.speech import Said, Upload

__all__ = [
    "BatchService",
    "Call",
    "Fault",
    "Message",
    "Said",
    "Upload",
    "Upstream",
    "embedding_of",
    "error_body",
    "pictures_of",
]
