"""Moderation and the list of models over real HTTP."""

from __future__ import annotations

import pytest

from rag.errors import EndpointResponseError, ModerationError, RateLimitError
from rag.gateway.models import Model, list_models
from rag.gateway.moderations import EndpointModerator
from tests.upstream import Fault


async def test_each_text_gets_its_verdict_in_order(connect, upstream):
    upstream.flagged_words = {"attack": "violence", "insult": "harassment"}
    moderator = EndpointModerator(connect(), model="omni-moderation-latest")
    texts = ["tea", "we attack", "", "attack and insult", " \n"] + ["tea"] * 60 + ["an insult"]
    verdicts = await moderator.moderate(texts)
    assert [place for place, verdict in enumerate(verdicts) if verdict.flagged] == [1, 3, 65]
    assert verdicts[3].categories == ("harassment", "violence")
    assert verdicts[1].scores["violence"] == 0.9
    assert verdicts[0].model == "omni-moderation-latest"
    assert len(verdicts) == len(texts)
    assert [len(call.json["input"]) for call in upstream.calls("moderations")] == [32, 32]


async def test_a_long_text_is_judged_to_its_end(connect, upstream):
    text = "tea " * 10_000 + "attack"
    (verdict,) = await EndpointModerator(connect(), model="m").moderate([text])
    assert verdict.flagged
    assert verdict.categories == ("violence",)
    assert "".join(upstream.calls("moderations")[0].json["input"]) == text


async def test_no_texts_cost_nothing(connect, upstream):
    assert await EndpointModerator(connect(), model="m").moderate([]) == []
    assert not upstream.requests


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(edit=lambda reply: {**reply, "results": reply["results"][1:]}), EndpointResponseError),
        (Fault(edit=lambda reply: {"results": [{}, {}]}), EndpointResponseError),
        (Fault(body={}), EndpointResponseError),
        (Fault(status=404), EndpointResponseError),
        (Fault(status=429), RateLimitError),
    ],
)
async def test_no_judgement_is_an_error(connect, upstream, fault, cause):
    upstream.always("moderations", fault)
    with pytest.raises(ModerationError, match="moderating 2 texts with 'm'") as caught:
        await EndpointModerator(connect(), model="m").moderate(["a", "b"])
    assert isinstance(caught.value.__cause__, cause)


async def test_the_models_of_an_endpoint(connect, upstream):
    data = [{"id": "a", "owned_by": "x", "shutdown_date": "2027-01-14", "more": 1}, {"id": "b"}, {"object": "odd"}]
    upstream.script("models", Fault(body={"data": data}))
    assert await list_models(connect()) == [Model("a", "x", "2027-01-14", data[0]), Model("b", raw=data[1])]
    upstream.script("models", Fault(body={"object": "list"}))
    with pytest.raises(EndpointResponseError, match="name the model in the settings"):
        await list_models(connect())
