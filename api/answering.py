"""What an answer is made with: settings of the run, those of the collection, and what was said with the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from api.ask_options import AskOptions
from rag.answering.answer import AnswerSettings
from rag.answering.languages import language_name
from rag.errors import ConfigError, OwnSettingError
from rag.settings import AnswerOptions, Settings, section_of
from rag.types import GenerationSettings

__all__ = ["OWN_SECTIONS", "answer_options", "answer_settings", "checked_own"]

OWN_SECTIONS = ("answer",)
"""The sections of which a collection may have settings of its own."""


def checked_own(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings of a collection, each in its type. Raises OwnSettingError naming what is wrong."""
    for section in given:
        if section not in OWN_SECTIONS:
            known = ", ".join(OWN_SECTIONS)
            raise OwnSettingError(f"a collection has no settings of its own for [{section}], only for [{known}]")
    try:
        return {section: section_of(section, values) for section, values in given.items()}
    except ConfigError as error:
        raise OwnSettingError(str(error)) from error


def answer_options(settings: Settings, own: Mapping[str, Mapping[str, Any]]) -> AnswerOptions:
    """Return how answers from a collection are written: flag, then the collection's own, then all other settings."""
    values = section_of("answer", own.get("answer", {}))
    return replace(
        settings.answer,
        **{name: value for name, value in values.items() if f"answer.{name}" not in settings.flags},
    )


def answer_settings(settings: Settings, own: Mapping[str, Mapping[str, Any]], asked: AskOptions) -> AnswerSettings:
    """Return how one answer is made; what was said with the question comes before everything."""
    options = answer_options(settings, own)
    if language := asked.get("language"):
        options = replace(options, language=language)
    generation: GenerationSettings | None = asked.get("generation")
    return AnswerSettings(
        k=settings.retrieval.k,
        context_tokens=options.context_tokens,
        history_tokens=options.history_tokens,
        generation=generation.over(options.generation()) if generation else options.generation(),
        extra_instructions=options.instructions,
        unsupported=asked.get("unsupported") or options.unsupported,
        addressed=settings.retrieval.instructions,
        wishes=asked.get("instructions") or "",
        language=language_name(options.language),
    )
