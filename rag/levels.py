"""Words for how much: how long a model thinks, and how much it says. Here because settings load no model library."""

from __future__ import annotations

from typing import Literal

__all__ = ["ReasoningEffort", "Verbosity"]

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]
