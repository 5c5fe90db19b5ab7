"""What the system tells of changes: real folders and real events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest.events import FolderEvents, _refused, tells_nobody
from rag.errors import ConfigError

PATIENCE_S = 30


@asynccontextmanager
async def listening(path: Path, *, poll_s: float | None = None) -> AsyncIterator[Callable[[str], object]]:
    """Yield a function that waits until a path under the folder was told of."""
    arrived = asyncio.Event()
    events = FolderEvents(path, poll_s=poll_s, arrived=arrived)
    await events.start()
    seen: set[str] = set()

    async def told(name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(Path(path).name == name for path in seen):
                await arrived.wait()
                arrived.clear()
                seen.update(events.take())

    yield told
    events.close()


@pytest.mark.parametrize("poll_s", [None, 0.1], ids=["told", "looking"])
async def test_what_happens_to_files_is_told(tmp_path: Path, poll_s: float | None) -> None:
    (tmp_path / "old.md").write_text("old")
    async with listening(tmp_path, poll_s=poll_s) as told:
        (tmp_path / "deep").mkdir()
        (tmp_path / "new.md").write_text("new")
        await told("new.md")
        (tmp_path / "deep" / "inner.md").write_text("inner")
        await told("inner.md")
        (tmp_path / "old.md").unlink()
        await told("old.md")


async def test_a_file_is_followed_through_being_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("one")
    async with listening(path) as told:
        (tmp_path / ".notes.swp").write_text("two")
        (tmp_path / ".notes.swp").replace(path)
        await told("notes.md")


MOUNTS = (
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 21 0:50 / /mnt/team\\040files rw,relatime - nfs4 server:/export rw",
    "31 21 0:51 / /mnt/c rw,noatime - 9p drvfs rw",
    "32 21 0:52 / /home/me/remote rw - fuse.sshfs me@host: rw",
    "34 21 0:54 / /mnt/数据 rw - cifs //server/share rw",
    "33 21 0:53 / /mnt/team\\040files/local rw - tmpfs tmpfs rw",
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/docs", ""),
        ("/mnt/team files/reports", "nfs4"),
        ("/mnt/team files-2", ""),
        ("/mnt/team files/local/x", ""),
        ("/mnt/c/Users", "9p"),
        ("/home/me/remote", "fuse.sshfs"),
        ("/mnt/数据/a", "cifs"),
    ],
)
def test_network_drives_are_known_to_tell_nobody(path: str, kind: str) -> None:
    assert tells_nobody(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError('OS file watch limit reached. about ["/docs"]'), "fs.inotify.max_user_watches"),
        (OSError(24, "Too many open files (os error 24)"), "fs.inotify.max_user_instances"),
    ],
)
def test_a_limit_of_the_system_is_named_with_what_to_raise(error: OSError, named: str) -> None:
    words = str(_refused(Path("/docs"), error))
    assert named in words
    assert f"sudo sysctl {named}=" in words
    assert "ingest.watch_poll_s" in words
    assert isinstance(_refused(Path("/docs"), error), ConfigError)
