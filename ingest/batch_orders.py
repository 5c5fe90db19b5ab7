"""Batches that were ordered, kept on disk: what was asked, how far it is, and under which names the endpoint knows it.

<library>/batches/<token>/order.json       how far it is; written before and after each step that cannot be repeated
                         /requests.jsonl   what is uploaded: one embeddings request a line
                         /addresses.jsonl  custom id and content addresses of the same requests, in the same order
                         /output.jsonl, errors.jsonl   what came back

A folder whose name begins with a dot was not finished: nothing of it has left this machine, and it is removed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.files import sync_folder, write_whole
from index.locks import file_lock
from index.vector_store import VectorSpace
from rag.errors import CollectionError, CollectionLockedError
from rag.gateway.batches import MAX_BATCH_BYTES, MAX_BATCH_REQUESTS
from rag.types import EmbeddingLimits

__all__ = ["BatchLimits", "Order", "OrderBook", "OrderWriter", "Requested"]

MAX_REQUEST_INPUTS = 100
"""Texts of one request line. Fewer than an endpoint takes: a line that fails costs few, and its reply stays small."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch may hold."""

    max_inputs: int = MAX_BATCH_REQUESTS
    max_requests: int = MAX_BATCH_REQUESTS
    max_bytes: int = MAX_BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Order:
    """One batch, from the file of its requests to the end.

    ``upload_begun`` and ``create_begun`` are noted before the call that is meant: where they stand without the id that
    the call gives, it may or may not have been heard.
    """

    token: str
    base_url: str
    model: str
    dimensions: int
    n_requests: int
    n_texts: int
    n_tokens: int
    made_at: float
    upload_begun: bool = False
    file_id: str = ""
    create_begun: bool = False
    batch_id: str = ""

    @property
    def space(self) -> VectorSpace:
        return VectorSpace(self.model, self.dimensions)

    @property
    def filename(self) -> str:
        """The name of its file at the endpoint, by which a lost upload is found again."""
        return f"footnote-{self.token}.jsonl"


@dataclass(frozen=True, slots=True)
class Requested:
    """What one request line asks for: the content addresses of its texts, in order; their tokens as counted here."""

    addresses: list[bytes]
    n_tokens: int


