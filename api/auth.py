"""Who may call: the service's own key, readers' keys; and without any, nothing but this machine's own programs."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from api.errors import ErrorReply, error_reply, reply_for_status
from api.keys import ReaderKeys
from rag.errors import ConfigError
from rag.settings import ServerOptions

__all__ = ["OPEN_PATHS", "OWNER", "Caller", "Gate", "check_binding", "is_loopback"]

OPEN_PATHS = frozenset({"/health"})
"""Routes that need no key: what a supervisor asks."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``labels`` are those of a reader's key; None for whoever may see and do everything."""

    name: str
    labels: frozenset[str] | None


OWNER = Caller("owner", None)


def check_binding(server: ServerOptions, keys: ReaderKeys) -> None:
    """Raise ConfigError for a service that would be open to the network without a key."""
    if not server.api_key and not is_loopback(server.host) and not keys.all():
        raise ConfigError(
            f"serving on {server.host!r} without a key would open the documents to the network; set server.api_key "
            "(RAG_SERVER_API_KEY), make readers' keys with `rag keys add`, or leave the host at 127.0.0.1"
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


class Gate:
    """Says who a request comes from, or why it is turned away."""

    def __init__(self, server: ServerOptions, keys: ReaderKeys) -> None:
        self._server = server
        self._keys = keys
        self._wants_key = bool(server.api_key)

    def admit(self, path: str, headers: Mapping[str, str]) -> Caller | ErrorReply:
        """Return the caller of a request. ``headers`` have lower-case names.

        Without a key, a page in the user's browser is the danger: it can send forms to 127.0.0.1, and by DNS rebinding
        read the replies under its own name. So Host and Origin must then be this machine. With keys, they decide; a
        service that has once seen one does not open itself when the last is taken back.
        """
        try:
            self._wants_key = self._wants_key or bool(self._keys.all())
        except ConfigError:
            self._wants_key = True  # nobody can tell whose keys these were
        if not self._wants_key:
            return _from_elsewhere(headers) or OWNER
        if path in OPEN_PATHS:
            return OWNER
        try:
            return self._by_key(headers.get("authorization", ""))
        except ConfigError as error:
            return error_reply(error)

    def _by_key(self, authorization: str) -> Caller | ErrorReply:
        scheme, _, sent = authorization.partition(" ")
        given = sent.strip()
        if scheme.lower() == "bearer" and given:
            own = self._server.api_key.encode()
            # compare_digest takes as long for a wrong key as for the right one
            if own and hmac.compare_digest(given.encode("utf-8", "replace"), own):
                return OWNER
            if (reader := self._keys.find(given)) is not None:
                return Caller(reader.name, frozenset(reader.labels))
        found = "the key in the Authorization header is not of this service" if authorization else "no key was sent"
        return reply_for_status(
            401,
            f"{found}; send 'Authorization: Bearer KEY' with the key in server.api_key, or one of `rag keys add`",
            headers={"www-authenticate": 'Bearer realm="footnote"'},
        )


def _from_elsewhere(headers: Mapping[str, str]) -> ErrorReply | None:
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


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
