"""Error bodies in the shapes that providers send, and the errors they become."""

from __future__ import annotations

import pytest

from rag.errors import (
    AuthenticationError,
    EndpointResponseError,
    EndpointTimeoutError,
    QuotaExhaustedError,
    RateLimitError,
)
from rag.gateway.error_bodies import CallContext, ErrorBody, endpoint_error, error_in, parse_error_body

CONTEXT = CallContext("DeepSeek at https://api.deepseek.com/chat", "DEEPSEEK_API_KEY", secret="sk-1234567890")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"error": {"message": "no", "type": "t", "param": "p", "code": "c"}}',
            ErrorBody("no", "t", "p", "c"),
        ),
        (b'\n\n {"error": {"message": "no", "code": 1210}}', ErrorBody("no", code="1210")),
        (b'{"error": "model not found"}', ErrorBody("model not found")),
        (b'{"code": 20012, "message": "no such model", "data": null}', ErrorBody("no such model", code="20012")),
        (b'{"code": 10013, "message": "refused", "sid": "cha"}', ErrorBody("refused", code="10013")),
        (b'{"object": "error", "message": "too long", "code": 400}', ErrorBody("too long", code="400")),
        (b'{"detail": "Not Found"}', ErrorBody("Not Found")),
        (
            b'{"detail": [{"loc": ["body", "seed"], "msg": "extra field"}, {"loc": ["body"], "msg": "bad"}]}',
            ErrorBody("seed: extra field; bad"),
        ),
        (b'{"error": {"message": {"nested": 1}}}', ErrorBody("")),
        (b"<html><head><title>\n502 Bad\n Gateway</title>", ErrorBody("a web page titled '502 Bad Gateway'")),
        (b"<!doctype html><p>hm", ErrorBody("a web page")),
        (b"upstream connect error", ErrorBody("upstream connect error")),
        (b"\xff\xfe", ErrorBody("\ufffd\ufffd")),
        (b"[1]", ErrorBody("1")),
        (b"null", ErrorBody("")),
        (b"", ErrorBody("")),
    ],
)
def test_each_shape_is_read(body, expected):
    found = parse_error_body(body)
    assert (found.message, found.param, found.code) == (expected.message, expected.param, expected.code)


@pytest.mark.parametrize(
    "good",
    [
        {"choices": [], "error": None},
        {"code": 0, "message": "Success", "sid": "x", "choices": [{}]},
        {"code": 20000, "message": "Ok", "data": []},
        {"data": [], "error": {}},
        [],
        "text",
    ],
)
def test_a_good_reply_is_no_error(good):
    assert error_in(good) is None


@pytest.mark.parametrize(
    ("status", "code", "kind", "retriable"),
    [
        (400, None, EndpointResponseError, False),
        (400, "Arrearage", QuotaExhaustedError, False),
        (401, None, AuthenticationError, False),
        (402, None, QuotaExhaustedError, False),
        (403, None, AuthenticationError, False),
        (403, "30001", QuotaExhaustedError, False),
        (404, "model_not_found", EndpointResponseError, False),
        (408, None, EndpointTimeoutError, True),
        (409, None, EndpointResponseError, True),
        (413, None, EndpointResponseError, False),
        (429, None, RateLimitError, True),
        (429, "insufficient_quota", QuotaExhaustedError, False),
        (429, "1113", QuotaExhaustedError, False),
        (500, None, EndpointResponseError, True),
        (501, None, EndpointResponseError, False),
        (503, "overloaded", EndpointResponseError, True),
        (504, None, EndpointTimeoutError, True),
        (200, "11202", RateLimitError, True),
        (200, "10013", EndpointResponseError, False),
        (200, "server_error", EndpointResponseError, True),
        (200, "503", EndpointResponseError, True),
        (200, "invalid_api_key", AuthenticationError, False),
        (308, None, EndpointResponseError, False),
    ],
)
def test_status_and_code_decide_the_error(status, code, kind, retriable):
    error = endpoint_error(status, ErrorBody("no", code=code), CONTEXT, headers={}, now=0)
    assert (type(error), error.retriable, error.status, error.code) == (kind, retriable, status, code)
    assert str(error).startswith(f"DeepSeek at https://api.deepseek.com/chat: status {status}")


def test_headers_are_heard():
    headers = {"x-should-retry": "false", "retry-after": "7", "x-request-id": "req_1"}
    error = endpoint_error(429, ErrorBody("slow"), CONTEXT, headers=headers, now=0)
    assert (error.retriable, error.retry_after_s, error.request_id) == (False, 7, "req_1")
    assert "[request req_1]" in str(error)
    assert "it asks to wait 7 s" in str(error)
    assert endpoint_error(400, ErrorBody(""), CONTEXT, headers={"x-should-retry": "true"}, now=0).retriable


def test_a_missing_key_is_named():
    context = CallContext("OpenAI at https://x", "OPENAI_API_KEY", has_key=False)
    error = endpoint_error(401, ErrorBody(""), context, headers={}, now=0)
    assert "no key was sent: set OPENAI_API_KEY" in str(error)


def test_neither_key_nor_text_stands_in_a_message():
    document = "The secret recipe calls for exactly seven grams of saffron and a pinch of salt."
    said = f"Incorrect key sk-1234567890 or sk-abc***wxyz. Input was: {document} Model deepseek-ai/DeepSeek-V3 is fine."
    context = CallContext("X", "KEY", secret="sk-1234567890", texts=[{"role": "user", "content": f"A: {document}"}])
    message = str(endpoint_error(400, ErrorBody(said), context, headers={}, now=0))
    assert "1234567890" not in message
    assert "wxyz" not in message
    assert "saffron" not in message
    assert "deepseek-ai/DeepSeek-V3 is fine" in message
    assert "1234567890" not in repr(context)


def test_a_long_explanation_is_shortened_and_kept_on_one_line():
    message = str(endpoint_error(400, ErrorBody("word\n" * 1000), CONTEXT, headers={}, now=0))
    assert len(message) < 500
    assert "\n" not in message