class OrderBook:
    """The orders of a library. One process at a time changes them: see ``locked``."""

    def __init__(self, library: Path) -> None:
        self._folder = library / "batches"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to change the orders; raises CollectionLockedError while another process has it."""
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise CollectionError(f"cannot keep batches in {self._folder}: {error}; check the permissions") from error
        with file_lock(self._folder / "lock", timeout_s=0.5) as held:
            if not held:
                raise CollectionLockedError(
                    "another process is at work on the batches of this library; wait for it to finish, or stop it"
                )
            for leftover in self._folder.glob(".*"):
                shutil.rmtree(leftover, ignore_errors=True)
            try:
                yield
            except OSError as error:
                raise CollectionError(
                    f"cannot keep batches in {self._folder}: {error}; free some space, and run the same command again"
                ) from error

    def orders(self) -> list[Order]:
        """Return the orders that are not finished, the oldest first."""
        if not self._folder.is_dir():
            return []
        found = [_read_order(path) for path in self._folder.glob("[!.]*/order.json")]
        return sorted(found, key=lambda order: (order.made_at, order.token))

    def count(self) -> int:
        """Return how many orders are not finished, without reading them."""
        return sum(1 for _ in self._folder.glob("[!.]*/order.json"))

    def folder(self, order: Order) -> Path:
        return self._folder / order.token

    def note(self, order: Order, **changes: Any) -> Order:
        """Return the order with changes that are on disk when this returns."""
        changed = dataclasses.replace(order, **changes)
        _write_order(self.folder(order), changed)
        return changed

    def remove(self, order: Order) -> None:
        """Forget an order and its files, in one step."""
        doomed = self._folder / f".{order.token}"
        os.rename(self.folder(order), doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def requests(self, order: Order) -> dict[str, Requested]:
        """Return what each request of an order asks for, by custom id."""
        with (self.folder(order) / "addresses.jsonl").open(encoding="ascii") as lines:
            entries = map(json.loads, lines)
            return {
                entry["id"]: Requested([bytes.fromhex(address) for address in entry["addresses"]], entry["n_tokens"])
                for entry in entries
            }

    def addresses(self, space: VectorSpace) -> set[bytes]:
        """Return the content addresses of all texts that are on order."""
        return {
            address
            for order in self.orders()
            if order.space == space
            for requested in self.requests(order).values()
            for address in requested.addresses
        }

    def writer(
        self,
        space: VectorSpace,
        *,
        base_url: str,
        request_of: Callable[[list[str]], dict[str, Any]],
        url: str,
        limits: EmbeddingLimits,
        batch_limits: BatchLimits,
    ) -> OrderWriter:
        """Return what turns texts into orders. ``request_of`` gives the body for some texts, ``url`` the path."""
        return OrderWriter(self._folder, space, base_url, request_of, url, limits, batch_limits)


@dataclass(slots=True)
class _Draft:
    """An order that is being written."""

    folder: Path
    requests: Any
    addresses: Any
    n_requests: int = 0
    n_texts: int = 0
    n_tokens: int = 0
    n_bytes: int = 0


class OrderWriter:
    """Packs texts into requests and requests into orders, straight to disk; an order counts once it is whole."""

    def __init__(
        self,
        folder: Path,
        space: VectorSpace,
        base_url: str,
        request_of: Callable[[list[str]], dict[str, Any]],
        url: str,
        limits: EmbeddingLimits,
        batch_limits: BatchLimits,
    ) -> None:
        self._folder = folder
        self._space = space
        self._base_url = base_url
        self._request_of = request_of
        self._url = url
        self._max_inputs = min(limits.max_inputs, MAX_REQUEST_INPUTS, batch_limits.max_inputs)
        self._max_tokens = limits.max_request_tokens
        self._limits = batch_limits
        self._draft: _Draft | None = None
        self._waiting: list[tuple[bytes, str, int]] = []
        self._n_waiting_tokens = 0

    def add(self, address: bytes, text: str, *, n_tokens: int) -> None:
        """Take one text; the caller sees to it that each comes once."""
        is_over = self._n_waiting_tokens + n_tokens > self._max_tokens
        if self._waiting and (is_over or len(self._waiting) == self._max_inputs):
            self._write_request()
        self._waiting.append((address, text, n_tokens))
        self._n_waiting_tokens += n_tokens

    def finish(self) -> None:
        """Write what is left; the last order is on disk, whole, when this returns."""
        if self._waiting:
            self._write_request()
        self._finish_order()

    def discard(self) -> None:
        """Drop what is not yet a whole order."""
        if self._draft is not None:
            self._draft.requests.close()
            self._draft.addresses.close()
            shutil.rmtree(self._draft.folder, ignore_errors=True)
            self._draft = None
        self._waiting = []

    def _write_request(self) -> None:
        addresses = [address for address, _, _ in self._waiting]
        custom_id = hashlib.sha256(b"".join(addresses)).hexdigest()
        body = self._request_of([text for _, text, _ in self._waiting])
        line = {"custom_id": custom_id, "method": "POST", "url": self._url, "body": body}
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        draft = self._draft
        if draft is not None and (
            draft.n_bytes + len(data) > self._limits.max_bytes
            or draft.n_texts + len(addresses) > self._limits.max_inputs
            or draft.n_requests == self._limits.max_requests
        ):
            self._finish_order()
        draft = self._draft = self._draft or self._begin()
        draft.requests.write(data)
        named = {
            "id": custom_id,
            "addresses": [address.hex() for address in addresses],
            "n_tokens": self._n_waiting_tokens,
        }
        draft.addresses.write(json.dumps(named).encode() + b"\n")
        draft.n_requests += 1
        draft.n_texts += len(addresses)
        draft.n_tokens += self._n_waiting_tokens
        draft.n_bytes += len(data)
        self._waiting, self._n_waiting_tokens = [], 0

    def _begin(self) -> _Draft:
        folder = self._folder / f".{secrets.token_hex(12)}"
        folder.mkdir()
        return _Draft(folder, (folder / "requests.jsonl").open("wb"), (folder / "addresses.jsonl").open("wb"))

    def _finish_order(self) -> None:
        draft, self._draft = self._draft, None
        if draft is None:
            return
        for file in (draft.requests, draft.addresses):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        order = Order(
            token=draft.folder.name.removeprefix("."),
            base_url=self._base_url,
            model=self._space.model,
            dimensions=self._space.dimensions,
            n_requests=draft.n_requests,
            n_texts=draft.n_texts,
            n_tokens=draft.n_tokens,
            made_at=time.time(),
        )
        _write_order(draft.folder, order)
        os.rename(draft.folder, self._folder / order.token)
        sync_folder(self._folder)


def _write_order(folder: Path, order: Order) -> None:
    write_whole(folder / "order.json", json.dumps(dataclasses.asdict(order), indent=1).encode())


def _read_order(path: Path) -> Order:
    try:
        return Order(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CollectionError(
            f"{path} does not describe a batch ({error}); look its batch up at the provider, then delete the folder"
        ) from error
