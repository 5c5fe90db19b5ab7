"""What a run has opened is closed, and the first thing that went wrong is the one that is told."""

from __future__ import annotations

import pytest

from ingest.closing import closing_all
from rag.errors import CollectionError, RagError


def broken() -> None:
    raise OSError(5, "Input/output error")


async def test_an_error_of_the_run_is_told_and_that_of_the_closing_is_a_note() -> None:
    closed: list[str] = []

    async def run() -> None:
        async with closing_all() as stack:
            stack.callback(closed.append, "the first")
            stack.callback(broken)
            raise CollectionError("the disk is full") from ValueError("its cause")

    with pytest.raises(CollectionError) as told:
        await run()
    assert str(told.value) == "the disk is full"
    assert told.value.__notes__ == ["and when the run was cleaned up: [Errno 5] Input/output error"]
    assert isinstance(told.value.__cause__, ValueError)
    assert closed == ["the first"]


async def test_an_error_of_the_closing_alone_is_told_as_one_that_a_user_can_act_on() -> None:
    with pytest.raises(RagError, match=r"in good order: .*Input/output error; what is stored is safe, run it again"):
        async with closing_all() as stack:
            stack.callback(broken)


async def test_an_oserror_of_the_run_stays_what_it_is() -> None:
    with pytest.raises(OSError, match="Input/output error"):
        async with closing_all():
            broken()
