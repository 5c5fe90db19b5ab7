"""Collections as a whole, by command and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.main import main
from tests.api.conftest import Service

QUESTION = {"query": "When was the first landing on the Moon?", "collection": "default"}


def rag(library: Path, *words: str) -> int:
    return main([words[0], "--library", str(library), *words[1:]])


def test_commands_copy_rename_export_import_and_restore(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def collections(*words: str) -> str:
        assert rag(library, "collections", *words) == 0
        return capsys.readouterr().out

    collections("copy", "default", "second")
    collections("rename", "second", "third")
    assert "3 documents" in collections("export", "third", str(tmp_path / "third.zip"))
    collections("delete", "third", "--yes")
    imported = json.loads(collections("import", str(tmp_path / "third.zip"), "fourth", "--json"))
    assert (imported["collection"], imported["n_documents"]) == ("fourth", 3)
    kept = json.loads(collections("snapshot", "fourth", "early", "--json"))
    assert collections("snapshots", "fourth").startswith("early  ")
    collections("restore", "fourth", "early")
    assert len(collections("snapshots", "fourth").splitlines()) == 2
    collections("prune", "fourth", "--keep", "0")
    assert collections("snapshots", "fourth") == ""
    assert kept["n_documents"] == 3
    assert [line.split()[0] for line in collections().splitlines()] == ["default", "fourth"]
    assert rag(library, "search", "Moon", "-c", "fourth") == 0
    assert "moon.md" in capsys.readouterr().out


def test_a_command_that_lacks_a_word_says_which(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in ((["rename", "default"], "the new name"), (["prune", "default"], "--keep N")):
        assert rag(library, "collections", *words) == 1
        assert said in capsys.readouterr().err


def test_a_running_service_follows_a_rename_and_a_restore(library: Path, service: Service) -> None:
    client = service(library)
    before = client.post("/search", json=QUESTION).json()["hits"]
    assert client.post("/collections/default/snapshots", json={"label": "whole"}).status_code == 201
    assert client.delete("/collections/default/documents/moon.md").is_success
    assert client.post("/collections/default/rename", json={"to": "new"}).json() == {"name": "new"}
    assert client.post("/search", json=QUESTION).status_code == 404
    restored = client.post("/collections/new/snapshots/whole/restore", json={}).json()
    assert (restored["restored"], bool(restored["replaced"])) == ("whole", True)
    assert client.post("/search", json={**QUESTION, "collection": "new"}).json()["hits"] == before
    assert len(client.get("/collections/new/snapshots").json()["snapshots"]) == 2


def test_what_a_service_exports_another_imports(library: Path, tmp_path: Path, service: Service) -> None:
    client, other = service(library), service(tmp_path / "other")
    archive = client.get("/collections/default/export")
    assert archive.headers["content-type"] == "application/zip"
    files = {"file": ("default.zip", archive.content)}
    assert other.post("/collections/default/import", files=files).status_code == 201
    again = other.post("/collections/default/import", files=files)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "collection_exists")
    bad = other.post("/collections/bad/import", files={"file": ("default.zip", archive.content[:1000])})
    assert (bad.status_code, "not exported" in bad.text, str(tmp_path) in bad.text) == (500, True, False)
    hits = [one.post("/search", json=QUESTION).json()["hits"] for one in (client, other)]
    assert hits[0] == hits[1]


def test_several_collections_answer_one_question(
    library: Path, tmp_path: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    tower = tmp_path / "tower.txt"
    tower.write_text("The tower of the second collection is 77 metres high and was opened in 2001.\n")
    assert rag(library, "ingest", str(tower), "-c", "second", "-q") == 0
    capsys.readouterr()
    assert rag(library, "search", "How high is the tower?", "-c", "default", "-c", "second", "--json") == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"second/tower.txt", "default/places/tower.txt"} <= {hit["document"] for hit in hits}
    assert all(hit["place"] for hit in hits)
    client = service(library)
    question = "When was the tower of the second collection opened?"
    answer = client.post("/ask", json={"question": question, "collections": ["default", "second"]}).json()
    assert answer["citations"][0]["document"] == "second/tower.txt"
    assert "2001" in answer["citations"][0]["quote"]
    missing = client.post("/search", json={"query": "tower", "collections": ["default", "mian"]})
    assert (missing.status_code, "'mian'" in missing.text) == (404, True)
    both = client.post("/search", json={"query": "tower", "collection": "default", "collections": ["second"]})
    assert (both.status_code, "not both" in both.text) == (400, True)
