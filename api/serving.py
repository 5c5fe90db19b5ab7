"""Runs the service: binds, says where it listens, serves until told to stop."""

from __future__ import annotations

import socket
import sys

import uvicorn

from api.app import create_app
from api.auth import check_binding
from api.footnote import Footnote
from rag.errors import ConfigError
from rag.settings import ServerOptions

__all__ = ["serve"]

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
    check_binding(server)
    with _bound(server) as listener:
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


def _bound(server: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host.strip("[]"), server.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {server.host}:{server.port}: {reason}; choose another with server.host and server.port"
        ) from error
