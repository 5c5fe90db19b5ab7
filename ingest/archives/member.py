"""What the process that opens an archive tells of each file in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Member", "MemberState"]

MemberState = Literal["file", "skipped", "empty", "failed", "unsupported"]
"""A file to read, or the state that a file ends in because of what the archive says of it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, or an archive in it that is not entered. ``path`` is as in ``Found.member``.

    ``sha256`` is "" where nobody asked for it, and for what is too large to read. A path that ends with a slash is a
    folder that is left out.
    """

    path: tuple[str, ...]
    size: int = 0
    sha256: str = ""
    state: MemberState = "file"
    reason: str = ""

    def is_sound(self) -> bool:
        """Tell whether the fields are what their types say, for one that comes from another process."""
        fields = (self.path, self.size, self.sha256, self.state, self.reason)
        return (
            list(map(type, fields)) == [tuple, int, str, str, str]
            and self.state in get_args(MemberState)
            and len(self.path) > 0
            and all(type(part) is str for part in self.path)
        )
