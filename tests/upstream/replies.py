"""Good replies: embeddings that mean something, chat that cites, moderation by word."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = dict[str, Any]
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
CREATED = 1_760_000_000


@dataclass(frozen=True)
class Message:
    """A scripted reply with more to it than text; each tool call is (name, arguments as JSON)."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None


def words(text: str) -> list[str]:
    """Return the lower-case words; each CJK character is one."""
    return _WORD.findall(text.lower())


@functools.lru_cache(maxsize=50_000)
def _word_vector(word: str, dimensions: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dimensions)


def embedding_of(text: str, dimensions: int) -> NDArray[np.float32]:
    """Return a unit vector: the sum of one random direction per word, so that shared words bring texts closer."""
    total = sum((_word_vector(word, dimensions) for word in words(text) or [text]), np.zeros(dimensions))
    return (total / np.linalg.norm(total)).astype(np.float32)


def embeddings_reply(request: JSON, texts: list[str], dimensions: int, *, base64_ok: bool) -> JSON:
    """Return the reply to an embeddings request; base64 where asked for and known here."""
    as_base64 = base64_ok and request.get("encoding_format") == "base64"
    rows = [embedding_of(text, dimensions) for text in texts]
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if as_base64 else row.tolist(),
        }
        for place, row in enumerate(rows)
    ]
    n_tokens = sum(len(words(text)) for text in texts)
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "model": request.get("model"), "data": data, "usage": usage}


def cite_first_source(request: JSON) -> str:
    """Return the default answer: the first sentence after the last message's ``[1]``, with its marker."""
    content = request["messages"][-1].get("content") or ""
    text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    _, marker, rest = text.partition("[1]")
    if not marker:
        return "The documents say so [1]."
    lines = [line.strip() for line in rest.strip().splitlines() if line.strip()]
    body = " ".join(lines[1:] or lines)
    sentence = re.split(r"(?<=[.!?])\s|(?<=[。!?])", body, maxsplit=1)[0][:300].rstrip()
    return f"{sentence.rstrip('.')} [1]." if sentence else "The documents say so [1]."


def _usage(request: JSON, text: str) -> JSON:
    prompt = sum(len(words(str(message.get("content")))) for message in request["messages"])
    output = len(words(text))
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _calls(message: Message) -> list[JSON]:
    return [
        {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, (name, arguments) in enumerate(message.tool_calls)
    ]


def _finish(message: Message) -> str:
    return message.finish_reason or ("tool_calls" if message.tool_calls else "stop")


def chat_reply(request: JSON, message: Message, call: int) -> JSON:
    """Return a whole chat completion."""
    body: JSON = {"role": "assistant", "content": message.text or None, "refusal": message.refusal}
    if message.reasoning:
        body["reasoning_content"] = message.reasoning
    if message.tool_calls:
        body["tool_calls"] = _calls(message)
    choice = {"index": 0, "message": body, "logprobs": None, "finish_reason": _finish(message)}
    head = {"id": f"chatcmpl-{call}", "object": "chat.completion", "created": CREATED, "model": request.get("model")}
    return {**head, "choices": [choice], "usage": _usage(request, message.text)}


def _deltas(message: Message) -> Iterator[JSON]:
    yield {"role": "assistant", "content": ""}
    for piece in re.findall(r"\S+\s*|\s+", message.reasoning):
        yield {"reasoning_content": piece}
    for piece in re.findall(r"\S+\s*|\s+", message.text):
        yield {"content": piece}
    if message.refusal:
        yield {"refusal": message.refusal}
    for place, call in enumerate(_calls(message)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        yield {"tool_calls": [{**call, "index": place, "function": {**call["function"], "arguments": ""}}]}
        for part in (arguments[:half], arguments[half:]):
            yield {"tool_calls": [{"index": place, "function": {"arguments": part}}]}


def chat_events(request: JSON, message: Message, call: int) -> list[Any]:
    """Return the chunks of a streamed completion, a word each; usage last where it was asked for."""
    head = {"id": f"chatcmpl-{call}", "object": "chat.completion.chunk", "created": CREATED}
    head["model"] = request.get("model")
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in _deltas(message)]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(message)}]})
    if (request.get("stream_options") or {}).get("include_usage"):
        events.append({**head, "choices": [], "usage": _usage(request, message.text)})
    return events


def moderations_reply(request: JSON, texts: list[str], flagged_words: Mapping[str, str]) -> JSON:
    """Flag the texts that hold one of the words, in the category given for it."""
    categories = sorted({"harassment", "hate", "self-harm", "sexual", "violence", *flagged_words.values()})
    results = []
    for text in texts:
        found = {category for word, category in flagged_words.items() if word in text.lower()}
        results.append(
            {
                "flagged": bool(found),
                "categories": {name: name in found for name in categories},
                "category_scores": {name: 0.9 if name in found else 0.01 for name in categories},
                "category_applied_input_types": {name: ["text"] for name in categories},
            }
        )
    return {"id": "modr-1", "model": request.get("model") or "omni-moderation-latest", "results": results}


def models_reply(names: tuple[str, ...]) -> JSON:
    entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": "upstream"} for name in names]
    return {"object": "list", "data": entries}


def rerank_reply(request: JSON) -> JSON:
    """Return the share of the query's words that each document holds, best first."""
    asked = set(words(request["query"]))
    shares = [len(asked & set(words(text))) / len(asked) for text in request["documents"]]
    order = sorted(range(len(shares)), key=lambda place: -shares[place])[: request.get("top_n")]
    results = [{"index": place, "relevance_score": shares[place]} for place in order]
    return {"id": "rerank-1", "model": request.get("model"), "results": results}
