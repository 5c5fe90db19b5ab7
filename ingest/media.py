"""The texts of media: what is known is not read again, the rest is, and kept as soon as it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from index.reading_store import ReadingStore
from ingest.isolation import Wanted
from ingest.media_sending import MediaStoppedError, PacedMedia, UnsureRefusalError
from ingest.readers.media import ServedKind, Want
from ingest.stopping import to_the_end
from rag.contracts import MediaReader
from rag.errors import MediaError, MediaRefusedError
from rag.types import MediaKind, MediaProfile, MediaText, PlacedText

__all__ = ["STAND_IN", "KnownMedia", "MediaSource", "MediaTexts", "OnRead", "served_kinds"]


STAND_IN = MediaText("", refusal="it is not read in a dry run")
"""Takes the place of a text in a rehearsal, where nothing is read."""


class OnRead(Protocol):
    """Hears of each text that a file gets; ``is_new`` where it was read now."""

    def __call__(self, kind: MediaKind, reader: MediaProfile, text: MediaText, *, is_new: bool) -> None: ...


class MediaSource(Protocol):
    """Has the texts of media: from what is known and from readers (``MediaTexts``), or as in a rehearsal."""

    @property
    def profiles(self) -> Mapping[MediaKind, MediaProfile]:
        """Who reads which kind."""
        ...

    def known(self, file: str) -> tuple[PlacedText, ...]:
        """Return the texts of a file that was taken apart before, by its SHA-256 in hex."""
        ...

    async def texts(self, wanted: Wanted, *, file: str) -> list[PlacedText]:
        """Return the texts that are wanted for a file. Raises MediaError where one cannot be had for now."""
        ...


def served_kinds(profiles: Mapping[MediaKind, MediaProfile]) -> tuple[ServedKind, ...]:
    """Return what a file's reader is told of who reads media."""
    return tuple(ServedKind(kind, profile.title, profile.limits) for kind, profile in profiles.items())


class KnownMedia:
    """What these readers have read before; ``store`` is None where there is none yet."""

    def __init__(self, readers: Mapping[MediaKind, MediaReader], store: ReadingStore | None) -> None:
        self._readers = readers
        self._store = store
        self.has_uses = store is not None and store.has_uses()
        """Whether media of any file are known to have been read; else nobody asks for each file."""

    @property
    def profiles(self) -> Mapping[MediaKind, MediaProfile]:
        return {kind: reader.profile for kind, reader in self._readers.items()}

    def known(self, file: str) -> tuple[PlacedText, ...]:
        if self._store is None or not self.has_uses or not self._readers:
            return ()
        return tuple(self._store.used(file, {reader.profile.identity for reader in self._readers.values()}))

    def read_before(self, wants: Sequence[Want]) -> dict[Want, MediaText]:
        """Return the texts of media that were read before, or need no reading: there is nothing in them."""
        found: dict[Want, MediaText] = {}
        for kind, reader in self._readers.items():
            media = {want: want.medium.address for want in wants if want.kind == kind and want.medium is not None}
            texts = self._store.get(reader.profile.identity, list(media.values())) if self._store and media else {}
            found.update({want: texts[address] for want, address in media.items() if address in texts})
        return found | {want: MediaText("", refusal=want.problem) for want in wants if want.medium is None}


