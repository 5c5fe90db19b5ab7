"""An agent asked over HTTP, by command, and by somebody with access labels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from api.cli.main import main
from api.footnote import Footnote
from tests.agent.scripts import Open, call, calls, results, turns
from tests.api.conftest import Service, service, write
from tests.upstream import Upstream

__all__ = ["service"]

ANSWER = turns(calls(call("search", query="tower height", k=1), text="Let me look."), "It is 330 metres tall [1].")


def chat(upstream: Upstream) -> dict[str, str]:
    return {"chat__base_url": upstream.base_url, "chat__api_key": "sk-agent", "chat__model": "stub-chat"}


def test_over_http_the_answer_has_its_trace(service: Service, upstream: Upstream) -> None:
    upstream.reply = ANSWER
    reply = service(**chat(upstream)).post("/ask", json={"question": "How tall is the tower?", "agent": True})
    assert reply.status_code == 200, reply.text
    (step,) = reply.json()["trace"]
    assert (step["number"], step["tool"], step["markers"], step["error"]) == (1, "search", [1], "")
    assert json.loads(step["arguments"]) == {"query": "tower height", "k": 1}
    assert reply.json()["queries"] == ["tower height"]


def test_over_http_steps_are_events_before_the_sources(service: Service, upstream: Upstream) -> None:
    upstream.reply = ANSWER
    asked = {"question": "How tall is the tower?", "agent": True, "stream": True}
    text = service(**chat(upstream)).post("/ask", json=asked).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events]
    assert kinds.index("step") < kinds.index("retrieved") < kinds.index("delta")
    assert (kinds[0], kinds[-1]) == ("started", "done")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    (step,) = (event["step"] for event in events if event["type"] == "step")
    assert step["said"] == "Let me look."


@pytest.mark.parametrize("command", [["ask", "How tall is the tower?"], ["chat", "--no-store"]], ids=str)
def test_the_command_tells_its_steps_on_standard_error(
    command: list[str],
    ingested: Path,
    upstream: Upstream,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    question = tmp_path / "questions"
    question.write_text("How tall is the tower?\n", encoding="utf-8")
    upstream.reply = ANSWER
    settings = [f"--set={name.replace('__', '.')}={value}" for name, value in chat(upstream).items()]
    with question.open(encoding="utf-8") as lines:
        monkeypatch.setattr("sys.stdin", lines)
        status = main([*command, "--agent", "--library", str(ingested), *settings])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "It is 330 metres tall [1]." in said.out
    assert 'step 1: search {"query": "tower height", "k": 1}: 1 hits' in said.err
    assert "step 1" not in said.out


async def test_what_access_labels_keep_out_no_tool_shows(
    opened: Open, library: Path, upstream: Upstream, tmp_path: Path
) -> None:
    secret = "---\naccess: [board]\n---\n# Plan\n\nThe tower will be sold for 7 million.\n"

    def ingest() -> None:
        async def run() -> None:
            async with Footnote.open(library, environ={}) as footnote:
                await footnote.ingest(write(tmp_path / "more", {"plan.md": secret}))

        asyncio.run(run())

    await asyncio.to_thread(ingest)
    upstream.reply = turns(
        calls(
            call("search", query="tower sold million"),
            call("read", document="plan.md"),
            call("grep", pattern="million"),
            call("list"),
        ),
        "It is 330 metres tall [1].",
    )
    footnote = opened(library)
    open_to_all = await footnote.seen_by([]).ask("What is it sold for?", agent=True)
    told = results(upstream.calls("chat")[-1].json)
    assert not any("7 million" in result for result in told)
    assert "no document 'plan.md'" in told[1]
    assert "plan.md" not in told[3]
    assert {source.document_id for source in open_to_all.sources} <= {"moon.md", "places/tower.txt", "元朝.txt"}
    await footnote.seen_by(["board"]).ask("What is it sold for?", agent=True)
    assert any("7 million" in result for result in results(upstream.calls("chat")[-1].json))
