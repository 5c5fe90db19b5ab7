"""What an agent may spend before it has to answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rag.types import Usage

__all__ = ["AgentLimits", "Budget"]


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """The model may call tools in ``max_steps`` turns; the results of one turn are ``max_tool_tokens`` together.

    ``max_tokens`` are those of all turns, sent and written, the answer's own included, as far as they can be foreseen:
    a turn that might not leave enough for the answer is not begun. After ``timeout_s`` no tool is called any more.
    """

    max_steps: int = 8
    max_tokens: int = 100_000
    timeout_s: float = 120.0
    max_tool_tokens: int = 4000

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_tokens", "max_tool_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")


class Budget:
    """What is left of the limits while a question is answered; time counts from when it is made."""

    def __init__(self, limits: AgentLimits) -> None:
        self.limits = limits
        self.usage = Usage()
        self.n_turns = 0
        self._deadline = time.monotonic() + limits.timeout_s

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def spend(self, usage: Usage) -> None:
        """Count one turn of the model."""
        self.usage = Usage(
            self.usage.input_tokens + usage.input_tokens,
            self.usage.output_tokens + usage.output_tokens,
            self.usage.embedding_tokens,
            self.usage.estimated or usage.estimated,
        )

    def spent(self, *, next_input: int) -> str:
        """Return which limit forbids another turn with tools, in words; "" where none does.

        ``next_input`` are the tokens of the conversation so far: they are paid for by that turn, and again, with what
        its tools bring, by the answer after it.
        """
        limits = self.limits
        if self.n_turns >= limits.max_steps:
            return f"the {limits.max_steps} turns with tools are used (agent.max_steps)"
        if self.seconds_left <= 0:
            return f"the {limits.timeout_s:g} seconds are over (agent.timeout_s)"
        paid = self.usage.input_tokens + self.usage.output_tokens
        if self.n_turns and paid + 2 * next_input + limits.max_tool_tokens > limits.max_tokens:
            return f"another step could exceed the {limits.max_tokens} tokens (agent.max_tokens)"
        return ""
