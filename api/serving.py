"""Runs the service: binds, says where it listens, serves until told to stop."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from api.app import create_app
from api.auth import check_binding
from api.footnote import Footnote
from api.keys import ReaderKeys
from rag.errors import ConfigError

__all__ = ["listen", "serve"]

KEEP_ALIVE_S = 75
"""Longer than the usual 60 s of a proxy in front, so that it is the proxy that ends idle connections."""
GRACE_S = 10
"""What answers under way get to finish, once the service is told to stop."""


async def serve(footnote: Footnote) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and close the Footnote.

    The signal is raised again once that is done, so that the process ends as its caller expects.
    Raises ConfigError, before anything listens, when the address is open to the network and no key is set, or taken.
    """
    server = footnote.settings.server
    check_binding(server, ReaderKeys(footnote.settings.library))
    with listen(server.host, server.port) as listener:
        config = uvicorn.Config(
            create_app(footnote),
            loop="asyncio",
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here depends on the client's address
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"Footnote listens on http://{shown}:{port} (documentation: /docs; stop with Ctrl-C)\n")
        sys.stderr.flush()
        await uvicorn.Server(config).serve(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ConfigError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # subtle: asyncio turns Nagle's algorithm off only where the protocol is named; with it, each reply waits 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two services share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {reason}; choose another address with server.host and server.port"
        ) from error
    return listener
