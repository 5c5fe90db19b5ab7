"""The server: real HTTP by uvicorn in a thread, a record of every call, and faults by family and call number."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import threading
import time
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import uvicorn

from tests.upstream.batches import BatchService
from tests.upstream.faults import Fault, error_body
from tests.upstream.replies import (
    Message,
    chat_events,
    chat_reply,
    cite_first_source,
    embeddings_reply,
    models_reply,
    moderations_reply,
    pictures_of,
    rerank_reply,
)
from tests.upstream.responses import as_chat, responses_events, responses_reply
from tests.upstream.speech import Said, Upload, transcription_reply, upload_of

_FAMILIES = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/moderations": "moderations",
    "/rerank": "rerank",
    "/models": "models",
    "/audio/transcriptions": "audio",
    "/audio/translations": "audio",
}


@dataclass(frozen=True)
class Call:
    """One request as it arrived. Header names are lower case; ``json`` is None where the body is none."""

    family: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    json: Any
    body: bytes = field(default=b"", repr=False)


@dataclass
class Upstream:
    """A scripted endpoint. Everything but the first two fields may be changed while it runs.

    ``embedded`` counts how often each text was embedded, ``seen`` how often each picture (by the SHA-256 of its bytes)
    was answered about in a chat, ``disconnects`` the clients that went away before the end of
    a reply, ``max_in_flight`` the most calls at once. ``key``: any other key is a 401. ``concurrency``: calls beyond it
    are a 429. ``refuse`` looks at the JSON of each embeddings call that has no scripted fault, and may give one.
    ``batching`` holds files and batches, ``flagged_words`` the moderation category of lower-case words. ``hear`` says
    what is said in a recording, ``heard`` counts how often each (by the SHA-256 of its bytes) was answered for.
    """

    port: int = 0
    host: str = "127.0.0.1"
    dimensions: int = 64
    key: str | None = None
    concurrency: int | None = None
    refuse: Callable[[dict[str, Any]], Fault | None] = lambda request: None
    base64_ok: bool = True
    models: tuple[str, ...] = ("stub-chat", "stub-embedding")
    flagged_words: Mapping[str, str] = field(default_factory=lambda: {"attack": "violence"})
    reply: Callable[[dict[str, Any]], str | Message] = cite_first_source
    batching: BatchService = field(default_factory=BatchService)
    requests: list[Call] = field(default_factory=list)
    embedded: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    hear: Callable[[Upload], Sequence[Said]] = lambda upload: (Said(0.0, 1.0, "Something was said."),)
    heard: Counter[str] = field(default_factory=Counter)
    disconnects: int = 0
    in_flight: int = 0
    max_in_flight: int = 0

    def __post_init__(self) -> None:
        self._faults: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}

    # --- scripting ---------------------------------------------------------------------------------------------------

    def script(self, family: str, *faults: Fault | None) -> None:
        """Give the next calls of a family ("chat", "embeddings", ...) these faults, one each; None is a good reply."""
        self._faults[family].extend(faults)

    def always(self, family: str, fault: Fault) -> None:
        """Give every call of a family this fault, after those scripted."""
        self._always[family] = fault

    def calls(self, family: str) -> list[Call]:
        return [call for call in self.requests if call.family == family]

    def uploads(self) -> list[Upload]:
        """Return the recordings that were sent, in order."""
        return [upload_of(call.path, call.headers["content-type"], call.body) for call in self.calls("audio")]

    def reset(self) -> None:
        """Forget records and faults, and restore every setting."""
        fresh = Upstream(port=self.port, host=self.host)
        for name in fresh.__dataclass_fields__:
            setattr(self, name, getattr(fresh, name))
        self._faults.clear()
        self._always.clear()

    def wait_until(self, claim: Callable[[], bool], *, timeout_s: float = 3.0) -> bool:
        """Wait until a claim holds (a disconnect is noticed a moment later); return whether it ever did."""
        deadline = time.monotonic() + timeout_s
        while not claim() and time.monotonic() < deadline:
            time.sleep(0.005)
        return claim()

    # --- running -----------------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    def __enter__(self) -> Upstream:
        listener = socket.create_server((self.host, self.port))
        # subtle: asyncio does this only for sockets that it has opened itself; else every reply waits 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_level="critical",
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=5)

    # --- answering ---------------------------------------------------------------------------------------------------

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        call = _call(scope, body)
        self.requests.append(call)
        reply = _Reply(send)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        answering = asyncio.create_task(self._answer_or_tell(call, reply))
        watching = asyncio.create_task(receive())  # after the request, this returns only when the client goes away
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not reply.is_finished and not answering.done():
                self.disconnects += 1
        finally:
            watching.cancel()
            if not reply.is_finished:
                answering.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
            self.in_flight -= 1

    async def _answer_or_tell(self, call: Call, reply: _Reply) -> None:
        try:
            await self._answer(call, reply)
        except Exception:  # a mistake in a test's script: let the test see it
            told = error_body(500, message=f"the upstream's script failed: {traceback.format_exc()}")
            await reply.whole(told, Fault(status=500, headers={"x-should-retry": "false"}))

    async def _answer(self, call: Call, reply: _Reply) -> None:
        fault = self._next_fault(call)
        if fault.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(fault.delay_s)
        if fault.body is not None:
            await reply.whole(fault.body, fault)
        elif fault.status >= 400:
            await reply.whole(error_body(fault.status), fault)
        elif call.family == "chat" and call.json.get("stream"):
            events = chat_events(call.json, self._message(call.json), len(self.requests))
            await reply.events(fault.edit_events(events) if fault.edit_events else events, fault)
        elif call.family == "responses" and call.json.get("stream"):
            events = responses_events(call.json, self._message(as_chat(call.json)), len(self.requests))
            edited = fault.edit_events(events) if fault.edit_events else events
            await reply.events(edited, replace(fault, done=False))  # this API has no [DONE]
        elif call.family in ("files", "batches"):
            answer = self.batching.answer(call, self._embeddings)
            if self.batching.keeps_silent(call):
                await asyncio.Event().wait()
            headers = {**self.batching.headers, **fault.headers}
            await reply.whole(answer.body, replace(fault, status=answer.status, headers=headers))
        else:
            good = self._good(call)
            if isinstance(good, str):
                fault = replace(fault, headers={"content-type": "text/plain; charset=utf-8", **fault.headers})
            await reply.whole(fault.edit(good) if fault.edit else good, fault)

    def _next_fault(self, call: Call) -> Fault:
        if self.key is not None and self.key not in (
            call.headers.get("authorization", "").removeprefix("Bearer "),
            call.headers.get("api-key"),
        ):
            return Fault(status=401)
        if call.family == "unknown":
            return Fault(status=404, body=error_body(404, message=f"Invalid URL ({call.method} {call.path})"))
        if self.concurrency is not None and self.in_flight > self.concurrency:
            return Fault(status=429, headers={"retry-after-ms": "20"})
        queue = self._faults[call.family]
        fault = queue.popleft() if queue else self._always.get(call.family)
        if fault is None and call.family == "embeddings":
            fault = self.refuse(call.json)
        return fault or Fault()

    def _message(self, request: dict[str, Any]) -> Message:
        answer = self.reply(request)
        self.seen.update(hashlib.sha256(picture).hexdigest() for picture in pictures_of(request))
        return Message(answer) if isinstance(answer, str) else answer

    def _good(self, call: Call) -> dict[str, Any] | str:
        if call.family == "models":
            return models_reply(self.models)
        if call.family == "chat":
            return chat_reply(call.json, self._message(call.json), len(self.requests))
        if call.family == "responses":
            return responses_reply(call.json, self._message(as_chat(call.json)), len(self.requests))
        if call.family == "moderations":
            given = call.json["input"]
            texts = [given] if isinstance(given, str) else list(given)
            return moderations_reply(call.json, texts, self.flagged_words)
        if call.family == "rerank":
            return rerank_reply(call.json)
        if call.family == "audio":
            upload = upload_of(call.path, call.headers["content-type"], call.body)
            self.heard[hashlib.sha256(upload.data).hexdigest()] += 1
            said = self.hear(upload)
            return transcription_reply(upload, said, seconds=max((item.end_s for item in said), default=0.0))
        return self._embeddings(call.json)

    def _embeddings(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = [request["input"]] if isinstance(request["input"], str) else list(request["input"])
        self.embedded.update(texts)
        dimensions = request.get("dimensions") or self.dimensions
        return embeddings_reply(request, texts, dimensions, base64_ok=self.base64_ok)


def _call(scope: Any, body: bytes) -> Call:
    family = next((name for suffix, name in _FAMILIES.items() if scope["path"].endswith(suffix)), "unknown")
    if kept := re.search(r"/(files|batches)(/|$)", scope["path"]):
        family = kept.group(1)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        content = json.loads(body) if body else None
    except ValueError:
        content = None
    return Call(family, scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, content, body)


class _Reply:
    """Sends one reply, with its faults. Returning before the end of a body makes uvicorn drop the connection."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.is_finished = False

    async def _start(self, fault: Fault, content_type: str, length: int | None = None) -> None:
        headers = {"content-type": content_type, "x-request-id": "req_upstream", **fault.headers}
        if length is not None:
            headers["content-length"] = str(length)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": fault.status, "headers": raw})

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        self.is_finished = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def whole(self, body: Any, fault: Fault) -> None:
        if isinstance(body, str):
            body = body.encode()
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        body = fault.preamble + body
        await self._start(fault, "application/json", len(body))
        if fault.cut_after is not None:
            await self._write(body[: len(body) // 2])
            self.is_finished = True  # as far as this side is concerned: the client did not leave
        else:
            await self._write(body, last=True)

    async def events(self, events: list[Any], fault: Fault) -> None:
        await self._start(fault, "text/event-stream")
        if fault.preamble:
            await self._write(fault.preamble)
        end = time.monotonic()
        for place, event in enumerate([*events, "[DONE]"] if fault.done else events):
            if fault.cut_after == place:
                self.is_finished = True
                return
            if fault.hang_after == place:
                await asyncio.Event().wait()
            await self._pieces(_encoded(event, fault), fault.pieces_of)
            if fault.events_per_s:
                end += 1 / fault.events_per_s
                await asyncio.sleep(max(0.0, end - time.monotonic()))
        await self._write(b"", last=True)

    async def _pieces(self, data: bytes, size: int | None) -> None:
        for start in range(0, len(data), size or len(data)):
            await self._write(data[start : start + (size or len(data))])
            if size:
                await asyncio.sleep(0)


def _encoded(event: Any, fault: Fault) -> bytes:
    if isinstance(event, bytes):
        return event
    text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    comment = f": {fault.comment}{fault.newline}{fault.newline}" if fault.comment is not None else ""
    return f"{comment}{fault.data}{text}{fault.newline}{fault.newline}".encode()
