"""A scripted web site over real HTTP on 127.0.0.1: pages by path, a record of every request, and faults."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

__all__ = ["Reply", "Request", "Website", "page"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names are lower case."""

    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a path answers. ``pieces`` are sent in place of a body of known length, ``pause_s`` apart.

    ``validates`` answers 304 to a request that has the body's ETag.
    """

    body: bytes = b""
    content_type: str = "text/html"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Iterable[bytes] | None = None
    pause_s: float = 0.0
    validates: bool = True

    @property
    def etag(self) -> str:
        return f'"{sha256(self.body).hexdigest()[:16]}"'


def page(text: str, title: str = "A page") -> Reply:
    """Return an HTML page whose main text this is."""
    return Reply(f"<html><head><title>{title}</title></head><body><main><p>{text}</p></main></body></html>".encode())


class Website:
    """A site whose ``replies`` may be changed while it runs; a function is asked anew each time. Others are a 404."""

    def __init__(self, *, host: str = "127.0.0.1", trust: ssl.SSLContext | None = None) -> None:
        self.replies: dict[str, Reply | Callable[[], Reply]] = {}
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        if trust is not None:
            self._server.socket = trust.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if trust else ''}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Website:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        """Return what was asked for, in order, but for robots.txt."""
        return [request.path for request in self.requests if request.path != "/robots.txt"]

    def sitemap(self, *paths: str, at: str = "/sitemap.xml", of: str = "urlset") -> str:
        """Put a sitemap of these paths on the site, and return its address."""
        entry = "url" if of == "urlset" else "sitemap"
        named = (path if path.startswith("http") else self.url + path for path in paths)
        entries = "".join(f"<{entry}><loc>{address}</loc></{entry}>" for address in named)
        xml = f"<?xml version='1.0'?><{of} xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{entries}</{of}>"
        self.replies[at] = Reply(xml.encode(), "application/xml")
        return self.url + at

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.requests.append(Request(self.path, headers))
                found = site.replies.get(self.path, Reply(status=404))
                try:
                    self._send(found if isinstance(found, Reply) else found(), headers)
                except OSError:  # the client has gone, as it may
                    self.close_connection = True

            def _send(self, reply: Reply, headers: Mapping[str, str]) -> None:
                is_same = reply.validates and reply.status == 200 and headers.get("if-none-match") == reply.etag
                self.send_response(304 if is_same else reply.status)
                if reply.content_type:
                    self.send_header("content-type", reply.content_type)
                if reply.validates and reply.status == 200:
                    self.send_header("etag", reply.etag)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if is_same:
                    self.end_headers()
                elif reply.pieces is None:
                    self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                else:
                    self.send_header("connection", "close")
                    self.end_headers()
                    for piece in reply.pieces:
                        self.wfile.write(piece)
                        time.sleep(reply.pause_s)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
