"""Text for documents that share nothing with each other."""

from __future__ import annotations

__all__ = ["prose"]

WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "knoll",
    "larch",
    "maple",
)


def prose(seed: int, n_sentences: int = 40) -> str:
    """Sentences that differ from seed to seed, so that no two documents share a chunk."""
    return " ".join(
        f"Sentence {i} of text {seed} tells of the {WORDS[(seed + i) % 13]} by the {WORDS[(seed * i + 3) % 13]}."
        for i in range(n_sentences)
    )
