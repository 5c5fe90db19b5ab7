"""Closing what a run has opened, without hiding what went wrong before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from rag.errors import RagError

__all__ = ["closing_all"]


@asynccontextmanager
async def closing_all() -> AsyncIterator[AsyncExitStack]:
    """Lend a stack of what is to be closed; all of it is, whatever a closing raises.

    The block's own error is what the caller gets: what a closing raises after it is added as a note. After a block
    that went well, an OSError of a closing is a RagError.
    """
    first: BaseException | None = None
    try:
        async with AsyncExitStack() as stack:
            try:
                yield stack
            except BaseException as error:
                first = error
                raise
    except (OSError, RagError) as late:
        if late is first:
            raise
        if first is not None:
            first.add_note(f"and when the run was cleaned up: {late}")
            raise first from first.__cause__
        if isinstance(late, RagError):
            raise
        raise RagError(
            f"the run could not be ended in good order: {late}; what is stored is safe, run it again"
        ) from late
