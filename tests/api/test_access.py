"""Access labels over HTTP and on the command line: what a reader's key does not open is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from api.cli.main import main
from api.footnote import Footnote
from api.keys import ReaderKeys
from rag.errors import AccessDeniedError, ConfigError
from tests.agent.scripts import call, calls, results, turns
from tests.api.conftest import Service, write
from tests.api.test_http_errors import BODIES, all_routes, error_of
from tests.upstream import Upstream

DOCUMENTS = {
    "open.md": "The canteen serves lunch from noon until two.\n",
    "hr/salaries.md": "The salary of the canteen's cook is 3,100 euros a month.\n",
    "board/plan.md": "The board plans to close the canteen in 2031.\n",
    "hr/forged.md": "---\naccess: [everyone, board]\n---\nThe canteen's cook gets a warning for the soup.\n",
    "spoilt.md": "---\naccess: 7\n---\nThe canteen has a secret door.\n",
}
RULES = ("board/** => {'access': ['board']}".replace("'", '"'), 'hr/** => {"access": ["hr", "board"]}')


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("labelled")
    write(home / "documents", DOCUMENTS)
    (home / "rag.toml").write_text(f"[ingest]\nattributes = {json.dumps(RULES)}\n", encoding="utf-8")

    import asyncio

    async def run() -> None:
        async with Footnote.open(home / "library", environ={}, file=home / "rag.toml") as footnote:
            await footnote.ingest(home / "documents")

    asyncio.run(run())
    return home / "library"


@pytest.fixture
def keys(labelled: Path) -> Iterator[dict[str, str]]:
    ring = ReaderKeys(labelled)
    yield {"hr": ring.add("payroll", ["hr"]), "board": ring.add("chair", ["board"]), "none": ring.add("guest", [])}
    for key in ring.all():
        ring.remove(key.name)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def documents_found(client: httpx2.Client, key: str, **body: object) -> set[str]:
    reply = client.post("/search", json={"query": "canteen", "k": 20, **body}, headers=bearer(key))
    assert reply.status_code == 200, reply.text
    return {hit["document"] for hit in reply.json()["hits"]}


SEEN = {
    "none": {"open.md"},
    "hr": {"open.md", "hr/salaries.md"},
    "board": {"open.md", "hr/salaries.md", "board/plan.md", "hr/forged.md"},
}


@pytest.mark.parametrize("who", SEEN)
def test_a_reader_finds_lists_and_counts_what_its_labels_open(
    service: Service, labelled: Path, keys: dict[str, str], who: str
) -> None:
    client, headers = service(labelled, server__api_key="owner's"), bearer(keys[who])
    assert documents_found(client, keys[who]) == SEEN[who]
    listed = client.get("/collections/default/documents", headers=headers).json()
    assert {entry["id"] for entry in listed["documents"]} == SEEN[who]
    assert listed["total"] == len(SEEN[who])
    shown = client.get("/collections/default", headers=headers).json()
    assert (shown["n_documents"], shown["n_chunks"], shown["files"]) == (
        len(SEEN[who]),
        len(SEEN[who]),
        {"indexed": len(SEEN[who])},
    )


def test_the_owner_sees_everything(service: Service, labelled: Path, keys: dict[str, str]) -> None:
    client = service(labelled, server__api_key="owner's")
    assert documents_found(client, "owner's") == set(DOCUMENTS)


def test_an_answer_is_written_from_what_the_reader_may_see(
    service: Service, labelled: Path, keys: dict[str, str]
) -> None:
    client = service(labelled, server__api_key="owner's")
    body = {"question": "What is the salary of the canteen's cook?"}
    answer = client.post("/ask", json=body, headers=bearer(keys["hr"])).json()
    assert "3,100" in answer["text"]
    guest = client.post("/ask", json=body, headers=bearer(keys["none"])).text
    assert "3,100" not in guest
    assert "salaries" not in guest


@pytest.mark.parametrize(
    "filter",
    ["access in (board)", {"type": "or", "filters": [{"type": "exists", "key": "access", "value": True}]}],
)
def test_a_filter_opens_nothing(service: Service, labelled: Path, keys: dict[str, str], filter: object) -> None:
    client = service(labelled, server__api_key="owner's")
    assert documents_found(client, keys["hr"], filter=filter) <= {"hr/salaries.md"}
    assert documents_found(client, keys["none"], filter=filter) == set()


@pytest.mark.parametrize("path", ["documents/board/plan.md", "source/board/plan.md", "documents/board/plan.md?start=0"])
def test_a_document_that_is_not_open_is_as_one_that_is_not_there(
    service: Service, labelled: Path, keys: dict[str, str], path: str
) -> None:
    client = service(labelled, server__api_key="owner's")
    closed = client.get(f"/collections/default/{path}", headers=bearer(keys["hr"]))
    absent = client.get(f"/collections/default/{path.replace('plan', 'plot')}", headers=bearer(keys["hr"]))
    assert (closed.status_code, absent.status_code) == (404, 404)
    assert closed.json()["error"]["message"] == absent.json()["error"]["message"].replace("plot", "plan")
    assert client.get(f"/collections/default/{path}", headers=bearer(keys["board"])).status_code == 200


OPEN = {
    ("POST", "/ask"),
    ("POST", "/search"),
    ("GET", "/answers/{answer_id}/events"),  # of answers that were asked for with the same key
    ("POST", "/answers/{answer_id}/cancel"),
    ("POST", "/answers/{answer_id}/feedback"),
    ("GET", "/health"),
    ("GET", "/collections"),
    ("GET", "/collections/{name}"),
    ("GET", "/collections/{name}/documents"),
    ("GET", "/collections/{name}/documents/{document_id}"),
    ("GET", "/collections/{name}/documents/{document_id}/pages/{page}.png"),
    ("GET", "/collections/{name}/source/{document_id}"),
}


def test_an_answer_is_followed_and_cancelled_only_with_the_key_it_was_asked_with(
    service: Service, labelled: Path, keys: dict[str, str]
) -> None:
    client = service(labelled, server__api_key="owner's", server__resume_s=60)
    body = {"question": "What is the salary?", "stream": True}
    answer_id = client.post("/ask", json=body, headers=bearer(keys["hr"])).headers["x-answer-id"]
    events, cancel = f"/answers/{answer_id}/events", f"/answers/{answer_id}/cancel"
    assert client.get(events, headers=bearer(keys["hr"])).status_code == 200
    for key in (keys["board"], "owner's"):
        assert client.get(events, headers=bearer(key)).status_code == 404
        assert client.post(cancel, headers=bearer(key)).status_code == 404


@pytest.mark.parametrize(("method", "path"), sorted(set(all_routes()) - OPEN))
def test_a_reader_may_do_nothing_else(
    service: Service, labelled: Path, keys: dict[str, str], method: str, path: str
) -> None:
    client = service(labelled, server__api_key="owner's")
    filled = path
    for part in ("name", "document_id", "label"):
        filled = filled.replace(f"{{{part}}}", {"name": "default", "document_id": "open.md"}.get(part, "early"))
    reply = client.request(method, filled, headers=bearer(keys["board"]), **BODIES.get((method, path), {}))
    assert reply.status_code == 403, reply.text
    assert error_of(reply)["code"] == "access_denied"


def test_a_key_that_is_taken_back_is_refused_at_once_and_the_service_stays_closed(
    service: Service, labelled: Path, keys: dict[str, str]
) -> None:
    client = service(labelled)  # no key of its own: the readers' keys close it all the same
    assert client.get("/collections").status_code == 401
    assert client.get("/health").status_code == 200
    assert client.get("/collections", headers=bearer(keys["hr"])).status_code == 200
    for name in ("payroll", "chair", "guest"):
        ReaderKeys(labelled).remove(name)
    assert client.get("/collections", headers=bearer(keys["hr"])).status_code == 401
    assert client.get("/collections").status_code == 401


def test_keys_that_cannot_be_read_let_nobody_in_but_the_owner(
    service: Service, labelled: Path, keys: dict[str, str]
) -> None:
    client = service(labelled, server__api_key="owner's")
    file = labelled / "keys.json"
    whole = file.read_bytes()
    assert keys["hr"].encode() not in whole
    file.write_bytes(whole[:-20])
    try:
        refused = client.get("/collections", headers=bearer(keys["hr"]))
        assert (refused.status_code, error_of(refused)["code"]) == (500, "configuration_error")
        assert client.get("/collections", headers=bearer("owner's")).status_code == 200
    finally:
        file.write_bytes(whole)
    assert client.get("/collections", headers=bearer(keys["hr"])).status_code == 200


async def test_in_python_the_view_reads_and_does_nothing_else(labelled: Path) -> None:
    async with Footnote.open(labelled, environ={}) as footnote:
        seen = footnote.seen_by(["hr"])
        assert {info.id for info in seen.documents()} == SEEN["hr"]
        assert seen.collections() == ["default"]
        for name in ("ingest", "upload", "delete_document", "set_attributes", "library", "check", "export_collection"):
            with pytest.raises(AccessDeniedError, match=name):
                getattr(seen, name)
        for name in ("writer", "check", "addresses", "runs", "all_given", "given"):
            with pytest.raises(AccessDeniedError, match=name):
                getattr(seen.collection(), name)
        for label in ("2024", "2024-01-01", " hr", ""):
            with pytest.raises(ConfigError, match="access label"):
                footnote.seen_by([label])


def test_several_collections_are_searched_by_the_same_labels(
    service: Service, labelled: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    import shutil

    library = shutil.copytree(labelled, tmp_path / "library")
    ingest_into(
        library, write(tmp_path / "more", {"minutes.md": "---\naccess: [board]\n---\nThe canteen was praised.\n"})
    )
    client = service(library, server__api_key="owner's")
    both = {"collections": ["default", "minutes"]}
    assert documents_found(client, keys["hr"], **both) == {f"default/{name}" for name in SEEN["hr"]}
    assert "minutes/minutes.md" in documents_found(client, keys["board"], **both)
    assert client.get("/collections", headers=bearer(keys["hr"])).json()["collections"] == ["default"]


def ingest_into(library: Path, folder: Path) -> None:
    import asyncio

    async def run() -> None:
        async with Footnote.open(library, environ={}) as footnote:
            await footnote.ingest(folder, collection="minutes")

    asyncio.run(run())


def test_an_agent_looks_no_further_than_its_reader(
    service: Service, labelled: Path, keys: dict[str, str], upstream: Upstream
) -> None:
    upstream.reply = turns(
        calls(
            call("search", query="canteen", k=20),
            call("read", document="board/plan.md"),
            call("grep", pattern="canteen"),
            call("list", glob="**"),
        ),
        "The salary is 3,100 euros a month [1].",
    )
    client = service(labelled, server__api_key="owner's", chat__base_url=upstream.base_url, chat__model="stub-chat")
    body = {"question": "What is the salary of the cook?", "agent": True}
    reply = client.post("/ask", json=body, headers=bearer(keys["hr"]))
    assert reply.status_code == 200, reply.text
    told = results(upstream.calls("chat")[1].json)
    assert "hr/salaries.md" in told[0]
    assert told[1].startswith("Error: ")
    for result in told:
        assert "2031" not in result
        assert "soup" not in result
    for name in set(DOCUMENTS) - SEEN["hr"]:
        assert name not in told[0] + told[2] + told[3]


def test_keys_on_the_command_line(
    labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_LIBRARY", str(labelled))
    assert main(["keys", "add", "payroll", "--label", "hr", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    found = ReaderKeys(labelled).find(made["key"])
    assert found is not None and found.labels == ("hr",)  # noqa: PT018
    assert main(["keys", "add", "payroll"]) == 1
    assert "there is a key of the name 'payroll'" in capsys.readouterr().err
    assert main(["keys"]) == 0
    assert capsys.readouterr().out.startswith("payroll  what has no labels, or one of: hr  ")
    assert main(["keys", "remove", "payroll"]) == 0
    assert ReaderKeys(labelled).find(made["key"]) is None
    capsys.readouterr()
    assert main(["search", "canteen", "--seen-by", "hr", "--json"]) == 0
    shown = {json.loads(line)["document"] for line in capsys.readouterr().out.splitlines()}
    assert shown == SEEN["hr"]
