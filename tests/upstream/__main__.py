"""Run the scripted endpoint by hand: ``python -m tests.upstream --port 8901``."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading

from tests.upstream.faults import Fault
from tests.upstream.server import Upstream


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=8901, help="0 takes a free one")
    parser.add_argument("--dimensions", type=int, default=384, help="of the embeddings")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before every reply")
    parser.add_argument("--events-per-s", type=float, default=None, help="speed of a chat stream")
    parser.add_argument("--concurrency", type=int, default=None, help="calls beyond this get a 429")
    options = parser.parse_args()
    with Upstream(port=options.port, dimensions=options.dimensions, concurrency=options.concurrency) as upstream:
        for family in ("chat", "embeddings", "moderations"):
            upstream.always(family, Fault(delay_s=options.delay, events_per_s=options.events_per_s))
        sys.stdout.write(f"{upstream.base_url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


main()