class MediaTexts:
    """Reads what is not known. Used from one event loop; close it with ``aclose``.

    ``on_read`` hears of each text once it is stored, ``on_pause`` is called now and then while nothing may be sent.
    """

    def __init__(
        self,
        readers: Mapping[MediaKind, MediaReader],
        store: ReadingStore,
        *,
        on_read: OnRead = lambda kind, reader, text, *, is_new: None,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._readers = readers
        self._store = store
        self._known = KnownMedia(readers, store)
        self._on_read = on_read
        had = {stats.identity for stats in store.stats().readers if stats.n_readings}
        self._paced = {
            kind: PacedMedia(reader, has_read=reader.profile.identity in had, on_pause=on_pause)
            for kind, reader in readers.items()
        }
        self._under_way: dict[tuple[str, bytes], asyncio.Task[MediaText]] = {}

    @property
    def profiles(self) -> Mapping[MediaKind, MediaProfile]:
        return self._known.profiles

    def known(self, file: str) -> tuple[PlacedText, ...]:
        return self._known.known(file)

    async def texts(self, wanted: Wanted, *, file: str) -> list[PlacedText]:
        """Return the texts that are wanted for a file, each read once, however many files ask for it.

        What could be read is kept, also where something else fails.
        """
        texts = await asyncio.to_thread(self._known.read_before, wanted.wants)
        for want, text in texts.items():
            if want.medium is not None:
                self._on_read(want.kind, self._readers[want.kind].profile, text, is_new=False)
        new = [want for want in wanted.wants if want not in texts]
        outcomes = await asyncio.gather(*map(self._read_once, new), return_exceptions=True)
        failures: list[tuple[Want, BaseException]] = []
        for want, outcome in zip(new, outcomes, strict=True):
            if isinstance(outcome, MediaText):
                texts[want] = outcome
            else:
                failures.append((want, outcome))
        texts |= await self._believed_refusals(failures)
        await to_the_end(self._remember, wanted, {file, wanted.sha256}, texts)
        for want, error in sorted(failures, key=lambda failure: not isinstance(failure[1], MediaStoppedError)):
            if want not in texts:
                raise _of_place(want, error)
        return [PlacedText(want.kind, want.place, wanted.reader, text) for want, text in texts.items()]

    async def aclose(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_once(self, want: Want) -> MediaText:
        """Return the text of a medium; one that is under way already is waited for, not sent again."""
        assert want.medium is not None
        key = (self._readers[want.kind].profile.identity, want.medium.address)
        if key not in self._under_way:
            self._under_way[key] = asyncio.create_task(self._read(want))
            self._under_way[key].add_done_callback(lambda task: self._ended(key, task))
        return await asyncio.shield(self._under_way[key])

    def _ended(self, key: tuple[str, bytes], task: asyncio.Task[MediaText]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # heard by who waits; where nobody does any more, the run has failed of something else

    async def _read(self, want: Want) -> MediaText:
        assert want.medium is not None
        reader = self._readers[want.kind]
        try:
            text = await self._paced[want.kind].read(want.medium)
        except MediaRefusedError as error:
            text = MediaText("", refusal=str(error))
            if not error.lasting:
                return replace(text, reader=reader.profile.title)
        return await self._keep(reader, want, text)

    async def _keep(self, reader: MediaReader, want: Want, text: MediaText) -> MediaText:
        assert want.medium is not None
        text = replace(text, reader=reader.profile.title)
        await to_the_end(self._store.put, reader.profile.identity, want.kind, want.medium.address, text)
        self._on_read(want.kind, reader.profile, text, is_new=True)
        return text

    async def _believed_refusals(self, failures: Iterable[tuple[Want, BaseException]]) -> dict[Want, MediaText]:
        """Keep the refusals of a reader that has read something else meanwhile: it does not refuse everything."""
        found: dict[Want, MediaText] = {}
        for want, error in failures:
            if isinstance(error, UnsureRefusalError) and self._paced[want.kind].has_read:
                text = MediaText("", refusal=str(error.__cause__ or error))
                found[want] = await self._keep(self._readers[want.kind], want, text)
        return found

    def _remember(self, wanted: Wanted, files: Iterable[str], texts: Mapping[Want, MediaText]) -> None:
        readings = {
            (self._readers[want.kind].profile.identity, want.place): want.medium.address
            for want in texts
            if want.medium is not None
        }
        for file in files:
            self._store.use(file, wanted.reader, readings)
            self._known.has_uses = True


def _of_place(want: Want, error: BaseException) -> BaseException:
    if not isinstance(error, MediaError):
        return error
    said = type(error)(f"{want.kind} {want.place + 1}: {error}")
    said.__cause__ = error.__cause__
    return said
