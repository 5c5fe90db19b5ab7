"""The errors a user can act on.

Each message has three parts: what failed, what was found, what to do. Wrong use by a programmer is ``ValueError`` or
``TypeError`` instead. Keys and document texts never stand in a message.
"""

from __future__ import annotations

__all__ = [
    "AccessDeniedError",
    "AnswerEventsGoneError",
    "AnswerFormatError",
    "AnswerNotFoundError",
    "AuthenticationError",
    "CollectionError",
    "CollectionExistsError",
    "CollectionLockedError",
    "CollectionNotFoundError",
    "ConfigError",
    "DamagedDataError",
    "DocumentNotFoundError",
    "DocumentReadError",
    "EmbeddingError",
    "EmbeddingInputError",
    "EndpointError",
    "EndpointResponseError",
    "EndpointTimeoutError",
    "EndpointUnreachableError",
    "FeedbackError",
    "FilterError",
    "GenerationError",
    "IndexMismatchError",
    "MediaError",
    "MediaRefusedError",
    "MediaSizeError",
    "ModerationError",
    "OwnSettingError",
    "QuestionError",
    "QuestionSetError",
    "QuotaExhaustedError",
    "RagError",
    "RateLimitError",
    "RerankError",
    "ServiceBusyError",
    "ThreadBusyError",
    "ThreadError",
    "ThreadNotFoundError",
    "UnsupportedFormatError",
]


class RagError(Exception):
    """Base of all that a user can act on."""


class ConfigError(RagError):
    """A setting is missing or wrong."""


class OwnSettingError(ConfigError):
    """What a collection is to have as a setting of its own is none, or wrong."""


class AnswerFormatError(RagError):
    """An answer cannot be had in the form that was asked for: the schema is none, or nobody here writes JSON."""


class QuestionError(RagError):
    """A question cannot be asked: it is empty, say."""


class AnswerNotFoundError(RagError):
    """No answer has this id, or none that is kept still."""


class AnswerEventsGoneError(RagError):
    """Some of the events that were asked for are no longer kept."""


class FeedbackError(RagError):
    """What was said of an answer cannot be stored: no such rating, say."""


class FilterError(RagError):
    """A filter or an attribute is not in the form it must have."""


class AccessDeniedError(RagError):
    """The caller's key does not open this."""


class QuestionSetError(RagError):
    """A set of questions for an evaluation is not in the form it must have, or names what is not there."""


class ThreadError(RagError):
    """A conversation cannot do what was asked, or is not in the form it must have."""


class ThreadNotFoundError(ThreadError):
    """No conversation has this id."""


class ThreadBusyError(ThreadError):
    """An answer of this conversation is being written; one follows the other."""


class ServiceBusyError(RagError):
    """The service does as much of this at once as it may; it will be able to again soon."""


class DocumentReadError(RagError):
    """A document cannot be read.

    ``retriable`` tells whether reading the same bytes again could succeed (a file that vanished or is locked, say).
    """

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.retriable = retriable


class UnsupportedFormatError(DocumentReadError):
    """No reader knows this format."""


class CollectionError(RagError):
    """A collection cannot do what was asked."""


class CollectionNotFoundError(CollectionError):
    """No collection has this name."""


class CollectionExistsError(CollectionError):
    """A collection of this name is already there."""


class CollectionLockedError(CollectionError):
    """Another process is writing to the collection; the message names it."""


class DocumentNotFoundError(CollectionError):
    """No document has this id."""


class IndexMismatchError(CollectionError):
    """The collection was made with another model, dimension, tokenizer or format."""


class DamagedDataError(CollectionError):
    """What is stored is not as it was written: the disk has altered it."""


class EndpointError(RagError):
    """A model endpoint failed.

    ``status`` is the HTTP status, or None where no answer came. ``code`` is the provider's own code, ``param`` the
    request field it objects to and ``request_id`` its name for the call, if it sent them. ``retriable`` tells whether
    the same call could succeed later, ``retry_after_s`` when; retries inside the gateway are already spent.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retriable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retriable = retriable
        self.retry_after_s = retry_after_s


class EndpointUnreachableError(EndpointError):
    """No connection to the endpoint, or it broke."""


class EndpointTimeoutError(EndpointError):
    """The endpoint did not answer in time."""


class EndpointResponseError(EndpointError):
    """The endpoint answered with an error, or with something that is not an answer."""


class AuthenticationError(EndpointError):
    """The endpoint refused the key (401, 403)."""


class RateLimitError(EndpointError):
    """The endpoint asked to slow down (429) and the retries are spent."""


class QuotaExhaustedError(EndpointError):
    """The account has no money or quota left; waiting does not help."""


class EmbeddingError(RagError):
    """Texts could not be embedded; the cause is chained."""


class EmbeddingInputError(EmbeddingError):
    """One of the texts can never be embedded as it is: it is longer than the model reads, say."""


class RerankError(RagError):
    """Passages could not be reranked; the cause is chained."""


class GenerationError(RagError):
    """An answer could not be generated; the cause is chained."""


class MediaError(RagError):
    """A page, a picture or a recording could not be read for now; the cause is chained."""


class MediaSizeError(MediaError):
    """It is larger or longer than the reader takes, against what is known of it; a setting makes it smaller."""


class MediaRefusedError(MediaError):
    """It is not read: the reader refuses it, whenever it is asked.

    Unless ``lasting``, another time may be better (it took too long, say), and the refusal is not remembered.
    """

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class ModerationError(RagError):
    """A text could not be moderated; the cause is chained."""
