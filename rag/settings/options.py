"""The settings of the stages: how documents are read and cut, passages found, answers served."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from rag.settings.checks import require

__all__ = [
    "ChunkingOptions",
    "IngestOptions",
    "QueryOptions",
    "RetrievalOptions",
    "ServerOptions",
    "WebOptions",
]


@dataclass(frozen=True, slots=True)
class ChunkingOptions:
    """How new collections are cut. None follows the embedding model."""

    tokens: int | None = None
    """tokens a chunk holds at most"""
    overlap: int | None = None
    """tokens a chunk shares with the one before"""


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How many hits are found, and how vectors and keywords are weighed."""

    k: int = 8
    """hits an answer is written from"""
    vector_weight: float | None = None
    """share of the vectors in the score, 0 to 1, the rest is keywords; None is the measured default"""
    min_score: float = 0.0
    """how relevant a passage must be to be found, 0 to 1; 0 lets everything through"""
    fold_duplicates: Literal["on", "off"] = "on"
    """whether passages that say the same in nearly the same words are one hit, which names the other documents"""
    diversity: float = 0.0
    """how much passages are spread over what there is, 0 to below 1; 0 is by score alone"""
    filter: str = ""
    """only documents that match are searched, beside a question's own filter: "year >= 2020"; empty is all"""
    instructions: Literal["flag", "exclude", "off"] = "flag"
    """passages that address a model as instructions do: named in the notes, not answered from, or neither"""
    recall_target: float = 0.98
    """share of the ten nearest chunks that a search of a large collection finds at least; more takes longer"""

    def __post_init__(self) -> None:
        require(1 <= self.k <= 1000, "k", self.k, "a whole number from 1 to 1000")
        weight = self.vector_weight
        require(weight is None or 0 <= weight <= 1, "vector_weight", weight, "a number from 0 to 1")
        require(0 <= self.diversity < 1, "diversity", self.diversity, "a number from 0 to below 1")
        require(0 <= self.min_score <= 1, "min_score", self.min_score, "a number from 0 to 1")
        target = self.recall_target
        require(0.5 <= target <= 0.999, "recall_target", target, "a number from 0.5 to 0.999")


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Which queries the chat model, if there is one, writes for a question, in one call."""

    rewrite: Literal["auto", "off", "always"] = "auto"
    """whether a follow-up is made to stand alone; auto: only one that refers back or is too short"""
    alternatives: int = 0
    """other wordings that are searched too, 0 to 5"""
    hyde: Literal["off", "on"] = "off"
    """whether a passage such as might answer the question is searched for too"""
    translate: Literal["auto", "off"] = "auto"
    """whether a question is also asked in the language of the documents, Chinese or English, where that is another"""
    model: str = ""
    """model that writes queries, of the endpoint of [chat]; without one, the model that answers"""
    max_tokens: int = 600
    """tokens of the conversation that are sent, and of the reply, each"""
    timeout_s: float = 5.0
    """seconds after which the plain query has to do"""

    def __post_init__(self) -> None:
        require(0 <= self.alternatives <= 5, "alternatives", self.alternatives, "a whole number from 0 to 5")
        require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number from 1")
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How folders are read."""

    max_file_mb: int = 200
    """larger files are skipped, and listed as such"""
    parse_timeout_s: float = 60.0
    """seconds that reading one file may take, and as many again for each 20 MB of it"""
    parse_memory_mb: int = 1024
    """megabytes of memory that reading one file may take, and 20 more for each of the file (Linux)"""
    include: tuple[str, ...] = ()
    """globs of the only paths to read; empty is all"""
    exclude: tuple[str, ...] = ()
    """globs of paths to leave out"""
    attributes: tuple[str, ...] = ()
    """rules that read attributes off paths, as in "{department}/{year:int}/**"; the first that gives a key wins"""
    watch_quiet_s: float = 1.0
    """seconds that a folder that is watched, and each file in it, must be quiet before it is read"""
    watch_poll_s: float | None = None
    """seconds between looks at every file of a folder that is watched; unset: only where the system tells nobody of
    changes, as on network drives (10)"""
    max_cost: float | None = None
    """money an ingest may spend on models, in the currency of the price; it ends before exceeding it"""

    def __post_init__(self) -> None:
        require(self.parse_timeout_s > 0, "parse_timeout_s", self.parse_timeout_s, "a number above 0")
        require(self.parse_memory_mb >= 64, "parse_memory_mb", self.parse_memory_mb, "a whole number from 64")
        require(0 < self.watch_quiet_s < math.inf, "watch_quiet_s", self.watch_quiet_s, "a number above 0")
        poll_s = self.watch_poll_s
        require(poll_s is None or 0.1 <= poll_s < math.inf, "watch_poll_s", poll_s, "a number from 0.1")
        require(self.max_cost is None or 0 <= self.max_cost < math.inf, "max_cost", self.max_cost, "a number from 0")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How pages of the web are fetched."""

    private_networks: tuple[str, ...] = ()
    """networks and addresses that may be fetched although they are not public, as in 10.0.0.0/8"""
    hosts: tuple[str, ...] = ()
    """other hosts whose pages a sitemap may list"""
    max_urls: int = 10_000
    """pages that a sitemap, with those it names, may list"""
    max_page_mb: int = 20
    """larger pages are skipped, and listed as such"""
    timeout_s: float = 60.0
    """seconds that one page may take, to its last byte"""
    max_retries: int = 2
    """second tries after 429, 5xx, timeouts and broken connections"""
    concurrency: int = 8
    """pages fetched at once, at most"""
    per_host: int = 2
    """pages fetched at once from one host, at most"""
    proxy: str = field(default="", repr=False)
    """proxy to fetch through; those of the environment are not used"""
    contact: str = ""
    """mail or web address that hosts are told, for those who want to complain"""

    def __post_init__(self) -> None:
        for name in ("max_urls", "max_page_mb", "concurrency", "per_host"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number from 1")
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")
        require(0 <= self.max_retries <= 10, "max_retries", self.max_retries, "a whole number from 0 to 10")
        require(self.contact.isprintable(), "contact", self.contact, "one line of text")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where the HTTP service listens."""

    host: str = "127.0.0.1"
    """address to bind; any other than loopback needs api_key"""
    port: int = 8000
    address: str = ""
    """where people reach the service, as in https://docs.example.org/rag: citations then lead there"""
    api_key: str = field(default="", repr=False)
    """clients must send it as a bearer token"""
    max_upload_mb: int = 200
    """larger uploads are refused"""
    resume_s: float = 0.0
    """seconds that an answer goes on without a reader, and its events are kept after its end, for who comes back"""
    resume_mb: int = 64
    """megabytes of events that are kept for that, of all answers together"""

    def __post_init__(self) -> None:
        is_address = not self.address or self.address.startswith(("http://", "https://"))
        require(is_address, "address", self.address, "an address that begins with http:// or https://")
        require(0 <= self.resume_s <= 86_400, "resume_s", self.resume_s, "a number from 0 to 86400")
        require(self.resume_mb >= 1, "resume_mb", self.resume_mb, "a whole number from 1")
