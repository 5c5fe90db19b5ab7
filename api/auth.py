"""Who may call: the bearer key, and for a service without one, nothing but this machine's own programs."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from api.errors import ErrorReply, reply_for_status
from rag.errors import ConfigError
from rag.settings import ServerOptions

__all__ = ["OPEN_PATHS", "check_binding", "is_loopback", "refusal"]

OPEN_PATHS = frozenset({"/health"})
"""Routes that need no key: what a supervisor asks."""


def check_binding(server: ServerOptions) -> None:
    """Raise ConfigError for a service that would be open to the network without a key."""
    if not server.api_key and not is_loopback(server.host):
        raise ConfigError(
            f"serving on {server.host!r} without a key would open the documents to the network; set server.api_key "
            "(RAG_SERVER_API_KEY), or leave the host at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host name or address, as in a setting or a Host header without port, is this machine only."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refusal(server: ServerOptions, path: str, headers: Mapping[str, str]) -> ErrorReply | None:
    """Return why a request is turned away, or None. ``headers`` have lower-case names.

    Without a key, a page in the user's browser is the danger: it can send forms to 127.0.0.1, and by DNS rebinding read
    the replies under its own name. So Host and Origin must then be this machine. With a key, the key decides.
    """
    if server.api_key:
        return None if path in OPEN_PATHS else _without_key(server.api_key, headers.get("authorization", ""))
    host = _host_name(f"//{headers.get('host', '')}")
    if not is_loopback(host):
        return reply_for_status(
            403,
            f"this service has no key and answers to this machine's names only, not to {host!r}; "
            "call it as 127.0.0.1 or localhost, or set server.api_key (RAG_SERVER_API_KEY)",
            code="host_not_allowed",
        )
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_name(origin)):
        return reply_for_status(
            403,
            f"pages of {origin!r} may not call this service; set server.api_key and call it from a server of yours",
            code="origin_not_allowed",
        )
    return None


def _without_key(key: str, authorization: str) -> ErrorReply | None:
    scheme, _, given = authorization.partition(" ")
    # compare_digest takes as long for a wrong key as for the right one
    matches = hmac.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())
    if scheme.lower() == "bearer" and matches:
        return None
    found = "the key in the Authorization header is not the service's" if authorization else "no key was sent"
    return reply_for_status(
        401,
        f"{found}; send 'Authorization: Bearer KEY' with the key in server.api_key",
        headers={"www-authenticate": 'Bearer realm="footnote"'},
    )


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
