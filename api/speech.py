"""Who transcribes recordings: the settings, and what is known of the endpoint, put together."""

from __future__ import annotations

from api.choice import Choice
from rag.gateway.endpoint import EndpointClient
from rag.gateway.providers import Provider, speech_model
from rag.gateway.speech import SpeechReader
from rag.prices import UsagePrice, known_usage_price
from rag.settings import AudioOptions

__all__ = ["speech_reader"]


def speech_reader(options: AudioOptions, choice: Choice, client: EndpointClient, *, model: str) -> SpeechReader:
    """Return the reader of speech that a chosen endpoint is."""
    assert choice.provider is not None
    return SpeechReader(
        client,
        model=model,
        known=speech_model(choice.provider, model),
        price=_price(options, choice.provider, model),
        task=options.task,
        reply_format=options.response_format or None,
        language=options.language,
        prompt=options.prompt,
        temperature=options.temperature,
        part_s=options.part_seconds,
        media_type=f"audio/{options.format}" if options.format else "",
        concurrency=options.concurrency,
        patience_s=options.patience_s,
    )


def _price(options: AudioOptions, provider: Provider, model: str) -> UsagePrice | None:
    """Return what a minute costs: by the settings, else by the table; None where it is not known."""
    if options.price_per_minute is None:
        return known_usage_price(provider.name, model)
    return UsagePrice(options.price_currency, "audio.price_per_minute", per_minute=options.price_per_minute)
