"""Every route and every status has the same error body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx2
import pytest

from api.app import create_app
from api.errors import TABLE, error_reply
from api.footnote import Footnote
from rag import errors
from rag.errors import EndpointError, GenerationError, RagError
from rag.settings import ServerOptions, Settings
from rag.types import AnswerEvent
from tests.api.conftest import Service, serving

RAG_ERRORS = [getattr(errors, name) for name in errors.__all__]


class Failing:
    """A Footnote in which everything fails with ``error``: most errors cannot be had on every route otherwise."""

    def __init__(self, error: Exception, server: ServerOptions | None = None) -> None:
        self.settings = Settings(server=server or ServerOptions())
        self.error = error
        self.changes = self  # of which only `get` is asked for
        self.threads = self.records = self

    async def aclose(self) -> None:
        pass

    async def stream(self, question: str, **options: Any) -> AsyncIterator[AnswerEvent]:
        raise self.error
        yield

    async def _fail(self, *args: Any, **options: Any) -> Any:
        raise self.error

    def _fail_now(self, *args: Any, **options: Any) -> Any:
        raise self.error

    ask = search = create_collection = upload = ingest_urls = delete_document = _fail
    copy_collection = rename_collection = export_collection = import_collection = _fail
    take_snapshot = restore_snapshot = change_model = set_attributes = _fail
    own_settings = set_own_settings = _fail_now
    collections = status = documents = document = delete_collection = _fail_now
    snapshots = delete_snapshot = prune_snapshots = start_change_of_model = get = _fail_now
    page = rate = create = list = change = delete = messages = export = _fail_now


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/ask"): {"json": {"question": "Why?"}},
    ("POST", "/search"): {"json": {"query": "why"}},
    ("POST", "/threads"): {"json": {}},
    ("POST", "/answers/{answer_id}/feedback"): {"json": {"rating": "up"}},
    ("PATCH", "/threads/{thread_id}"): {"json": {"title": "new"}},
    ("POST", "/collections"): {"json": {"name": "new"}},
    ("PATCH", "/collections/{name}/documents/{document_id}"): {"json": {"attributes": {"year": 2020}}},
    ("POST", "/collections/{name}/copy"): {"json": {"to": "new"}},
    ("POST", "/collections/{name}/rename"): {"json": {"to": "new"}},
    ("POST", "/collections/{name}/import"): {"files": {"file": ("a.zip", b"text")}},
    ("POST", "/collections/{name}/snapshots"): {"json": {}},
    ("POST", "/collections/{name}/snapshots/prune"): {"json": {"keep": 1}},
    ("POST", "/collections/{name}/snapshots/{label}/restore"): {"json": {}},
    ("PUT", "/collections/{name}/settings"): {"json": {"answer": {"seed": 1}}},
    ("POST", "/collections/{name}/rebuild"): {"json": {}},
    ("POST", "/collections/{name}/urls"): {"json": {"urls": ["https://example.org/"]}},
    ("POST", "/collections/{name}/documents"): {"files": {"files": ("a.txt", b"text")}},
}


def all_routes() -> list[tuple[str, str]]:
    schema = create_app(cast(Footnote, Failing(RagError("")))).openapi()
    return [(method.upper(), path) for path, item in schema["paths"].items() for method in item]


OF_LIVE_ANSWERS = {("GET", "/answers/{answer_id}/events"), ("POST", "/answers/{answer_id}/cancel")}
"""Routes that look at what the service has under way, and ask the Footnote nothing."""


def footnote_routes() -> list[tuple[str, str]]:
    return [route for route in all_routes() if route not in OF_LIVE_ANSWERS]


def call(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    filled = path
    for part, value in (("name", "default"), ("document_id", "a/b.txt"), ("label", "early"), ("page", "1")):
        filled = filled.replace(f"{{{part}}}", value)
    return client.request(method, filled, **{**BODIES.get((method, path), {}), **options})


def error_of(reply: httpx2.Response) -> dict[str, Any]:
    """Return the error object, after checking that all is as on every other route."""
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-request-id"]
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert body["error"]["type"]
    return cast(dict[str, Any], body["error"])


@pytest.fixture(scope="module")
def failing() -> Failing:
    return Failing(RagError("it failed; do this"))


@pytest.fixture(scope="module")
def client(failing: Failing) -> Iterator[httpx2.Client]:
    with serving(create_app(cast(Footnote, failing))) as url, httpx2.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx2.Client]:
    footnote = Failing(RagError("it failed; do this"), ServerOptions(api_key="sesame"))
    with serving(create_app(cast(Footnote, footnote))) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_the_walk_covers_the_service() -> None:
    assert len(all_routes()) == 41


@pytest.mark.parametrize(("method", "path"), footnote_routes())
def test_an_error_has_the_status_of_the_table_and_its_message(
    client: httpx2.Client, failing: Failing, method: str, path: str
) -> None:
    for kind in RAG_ERRORS:
        failing.error = kind("this failed; do that")
        reply = call(client, method, path)
        assert reply.status_code == error_reply(failing.error).status
        assert error_of(reply)["message"] == "this failed; do that"


@pytest.mark.parametrize(("method", "path"), footnote_routes())
def test_a_mistake_of_ours_is_a_500_that_says_nothing_of_the_inside(
    client: httpx2.Client, failing: Failing, method: str, path: str
) -> None:
    failing.error = KeyError("secret detail")
    reply = call(client, method, path)
    assert reply.status_code == 500
    assert "secret" not in error_of(reply)["message"]


@pytest.mark.parametrize(("method", "path"), all_routes())
def test_another_method_is_a_405_that_names_those_allowed(client: httpx2.Client, method: str, path: str) -> None:
    reply = call(client, "TRACE", path)
    assert reply.status_code == 405
    assert error_of(reply)["code"] == "method_not_allowed"
    assert reply.headers["allow"]


@pytest.mark.parametrize(("method", "path"), [route for route in all_routes() if route[1] != "/health"])
def test_a_key_is_wanted_on_every_route(guarded: httpx2.Client, method: str, path: str) -> None:
    for authorization in (None, "Bearer wrong", "Basic sesame", "Bearer", "sesame"):
        reply = call(guarded, method, path, headers={"authorization": authorization} if authorization else {})
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert error_of(reply)["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/nowhere", "/ask/", "/docs", "/openapi.json", "/"])
def test_without_a_key_nobody_learns_which_routes_there_are(guarded: httpx2.Client, path: str) -> None:
    assert guarded.get(path).status_code == 401


def test_the_key_opens_the_service(guarded: httpx2.Client) -> None:
    assert guarded.get("/", headers={"authorization": "Bearer sesame"}).status_code == 200


@pytest.mark.parametrize(("method", "path"), list(BODIES))
def test_another_media_type_is_a_415(client: httpx2.Client, method: str, path: str) -> None:
    wrong = {"content": b"x", "headers": {"content-type": "text/plain"}, "json": None, "files": None}
    assert error_of(reply := call(client, method, path, **wrong))["code"] == "unsupported_media_type"
    assert reply.status_code == 415


def test_an_unknown_path_is_a_404(client: httpx2.Client) -> None:
    reply = client.get("/nowhere")
    assert reply.status_code == 404
    assert error_of(reply)["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "question", "missing_required_parameter"),
        ({"question": ""}, "question", "invalid_value"),
        ({"question": " \n"}, "question", "invalid_value"),
        ({"question": "x" * 32_001}, "question", "invalid_value"),
        ({"question": 7}, "question", "invalid_value"),
        ({"question": "q", "temperature": 3}, "temperature", "invalid_value"),
        ({"question": "q", "temperature": "hot"}, "temperature", "invalid_value"),
        ({"question": "q", "k": 0}, "k", "invalid_value"),
        ({"question": "q", "k": True}, "k", "invalid_value"),
        ({"question": "q", "max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"question": "q", "stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"question": "q", "history": [{"role": "user"}]}, "history[0].text", "missing_required_parameter"),
        ({"question": "q", "history": [{"role": "system", "text": ""}]}, "history[0].role", "invalid_value"),
        ({"question": "q", "temprature": 1}, "temprature", "unknown_parameter"),
        ([], None, "invalid_value"),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(client: httpx2.Client, body: Any, param: str | None, code: str) -> None:
    reply = client.post("/ask", json=body)
    assert reply.status_code == 400
    error = error_of(reply)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"question": "\\ud800"}', b"\xff", b'{"question": "a", "question"}', b"[" * 100_000, b"1" * 5000],
    ids=["empty", "cut", "surrogate", "not utf-8", "no value", "deep", "long number"],
)
def test_what_is_no_json_is_a_400(client: httpx2.Client, body: bytes) -> None:
    reply = client.post("/ask", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert error_of(reply)["param"] in (None, "question")


def test_a_message_tells_what_was_found_and_where(client: httpx2.Client) -> None:
    number = error_of(client.post("/ask", json={"question": "q", "temperature": 3, "k": 0}))["message"]
    assert "got 0 (also wrong: temperature)" in number
    cut = client.post("/ask", content=b'{"question": "a", }', headers={"content-type": "application/json"})
    assert "character 18" in error_of(cut)["message"]


def test_a_wrong_query_parameter_is_named(client: httpx2.Client) -> None:
    reply = client.get("/collections/default/documents?limit=0")
    assert reply.status_code == 400
    assert error_of(reply)["param"] == "limit"


def test_a_body_over_the_limit_is_a_413_whether_announced_or_not(client: httpx2.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b'{"question": "'] + [b"x" * 65536] * 80

    announced = client.post("/ask", json={"question": "x" * 5_000_000})
    chunked = client.post("/ask", content=pieces(), headers={"content-type": "application/json"})
    for reply in (announced, chunked):
        assert reply.status_code == 413
        assert error_of(reply)["code"] == "request_too_large"


def test_a_request_id_of_the_caller_is_kept_if_it_is_a_plain_word(client: httpx2.Client) -> None:
    assert client.get("/", headers={"x-request-id": "trace-7"}).headers["x-request-id"] == "trace-7"
    assert client.get("/", headers={"x-request-id": "a b\tc"}).headers["x-request-id"].startswith("req_")


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_error_of_the_project_has_a_row_of_its_own() -> None:
    assert set(RAG_ERRORS) <= set(TABLE)


@pytest.mark.parametrize(
    ("cause", "status", "retry_after"),
    [
        (errors.RateLimitError("slow", retriable=True, retry_after_s=2.2), 429, "3"),
        (errors.RateLimitError("slow", retriable=True, retry_after_s=900), 429, "60"),
        (errors.RateLimitError("slow", retriable=True), 429, "10"),
        (errors.QuotaExhaustedError("no money"), 429, None),
        (errors.EndpointUnreachableError("gone", retriable=True), 503, "5"),
        (errors.EndpointTimeoutError("late", retriable=True), 504, None),
        (errors.AuthenticationError("no", status=401, code="invalid_api_key"), 502, None),
    ],
)
def test_a_failed_answer_has_the_status_of_the_call_behind_it(
    cause: EndpointError, status: int, retry_after: str | None
) -> None:
    error = GenerationError("no answer came; try later")
    error.__cause__ = cause
    reply = error_reply(error)
    assert (reply.status, reply.headers.get("retry-after")) == (status, retry_after)
    assert reply.headers["x-should-retry"] == ("true" if cause.retriable else "false")
    assert reply.body["error"]["message"] == "no answer came; try later"
    assert reply.body["error"]["code"] != "invalid_api_key"  # that would blame the client's key for ours


def test_the_code_of_the_provider_is_told() -> None:
    error = errors.EndpointResponseError("too long", status=400, code="context_length_exceeded", param="messages")
    assert error_reply(error).body["error"]["code"] == "context_length_exceeded"


# --- who may call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:80", "127.8.8.8", "app.localhost"])
def test_without_a_key_this_machine_s_names_are_served(client: httpx2.Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.9:8000", "[::1", "localhost.x"])
def test_without_a_key_other_names_are_refused(client: httpx2.Client, host: str) -> None:
    reply = client.get("/", headers={"host": host})
    assert reply.status_code == 403
    assert error_of(reply)["code"] == "host_not_allowed"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://"])
def test_without_a_key_pages_of_other_sites_are_refused(client: httpx2.Client, origin: str) -> None:
    reply = client.post("/collections/default/documents", files={"files": b"x"}, headers={"origin": origin})
    assert reply.status_code == 403
    assert error_of(reply)["code"] == "origin_not_allowed"


def test_a_page_of_this_machine_may_call(client: httpx2.Client) -> None:
    assert client.get("/", headers={"origin": "http://localhost:3000"}).status_code == 200


def test_with_a_key_any_name_is_served(guarded: httpx2.Client) -> None:
    headers = {"authorization": "Bearer sesame", "host": "footnote.example", "origin": "https://footnote.example"}
    assert guarded.get("/", headers=headers).status_code == 200


def test_no_other_site_is_allowed_to_read_replies(client: httpx2.Client) -> None:
    reply = client.get("/", headers={"origin": "http://localhost:3000"})
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_health_wants_no_key_and_tells_no_names(service: Service) -> None:
    reply = service(server__api_key="sesame").get("/health")
    assert reply.status_code == 200
    assert set(reply.json()) == {"status", "version", "n_collections"}
