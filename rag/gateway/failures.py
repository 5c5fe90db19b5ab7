"""Why a request got no answer, in words: the same whichever HTTP client carried it."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from rag.errors import EndpointError, EndpointTimeoutError, EndpointUnreachableError
from rag.gateway.transport import HttpRequest

__all__ = ["FailureKind", "failure", "is_this_machine"]

FailureKind = Literal["connect timeout", "pool timeout", "silence", "no request", "no connection", "broken"]


def failure(kind: FailureKind, cause: Exception, request: HttpRequest) -> EndpointError:
    """Return our error for a client's. The message names the address, without query, user or password."""
    parts = urlsplit(request.url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    timeouts, reason = request.timeouts, _reason(cause)
    if kind == "connect timeout":
        found = f"no connection within {timeouts.connect_s:g} s; check the base URL, the network and the proxy"
        return EndpointTimeoutError(f"{place}: {found}", retriable=True)
    if kind == "pool timeout":
        found = f"all connections were busy for {timeouts.pool_s:g} s; lower the concurrency"
        return EndpointTimeoutError(f"{place}: {found}", retriable=True)
    if kind == "silence":
        found = f"no answer within {timeouts.read_s:g} s; raise timeout_s or try again later"
        return EndpointTimeoutError(f"{place}: {found}", retriable=True)
    if kind == "no request":
        return EndpointUnreachableError(f"{place}: no request can be made ({reason}); check the base URL")
    if "CERTIFICATE_VERIFY_FAILED" in str(cause):
        advice = "if a proxy of yours re-encrypts, set SSL_CERT_FILE to its certificate"
        return EndpointUnreachableError(f"{place}: its certificate is not trusted; {advice}")
    if kind == "no connection":
        local = is_this_machine(parts.hostname or "")
        advice = "is the server running?" if local else "check the base URL and network"
        return EndpointUnreachableError(f"{place}: no connection ({reason}); {advice}", retriable=True)
    return EndpointUnreachableError(f"{place}: the connection broke ({reason}); try again", retriable=True)


def is_this_machine(host: str) -> bool:
    """Return whether a host is a loopback address or a name of one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
