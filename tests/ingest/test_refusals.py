"""What providers' words for a refusal are taken to mean; the sentences are as the providers send them."""

from __future__ import annotations

import pytest

from ingest.refusals import refusal_of
from rag.errors import (
    AuthenticationError,
    EmbeddingError,
    EmbeddingInputError,
    EndpointError,
    EndpointResponseError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    QuotaExhaustedError,
    RateLimitError,
)


def caused_by(cause: EndpointError) -> EmbeddingError:
    error = EmbeddingError(str(cause))
    error.__cause__ = cause
    return error


def answer(status: int, said: str, code: str | None = None) -> EmbeddingError:
    message = f"OpenAI at https://host/v1/embeddings: status {status}: {said}; change the request as it says"
    return caused_by(EndpointResponseError(message, status=status, code=code, retriable=status >= 500))


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("inputs", 400, "batch size is invalid, it should not be larger than 10.: input.contents"),
        ("inputs", 400, "Invalid 'input': array too long. Expected an array with maximum length 2048, but got 3000."),
        ("inputs", 413, "batch size 64 > maximum allowed batch size 32"),
        ("inputs", 422, "inputs: at most 128 items"),
        ("inputs", 400, "input数组最大不得超过64条"),
        ("request_tokens", 400, "Requested 331201 tokens, max 300000 tokens per request"),
        ("request_tokens", 400, "the total number of tokens exceeds 20000"),
        ("input_tokens", 400, "This model's maximum context length is 8192 tokens, however you requested 8500 tokens."),
        ("input_tokens", 413, "input must have less than 512 tokens"),
        ("input_tokens", 413, "`inputs` must have less than 512 tokens. Given: 600"),
        ("input_tokens", 500, "input (600 tokens) is too large to process. increase the physical batch size"),
        ("input_tokens", 400, "Range of input length should be [1, 8192]"),
        ("size", 413, "a web page titled '413 Request Entity Too Large'"),
        ("input", 400, "the input is invalid"),
        ("input", 422, "unexpected character"),
        ("trouble", 500, "the server had an error"),
        ("trouble", 503, "overloaded"),
        ("hopeless", 404, "the model does not exist"),
    ],
)
def test_the_words_decide_then_the_status(kind: str, status: int, said: str) -> None:
    assert refusal_of(answer(status, said)).kind == kind


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("rate", RateLimitError("slow down", status=429)),
        ("hopeless", QuotaExhaustedError("no money", status=429)),
        ("hopeless", AuthenticationError("no such key", status=401)),
        ("trouble", EndpointTimeoutError("silence")),
        ("trouble", EndpointUnreachableError("nobody there")),
        ("malformed", EndpointResponseError("3 texts were sent and 2 vectors came back", status=200)),
    ],
)
def test_kinds_of_errors(kind: str, cause: EndpointError) -> None:
    assert refusal_of(caused_by(cause)).kind == kind


def test_a_text_that_can_never_be_embedded_is_bad_input() -> None:
    assert refusal_of(EmbeddingInputError("too long")).kind == "input"


def test_the_limit_is_read_from_the_words() -> None:
    assert refusal_of(answer(400, "it should not be larger than 10.: input.contents; batch size")).limit_below(25) == 10
    assert refusal_of(answer(413, "batch size 64 > maximum allowed batch size 32")).limit_below(64) == 32
    told = refusal_of(answer(400, "Requested 330,000 tokens, max 300,000 tokens per request"))
    assert told.scaled_limit(290_000) == int(290_000 * 300 / 330)  # in our count, which is lower


def test_without_a_number_it_is_halved() -> None:
    told = refusal_of(answer(400, "too many tokens per request for text-embedding-3-small"))
    assert (told.kind, told.scaled_limit(1000)) == ("request_tokens", 500)
    assert told.n_parts() == 2


def test_a_text_is_cut_into_as_many_parts_as_it_must_be() -> None:
    told = refusal_of(answer(400, "maximum context length is 500 tokens, however you requested 2000 tokens"))
    assert told.n_parts() == 5
