"""How much of an answer its sources bear out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rag.types import Statement

__all__ = ["Support", "support_of"]


@dataclass(frozen=True, slots=True)
class Support:
    """The statements of an answer by verdict. ``share`` in [0, 1] is that of the supported; 1 where there are none."""

    n_statements: int
    n_supported: int
    n_partly: int
    n_unsupported: int
    n_unknown_marker: int
    n_uncited: int
    share: float


def support_of(statements: Sequence[Statement]) -> Support:
    """Count the statements by verdict."""
    counts = Counter(statement.verdict for statement in statements)
    return Support(
        n_statements=len(statements),
        n_supported=counts["supported"],
        n_partly=counts["partly"],
        n_unsupported=counts["unsupported"],
        n_unknown_marker=counts["unknown marker"],
        n_uncited=counts["uncited"],
        share=counts["supported"] / len(statements) if statements else 1.0,
    )
