"""Recognises the abstention of a generator in a growing text, holding back no more than could still be one."""

from __future__ import annotations

from typing import Literal

from rag.contracts import ABSTENTION

__all__ = ["Abstention", "abstention_in"]

Abstention = Literal["yes", "no", "maybe"]

_WRAPPING = " \t\r\n\ufeff\"'“”‘’`*_#>-–—([{（【「『《<:：.。"


def abstention_in(text: str, *, final: bool = False) -> Abstention:
    """Tell whether a text abstains: it begins with ABSTENTION, perhaps wrapped in marks, perhaps with prose after it.

    "maybe" only where the text is not ``final`` and more of it could decide. ``NOT_IN_DOCUMENTS_X`` is another word.
    """
    body = text.lstrip(_WRAPPING).replace("\\_", "_")
    if not final:
        body = body.removesuffix("\\")
    if not body.startswith(ABSTENTION):
        return "maybe" if not final and ABSTENTION.startswith(body) else "no"
    after = body[len(ABSTENTION) :].lstrip("_")
    if not after:
        return "yes" if final else "maybe"
    return "no" if after[0].isascii() and after[0].isalnum() else "yes"
