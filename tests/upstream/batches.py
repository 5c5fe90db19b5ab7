"""Files and batches: what was uploaded, what was made of it, and how a batch may end."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.upstream.faults import error_body
from tests.upstream.replies import CREATED, JSON

_PAGE = 20


@dataclass(frozen=True)
class Answer:
    """What a route answers: JSON, or the bytes of a file."""

    body: JSON | bytes
    status: int = 200


@dataclass
class BatchService:
    """The files and batches of an endpoint. A batch is answered, and paid for, when it is made.

    ``is_served``: without, every route is a 404. ``n_polls`` questions are answered with "in_progress" before a batch
    ends as ``ends`` says. Only the first ``n_answered`` lines of a batch are answered; the others are expired.
    ``reply_to`` gives the status and body for a request line in place of a good one; ``edit_output`` changes the bytes
    of the output file. ``poll_after_ms`` is sent as a header. ``invalid`` is the problem that fails the batches made
    while it is set. ``silent_once`` names a call by method and end of path: it is heard, and never answered.
    """

    is_served: bool = True
    n_polls: int = 1
    ends: str = "completed"
    n_answered: int | None = None
    poll_after_ms: int | None = 10
    invalid: str | None = None
    silent_once: tuple[str, str] | None = None
    reply_to: Callable[[JSON], tuple[int, JSON] | None] = lambda line: None
    edit_output: Callable[[bytes], bytes] = lambda data: data
    files: dict[str, JSON] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, JSON] = field(default_factory=dict)
    polled: Counter[str] = field(default_factory=Counter)
    n_kept: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.poll_after_ms is None else {"openai-poll-after-ms": str(self.poll_after_ms)}

    def keeps_silent(self, call: Any) -> bool:
        """Return whether this is the call that gets no answer; the next one does."""
        is_meant = self.silent_once is not None and call.method == self.silent_once[0]
        if not (is_meant and self.silent_once and call.path.endswith(self.silent_once[1])):
            return False
        self.silent_once = None
        return True

    def answer(self, call: Any, embed: Callable[[JSON], JSON]) -> Answer:
        """Return the answer to a call below /files or /batches; ``embed`` replies to the body of a request line."""
        kind, _, rest = re.sub(r"^.*?/(?=files|batches)", "", call.path).partition("/")
        name, _, action = rest.partition("/")
        if not self.is_served:
            return _not_found(f"Invalid URL ({call.method} {call.path})")
        if kind == "files":
            return self._files(call, name, action)
        if not name:
            return self._make(call, embed) if call.method == "POST" else self._page(call, self.batches)
        if name not in self.batches:
            return _not_found(f"No batch found with id '{name}'.")
        return self._cancel(name) if action == "cancel" else self._poll(name)

    # --- files

    def _files(self, call: Any, name: str, action: str) -> Answer:
        if not name:
            return self._upload(call) if call.method == "POST" else self._page(call, self.files)
        if name not in self.files:
            return _not_found(f"No such File object: {name}")
        if call.method == "DELETE":
            del self.files[name], self.contents[name]
            return Answer({"id": name, "object": "file", "deleted": True})
        return Answer(self.contents[name] if action == "content" else self.files[name])

    def _upload(self, call: Any) -> Answer:
        boundary = re.search(r"boundary=\"?([^\";]+)", call.headers["content-type"])
        assert boundary, "a form names its boundary"
        parts: dict[str, tuple[str, bytes]] = {}
        for part in call.body.split(b"--" + boundary.group(1).encode())[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            said = dict(re.findall(r'(\w+)="([^"]*)"', head.decode()))
            parts[said["name"]] = (said.get("filename", ""), content.removesuffix(b"\r\n"))
        filename, content = parts["file"]
        return Answer(self._keep(filename, content, parts["purpose"][1].decode()))

    def _keep(self, filename: str, content: bytes, purpose: str) -> JSON:
        self.n_kept += 1
        file_id = f"file-{self.n_kept}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": CREATED,
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        return self.files[file_id]

    def _page(self, call: Any, entries: dict[str, JSON]) -> Answer:
        asked = dict(part.split("=", 1) for part in call.query.split("&") if part)
        newest_first = list(reversed(entries.values()))
        ids = [entry["id"] for entry in newest_first]
        first = ids.index(asked["after"]) + 1 if "after" in asked else 0
        page = newest_first[first : first + min(int(asked.get("limit", _PAGE)), _PAGE)]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return Answer({"object": "list", "data": page, "has_more": first + len(page) < len(ids), **ends})

    # --- batches

    def _make(self, call: Any, embed: Callable[[JSON], JSON]) -> Answer:
        if call.json["input_file_id"] not in self.files:
            return Answer(error_body(400, message="No such input file.", param="input_file_id"), 400)
        lines = [json.loads(line) for line in self.contents[call.json["input_file_id"]].splitlines()]
        batch = {
            **call.json,
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "status": "validating",
            "created_at": CREATED + len(self.batches),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        self.batches[batch["id"]] = batch
        if self.invalid:
            problem = {"code": "invalid_input", "message": self.invalid, "param": None, "line": 1}
            batch.update(status="failed", errors={"object": "list", "data": [problem]})
            return Answer(dict(batch, status="validating"))
        good, bad = self._answered(lines, embed)
        batch["request_counts"] = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        if good:
            output = self.edit_output(_json_lines(good))
            batch["output_file_id"] = self._keep("output.jsonl", output, "batch_output")["id"]
        if bad:
            batch["error_file_id"] = self._keep("errors.jsonl", _json_lines(bad), "batch_output")["id"]
        return Answer({key: value for key, value in batch.items() if not key.endswith("_file_id")} | _input(batch))

    def _answered(self, lines: list[JSON], embed: Callable[[JSON], JSON]) -> tuple[list[JSON], list[JSON]]:
        good: list[JSON] = []
        bad: list[JSON] = []
        for place, line in enumerate(lines):
            head = {"id": f"batch_req_{place}", "custom_id": line["custom_id"]}
            if self.n_answered is not None and place >= self.n_answered:
                expired = {"code": "batch_expired", "message": "This request was not executed in time."}
                bad.append({**head, "response": None, "error": expired})
                continue
            status, body = self.reply_to(line) or (200, embed(line["body"]))
            reply = {"status_code": status, "request_id": f"req_{place}", "body": body}
            (good if status == 200 else bad).append({**head, "response": reply, "error": None})
        return good, bad

    def _poll(self, name: str) -> Answer:
        batch = self.batches[name]
        self.polled[name] += 1
        if batch["status"] == "cancelling":
            batch["status"] = "cancelled"
        elif batch["status"] not in ("failed", "cancelled"):
            has_ended = self.polled[name] > self.n_polls
            batch["status"] = self.ends if has_ended else "in_progress"
            if not has_ended:
                return Answer({key: value for key, value in batch.items() if key != "output_file_id"})
        return Answer(batch)

    def _cancel(self, name: str) -> Answer:
        batch = self.batches[name]
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return Answer(error_body(409, message=f"Cannot cancel a batch with status '{batch['status']}'."), 409)
        batch["status"] = "cancelling"
        return Answer(batch)


def _input(batch: JSON) -> JSON:
    return {"input_file_id": batch["input_file_id"]}


def _json_lines(values: list[JSON]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def _not_found(message: str) -> Answer:
    return Answer(error_body(404, message=message, code="not_found"), 404)
