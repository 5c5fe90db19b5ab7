"""The settings of what is kept about answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag.settings.checks import require

__all__ = ["ObserveOptions"]


@dataclass(frozen=True, slots=True)
class ObserveOptions:
    """What is recorded of answers. It is off, and no text is in it, unless said."""

    records: Literal["off", "on"] = "off"
    """whether each answer is recorded in the library (answers.db), which feedback needs"""
    text: Literal["off", "on"] = "off"
    """whether questions, answers and quotes may be in records"""
    keep_days: float = 30.0
    """days after which a record is deleted, with the feedback to it"""

    def __post_init__(self) -> None:
        require(0 < self.keep_days <= 36_500, "keep_days", self.keep_days, "a number above 0, at most 36500")
