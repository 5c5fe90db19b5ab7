"""Sends media to whoever reads them, at the pace they bear: what passes is waited out, what does not is said once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from ingest.pacing import Pacer, Ticket
from ingest.patience import is_over, tell
from ingest.refusals import Refusal, refusal_of
from ingest.turns import Turns
from rag.contracts import MediaReader
from rag.errors import MediaError, MediaRefusedError, MediaSizeError
from rag.types import MediaText, Medium

__all__ = ["MediaStoppedError", "PacedMedia", "UnsureRefusalError"]

_POLICY = re.compile(
    r"content[ _-]?(?:policy|filter|management)|safety|moderation|inappropriate|敏感|违规|不合规", re.I
)


class MediaStoppedError(MediaError):
    """The reader is of no use whatever it is sent: a wrong key, an account without money."""


class UnsureRefusalError(MediaError):
    """A medium was refused as bad by a reader that has read nothing yet: it may refuse everything."""


class PacedMedia:
    """The way to one reader. Used from one event loop; ``on_pause`` is called now and then while nothing may start.

    ``has_read`` says that the reader is known to have read something before.
    """

    def __init__(
        self,
        reader: MediaReader,
        *,
        has_read: bool = False,
        on_pause: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        profile = reader.profile
        self._reader = reader
        self._pacer = Pacer(first=profile.concurrency, most=profile.max_concurrency, clock=clock)
        self._turns = Turns(self._pacer, on_pause=on_pause, check=self._raise_if_over, clock=clock)
        self._over: MediaError | None = None
        self.has_read = has_read

    async def read(self, medium: Medium) -> MediaText:
        """Return the text of a medium, however often it must be asked for.

        Raises MediaRefusedError for one that will never be read (UnsureRefusalError, where nothing else was read yet),
        MediaStoppedError where nothing will be, and MediaError where the reader is out of reach or makes no sense.
        """
        is_second = False
        while True:
            ticket = await self._turns.next(1)
            try:
                text = await self._reader.read(medium)
            except MediaRefusedError:
                self._pacer.end(ticket)
                raise
            except MediaError as error:
                if not self._note(error, refusal_of(error), ticket):
                    if is_second or refusal_of(error).kind != "malformed":
                        raise self._final(error) from error.__cause__
                    is_second = True
            except BaseException:
                self._pacer.end(ticket)
                raise
            else:
                self._pacer.succeed(ticket)
                self.has_read = True
                return text
            finally:
                self._turns.changed()

    def _note(self, error: MediaError, refusal: Refusal, ticket: Ticket) -> bool:
        """Tell the pacer, and give up where there is no hope; return whether the same may be read later."""
        if not tell(self._pacer, ticket, error, refusal):
            if refusal.kind == "hopeless":
                self._give_up(MediaStoppedError(str(error)), error)
            return False
        troubled_s, patience_s = self._pacer.troubled_s, self._reader.profile.patience_s
        if is_over(troubled_s, error, refusal, patience_s=patience_s, has_succeeded=self.has_read):
            said = f"{self._reader.profile.title} has answered nothing for {troubled_s:.0f} s, the last error: {error}"
            self._give_up(MediaError(said), error)
        return True

    def _final(self, error: MediaError) -> MediaError:
        """Return what an error means that asking again would not help."""
        if isinstance(error, MediaSizeError):
            return error  # nothing is wrong with it: a setting makes it fit
        if refusal_of(error).kind == "malformed":
            is_ours = self.has_read and not self._reader.profile.endpoint  # it reads other media: it is this one
            return MediaRefusedError(str(error)) if is_ours else error
        if self.has_read or _POLICY.search(str(error)):
            return MediaRefusedError(str(error))
        return UnsureRefusalError(
            f"{error}; nothing else was read by {self._reader.profile.title} yet, so it may refuse everything: check "
            "that it takes such media"
        )

    def _give_up(self, error: MediaError, cause: MediaError) -> None:
        if self._over is None:
            self._over = error
            self._over.__cause__ = cause.__cause__
        self._turns.changed()
        self._raise_if_over()

    def _raise_if_over(self) -> None:
        if self._over is not None:
            raise type(self._over)(str(self._over)) from self._over.__cause__
