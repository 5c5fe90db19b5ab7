"""The one table from error to HTTP status, and the one body every error has: OpenAI's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rag import errors
from rag.errors import EndpointError, RagError

__all__ = ["TABLE", "ErrorReply", "ErrorRow", "error_reply", "reply_for_status"]

MAX_RETRY_AFTER_S = 60
"""OpenAI's clients obey up to this (1.x) or 120 s (later); a longer wait makes them give up at once."""


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """What an error becomes. ``retry_after_s`` is told to the client where waiting may help."""

    status: int
    type: str
    code: str
    retry_after_s: int | None = None


_REQUEST = "invalid_request_error"
_PERMISSION = "permission_error"
_UPSTREAM = "upstream_error"
_SERVER = "server_error"

TABLE: Mapping[type[Exception], ErrorRow] = {
    errors.OwnSettingError: ErrorRow(400, _REQUEST, "invalid_setting"),
    errors.AnswerFormatError: ErrorRow(400, _REQUEST, "invalid_response_format"),
    errors.QuestionError: ErrorRow(400, _REQUEST, "invalid_question"),
    errors.FeedbackError: ErrorRow(400, _REQUEST, "invalid_feedback"),
    errors.FilterError: ErrorRow(400, _REQUEST, "invalid_filter"),
    errors.AccessDeniedError: ErrorRow(403, _PERMISSION, "access_denied"),
    errors.QuestionSetError: ErrorRow(400, _REQUEST, "invalid_question_set"),
    errors.ThreadNotFoundError: ErrorRow(404, _REQUEST, "thread_not_found"),
    errors.ThreadBusyError: ErrorRow(409, _REQUEST, "thread_busy", retry_after_s=5),
    errors.ThreadError: ErrorRow(400, _REQUEST, "invalid_thread"),
    errors.UnsupportedFormatError: ErrorRow(415, _REQUEST, "unsupported_format"),
    errors.DocumentReadError: ErrorRow(422, _REQUEST, "document_unreadable"),
    errors.CollectionNotFoundError: ErrorRow(404, _REQUEST, "collection_not_found"),
    errors.DocumentNotFoundError: ErrorRow(404, _REQUEST, "document_not_found"),
    errors.AnswerNotFoundError: ErrorRow(404, _REQUEST, "answer_not_found"),
    errors.AnswerEventsGoneError: ErrorRow(410, _REQUEST, "answer_events_gone"),
    errors.CollectionExistsError: ErrorRow(409, _REQUEST, "collection_exists"),
    errors.CollectionLockedError: ErrorRow(409, _REQUEST, "collection_locked", retry_after_s=5),
    errors.IndexMismatchError: ErrorRow(409, _REQUEST, "index_mismatch"),
    errors.DamagedDataError: ErrorRow(500, _SERVER, "data_damaged"),
    errors.CollectionError: ErrorRow(500, _SERVER, "collection_error"),
    errors.ServiceBusyError: ErrorRow(503, _SERVER, "service_busy", retry_after_s=3),
    errors.RateLimitError: ErrorRow(429, "rate_limit_error", "rate_limit_exceeded", retry_after_s=10),
    errors.QuotaExhaustedError: ErrorRow(429, "insufficient_quota", "insufficient_quota"),
    errors.AuthenticationError: ErrorRow(502, _UPSTREAM, "upstream_authentication"),
    errors.EndpointUnreachableError: ErrorRow(503, _UPSTREAM, "upstream_unreachable", retry_after_s=5),
    errors.EndpointTimeoutError: ErrorRow(504, _UPSTREAM, "upstream_timeout"),
    errors.EndpointResponseError: ErrorRow(502, _UPSTREAM, "upstream_error"),
    errors.EndpointError: ErrorRow(502, _UPSTREAM, "upstream_error"),
    errors.EmbeddingInputError: ErrorRow(422, _REQUEST, "text_not_embeddable"),
    errors.EmbeddingError: ErrorRow(502, _UPSTREAM, "embedding_failed"),
    errors.GenerationError: ErrorRow(502, _UPSTREAM, "generation_failed"),
    errors.RerankError: ErrorRow(502, _UPSTREAM, "rerank_failed"),
    errors.MediaRefusedError: ErrorRow(422, _REQUEST, "media_refused"),
    errors.MediaSizeError: ErrorRow(502, _UPSTREAM, "media_too_large"),
    errors.MediaError: ErrorRow(502, _UPSTREAM, "reading_media_failed"),
    errors.ModerationError: ErrorRow(502, _UPSTREAM, "moderation_failed"),
    errors.ConfigError: ErrorRow(500, _SERVER, "configuration_error"),
    errors.RagError: ErrorRow(500, _SERVER, "internal_error"),
    Exception: ErrorRow(500, _SERVER, "internal_error"),
}
"""Errors of this project and what they become; an error without a row of its own has its nearest base's."""

_STATUS_ROWS: Mapping[int, ErrorRow] = {
    400: ErrorRow(400, _REQUEST, "invalid_request"),
    401: ErrorRow(401, _REQUEST, "invalid_api_key"),
    403: ErrorRow(403, _PERMISSION, "forbidden"),
    404: ErrorRow(404, _REQUEST, "not_found"),
    405: ErrorRow(405, _REQUEST, "method_not_allowed"),
    413: ErrorRow(413, _REQUEST, "request_too_large"),
    415: ErrorRow(415, _REQUEST, "unsupported_media_type"),
}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as it is sent: status, body and headers of its own."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def error_reply(error: Exception) -> ErrorReply:
    """Return what a client is told. Errors that are no RagError say nothing of the inside; the log has the rest."""
    endpoint = _endpoint_error(error)
    row = _row(endpoint or error)
    if isinstance(error, RagError):
        message = str(error)
    else:
        message = "the service failed inside; its log says more under this reply's x-request-id"
    code, param, headers = row.code, None, {}
    if endpoint is not None:
        headers["x-should-retry"] = "true" if endpoint.retriable else "false"
        if row.code == "upstream_error" and endpoint.code:
            code, param = endpoint.code, endpoint.param
    wait_s = _retry_after_s(row, endpoint)
    if wait_s is not None:
        headers["retry-after"] = str(wait_s)
    return ErrorReply(row.status, _body(message, row.type, param, code), headers)


def reply_for_status(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ErrorReply:
    """Return the reply for an error of the request itself: no such route, a bad field, a missing key."""
    row = _STATUS_ROWS.get(status) or ErrorRow(status, _REQUEST if status < 500 else _SERVER, f"http_{status}")
    return ErrorReply(status, _body(message, row.type, param, code or row.code), dict(headers or {}))


def _body(message: str, kind: str, param: str | None, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _row(error: Exception) -> ErrorRow:
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def _endpoint_error(error: BaseException | None) -> EndpointError | None:
    """Return the failed model call behind an error: what failed decides the status, not what we were doing."""
    while error is not None and not isinstance(error, EndpointError):
        error = error.__cause__
    return error


def _retry_after_s(row: ErrorRow, endpoint: EndpointError | None) -> int | None:
    if endpoint is None or row.retry_after_s is None or endpoint.retry_after_s is None:
        return row.retry_after_s
    return min(max(math.ceil(endpoint.retry_after_s), 1), MAX_RETRY_AFTER_S)
