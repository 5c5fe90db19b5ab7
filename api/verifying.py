"""Builds what looks again at the verdicts of an answer."""

from __future__ import annotations

from api.wiring import CHAT_TOKENIZER, Wiring
from rag.answering.verification import Verifier
from rag.errors import ConfigError
from rag.settings import AnswerOptions

__all__ = ["verifier_of"]


async def verifier_of(wiring: Wiring, options: AnswerOptions) -> Verifier | None:
    """Return who verifies; None where no model is named. Raises ConfigError where there is no endpoint to ask."""
    if not options.verify_model:
        return None
    if wiring.choice("chat").kind == "local":
        raise ConfigError(
            f"answer.verify_model is {options.verify_model!r}, and no chat endpoint is set; set OPENAI_API_KEY, or see "
            "`rag doctor`"
        )
    client, _ = await wiring.chat()
    return Verifier(
        client,
        model=options.verify_model,
        tokenizer=wiring.tokenizer(CHAT_TOKENIZER),
        max_tokens=options.verify_tokens,
        timeout_s=options.verify_timeout_s,
    )
