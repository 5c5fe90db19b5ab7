"""Collections and documents over HTTP, and a library that changes beside the service."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from pathlib import Path
from typing import cast

import httpx2
import pytest

from api import schemas
from api.app import create_app
from api.footnote import Footnote
from ingest.report import FileResult
from rag.errors import CollectionError
from rag.settings import Settings
from tests.api.conftest import DOCUMENTS, Service, ingest, serving, write

DOCUMENTS_PATH = "/collections/default/documents"
OTHER_NAME = "/collections/other/documents"


@pytest.fixture
def client(service: Service, library: Path) -> httpx2.Client:
    """A client of a service over a library that the test may change."""
    return service(library)


def upload(client: httpx2.Client, *files: tuple[str, str], path: str = DOCUMENTS_PATH) -> httpx2.Response:
    return client.post(path, files=[("files", (name, text.encode())) for name, text in files])


def known(client: httpx2.Client) -> set[str]:
    return {document["id"] for document in client.get(DOCUMENTS_PATH).raise_for_status().json()["documents"]}


def cited(client: httpx2.Client, question: str) -> set[str]:
    answer = client.post("/ask", json={"question": question}).raise_for_status().json()
    return {citation["document"] for citation in answer["citations"]}


# --- collections -----------------------------------------------------------------------------------------------------


def test_collections_are_made_listed_looked_at_and_deleted(client: httpx2.Client) -> None:
    made = client.post("/collections", json={"name": "other"})
    assert (made.status_code, made.json()) == (201, {"name": "other"})
    listed = client.get("/collections").json()
    assert listed == {"collections": ["default", "other"], "default": "default"}
    shown = schemas.Collection.model_validate(client.get("/collections/other").json())
    assert (shown.name, shown.n_documents, shown.dimensions) == ("other", 0, 384)
    assert client.delete("/collections/other").json() == {"id": "other", "deleted": True}
    assert client.get("/collections/other").status_code == 404


def test_a_collection_is_made_once(client: httpx2.Client) -> None:
    reply = client.post("/collections", json={"name": "default"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "collection_exists")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "x" * 300, " ", "a\x00b"])
def test_a_name_that_is_no_folder_is_refused(client: httpx2.Client, name: str) -> None:
    reply = client.post("/collections", json={"name": name})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "name")
    assert client.post("/search", json={"query": "q", "collection": name}).json()["error"]["param"] == "collection"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("name", "status"), [("nowhere", 404), ("%2e%2e", 400), ("..%2f..%2fetc", 404), (".%00", 400), ("a%5c..%5cb", 400)]
)
def test_a_collection_that_is_not_there_is_not_found(
    reader: httpx2.Client, method: str, name: str, status: int
) -> None:
    assert reader.request(method, f"/collections/{name}").status_code == status


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_are_listed_page_by_page(reader: httpx2.Client) -> None:
    first = schemas.DocumentList.model_validate(reader.get(DOCUMENTS_PATH, params={"limit": 2}).json())
    rest = schemas.DocumentList.model_validate(
        reader.get(DOCUMENTS_PATH, params={"limit": 2, "after": first.next_after}).json()
    )
    assert [document.id for document in first.documents + rest.documents] == sorted(DOCUMENTS)
    assert (first.has_more, rest.has_more, rest.next_after, rest.total) == (True, False, None, 3)


def test_a_document_is_shown_with_its_headings_and_only_the_text_asked_for(reader: httpx2.Client) -> None:
    shown = schemas.DocumentText.model_validate(reader.get(f"{DOCUMENTS_PATH}/moon.md").json())
    assert [heading.title for heading in shown.headings] == ["The Moon", "Landings", "Orbit"]
    assert shown.text is None
    part = reader.get(f"{DOCUMENTS_PATH}/moon.md", params={"start": 2, "end": 10}).json()
    assert part["text"] == DOCUMENTS["moon.md"][2:10]
    whole = reader.get(f"{DOCUMENTS_PATH}/moon.md", params={"start": 0}).json()
    assert len(whole["text"]) == whole["end"] == shown.n_characters


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_a_document_in_a_folder_or_with_a_chinese_name_is_found(reader: httpx2.Client, name: str) -> None:
    assert reader.get(f"{DOCUMENTS_PATH}/{name}").json()["id"] == name


def test_a_document_that_is_not_there_is_a_404(reader: httpx2.Client) -> None:
    for name in ("nowhere.md", "../moon.md", "%2e%2e%2fcollection.db"):
        reply = reader.get(f"{DOCUMENTS_PATH}/{name}")
        assert reply.status_code == 404


@pytest.mark.parametrize(
    ("span", "param"),
    [({"start": -1}, "start"), ({"start": 9, "end": 3}, "start"), ({"end": 10**9}, "end"), ({"start": "x"}, "start")],
)
def test_a_span_outside_the_text_is_a_400(reader: httpx2.Client, span: dict[str, int], param: str) -> None:
    reply = reader.get(f"{DOCUMENTS_PATH}/moon.md", params=span)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_uploaded_files_answer_questions_until_they_are_deleted(client: httpx2.Client) -> None:
    reply = upload(client, ("bridge.md", "The Golden Gate Bridge was opened on 27 May 1937."), ("none.txt", " "))
    sent = schemas.UploadReply.model_validate(reply.raise_for_status().json())
    assert [(file.filename, file.state) for file in sent.files] == [("bridge.md", "indexed"), ("none.txt", "empty")]
    question = "When was the Golden Gate Bridge opened?"
    assert sent.files[0].path in cited(client, question)
    assert client.delete(f"{DOCUMENTS_PATH}/{sent.files[0].path}").status_code == 200
    assert sent.files[0].path not in cited(client, question)
    assert client.get(f"{DOCUMENTS_PATH}/{sent.files[0].path}").status_code == 404


def test_an_upload_of_the_same_name_replaces_the_document(client: httpx2.Client) -> None:
    upload(client, ("bridge.md", "The bridge was opened in 1937."))
    (file,) = upload(client, ("bridge.md", "The bridge was opened in 1938.")).json()["files"]
    text = client.get(f"{DOCUMENTS_PATH}/{file['path']}", params={"start": 0}).json()["text"]
    assert "1938" in text


def test_attributes_come_with_an_upload_stay_with_its_next_version_and_go_with_it(client: httpx2.Client) -> None:
    def sent(text: str, **fields: str) -> str:
        reply = client.post(DOCUMENTS_PATH, files=[("files", ("terms.md", text.encode()))], data=fields)
        (file,) = reply.raise_for_status().json()["files"]
        return str(file["path"])

    def attributes(path: str) -> dict[str, object]:
        found = client.get(f"{DOCUMENTS_PATH}/{path}").raise_for_status().json()["attributes"]
        assert isinstance(found, dict)
        return found

    path = sent("The term of notice is a month.", attributes='{"year": 2024, "access": ["hr"]}')
    assert attributes(path) == {"year": 2024, "access": ["hr"]}
    assert sent("The term of notice is two months.") == path
    assert attributes(path) == {"year": 2024, "access": ["hr"]}
    assert sent("The term of notice is two months.", attributes='{"year": 2025}') == path
    assert attributes(path) == {"year": 2025}
    assert client.delete(f"{DOCUMENTS_PATH}/{path}").status_code == 200
    assert attributes(sent("The term of notice is three months.")) == {}


def test_attributes_of_an_archive_are_those_of_all_files_in_it(client: httpx2.Client) -> None:
    sent = {"files": ("box.zip", zipped(a="One text.", b="Another text."))}
    for given in ({"access": ["hr"]}, {"access": ["board"], "year": 2024}):
        reply = client.post(DOCUMENTS_PATH, files=sent, data={"attributes": json.dumps(given)})
        for file in reply.raise_for_status().json()["files"]:
            assert client.get(f"{DOCUMENTS_PATH}/{file['path']}").json()["attributes"] == given


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "JSON object"),
        ('{"year": {"from": 1}}', "attribute 'year'"),
        ('{"access": 7}', "label"),
    ],
)
def test_attributes_that_cannot_be_used_leave_nothing_behind(client: httpx2.Client, written: str, said: str) -> None:
    before = client.get(DOCUMENTS_PATH).json()["total"]
    reply = client.post(DOCUMENTS_PATH, files={"files": ("a.md", b"Text.")}, data={"attributes": written})
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]
    assert client.get(DOCUMENTS_PATH).json()["total"] == before


def zipped(**texts: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"sub/{name}.md", text)
    return packed.getvalue()


def test_an_uploaded_archive_is_told_of_file_by_file(client: httpx2.Client) -> None:
    packed = zipped(bridge="The Golden Gate Bridge was opened on 27 May 1937.", none=" ")
    upload(client, ("bridge.md", "A file of its own."))
    reply = client.post(DOCUMENTS_PATH, files=[("files", ("box.zip", packed)), ("files", ("x.md", b"Another."))])
    files = schemas.UploadReply.model_validate(reply.raise_for_status().json()).files
    assert [(file.filename, file.path.rpartition("box.zip")[2], file.state) for file in files] == [
        ("box.zip", "/sub/bridge.md", "indexed"),
        ("box.zip", "/sub/none.md", "empty"),
        ("x.md", files[2].path, "indexed"),
    ]
    assert files[0].path in cited(client, "When was the Golden Gate Bridge opened?")
    shown = client.get(f"{DOCUMENTS_PATH}/{files[0].path}", params={"start": 0, "end": 15}).json()
    assert (shown["id"], shown["text"]) == (files[0].path, "The Golden Gate")


def test_a_deleted_file_of_an_archive_says_that_it_comes_back_until_the_archive_goes(client: httpx2.Client) -> None:
    upload(client, ("bridge.md", "A file of its own."))
    files = client.post(DOCUMENTS_PATH, files={"files": ("box.zip", zipped(bridge="One.", tower="Two."))}).json()[
        "files"
    ]
    first, second = (file["path"] for file in files)
    gone = schemas.DeletedDocument.model_validate(client.delete(f"{DOCUMENTS_PATH}/{first}").json())
    assert "the next upload reads it again" in gone.note
    assert first not in known(client)
    upload(client, ("other.md", "Other."))
    assert {first, second} < known(client)
    assert client.delete(f"{DOCUMENTS_PATH}/{first.removesuffix('/sub/bridge.md')}").json()["note"] == ""
    upload(client, ("other.md", "Other again."))
    assert known(client).isdisjoint({first, second})
    assert any(name.endswith("bridge.md") for name in known(client))


def test_a_deleted_document_of_a_folder_says_that_its_file_stays(client: httpx2.Client) -> None:
    assert "reads it again" in client.delete(f"{DOCUMENTS_PATH}/moon.md").json()["note"]
    assert client.delete(f"{DOCUMENTS_PATH}/moon.md").status_code == 404


def test_an_uploaded_file_without_text_can_be_deleted(client: httpx2.Client) -> None:
    (file,) = upload(client, ("none.txt", " ")).json()["files"]
    assert client.delete(f"{DOCUMENTS_PATH}/{file['path']}").status_code == 200
    assert client.delete(f"{DOCUMENTS_PATH}/{file['path']}").status_code == 404


@pytest.mark.parametrize("name", ["../../../evil.md", "..\\..\\evil.md", "/etc/evil.md", ".evil.md", "C:\\evil.md"])
def test_an_uploaded_file_stays_in_its_place(client: httpx2.Client, library: Path, name: str) -> None:
    (file,) = upload(client, (name, "Evil is the name of this file.")).raise_for_status().json()["files"]
    assert file["state"] == "indexed"
    found = [path for path in library.parent.rglob("*evil.md")]
    assert [path.name for path in found] == ["evil.md"]
    assert library in found[0].parents


def test_two_files_of_one_name_are_refused(client: httpx2.Client) -> None:
    reply = upload(client, ("a/x.md", "One."), ("b/x.md", "Two."))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "files[1]")


@pytest.mark.parametrize("name", ["..", "/", "\\"])
def test_a_name_of_which_nothing_is_left_is_refused(client: httpx2.Client, name: str) -> None:
    assert upload(client, (name, "Text.")).status_code == 400


def test_an_unreadable_upload_is_told_as_such(client: httpx2.Client) -> None:
    (file,) = client.post(DOCUMENTS_PATH, files={"files": ("x.pdf", b"%PDF-1.7 nothing")}).json()["files"]
    assert file["state"] in ("failed", "empty", "unsupported")
    assert file["reason"]


class FullDisk:
    """A Footnote whose disk is full after the first file."""

    settings = Settings()

    def __init__(self) -> None:
        self.stored: list[str] = []

    async def upload(self, filename: str, data: bytes, **options: object) -> list[FileResult]:
        if self.stored:
            raise CollectionError("the disk is full; free some space")
        self.stored.append(filename)
        return [FileResult(f"uploads/{filename}", "indexed")]

    async def aclose(self) -> None:
        pass


def test_what_was_stored_before_a_failure_is_told() -> None:
    with serving(create_app(cast(Footnote, FullDisk()))) as url, httpx2.Client(base_url=url) as client:
        files = upload(client, ("a.md", "One."), ("b.md", "Two.")).raise_for_status().json()["files"]
        assert [(file["filename"], file["state"]) for file in files] == [("a.md", "indexed"), ("b.md", "failed")]
        assert "disk is full" in files[1]["reason"]
        assert upload(client, ("c.md", "Three.")).status_code == 500


def test_an_upload_to_a_collection_that_is_not_there_is_a_404(client: httpx2.Client) -> None:
    assert upload(client, ("x.md", "Text."), path=OTHER_NAME).status_code == 404
    assert client.get("/collections").json()["collections"] == ["default"]


def test_the_first_upload_to_an_empty_library_makes_the_default_collection(service: Service, tmp_path: Path) -> None:
    client = service(tmp_path / "new")
    assert client.get("/health").json()["n_collections"] == 0
    assert upload(client, ("x.md", "The answer is forty-two.")).status_code == 200
    assert client.get("/collections").json()["collections"] == ["default"]


def test_an_upload_over_the_limit_is_refused_before_its_end(service: Service, library: Path) -> None:
    client = service(library, server__max_upload_mb=1)
    head = (
        f"POST {DOCUMENTS_PATH} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
        "content-type: multipart/form-data; boundary=x\r\n\r\n"
    )
    part = '--x\r\ncontent-disposition: form-data; name="files"; filename="big.txt"\r\n\r\n' + "x" * 3_000_000
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10) as connection:
        connection.sendall(f"{head}{len(part):x}\r\n{part}\r\n".encode())
        assert connection.recv(13) == b"HTTP/1.1 413 "  # while the service could still expect more
    assert known(client) == set(DOCUMENTS)


def test_a_damaged_upload_is_a_400(client: httpx2.Client) -> None:
    for content_type in ("multipart/form-data; boundary=x", "multipart/form-data"):
        reply = client.post(DOCUMENTS_PATH, content=b"--x\r\nnonsense", headers={"content-type": content_type})
        assert reply.status_code == 400
    assert client.post(DOCUMENTS_PATH, files={"file": ("a.md", b"x")}).json()["error"]["param"] == "files"


# --- beside the service ----------------------------------------------------------------------------------------------


def test_an_ingest_beside_the_service_is_seen_without_a_restart(
    client: httpx2.Client, library: Path, tmp_path: Path
) -> None:
    question = "When was the Golden Gate Bridge opened?"
    assert "more/bridge.md" not in cited(client, question)
    ingest(library, write(tmp_path / "more", {"bridge.md": "The Golden Gate Bridge was opened on 27 May 1937."}))
    assert "more/bridge.md" in cited(client, question)
    write(tmp_path / "more", {"bridge.md": "The Golden Gate Bridge has no opening hours."})
    ingest(library, tmp_path / "more")
    assert "1937" not in str(client.post("/search", json={"query": "Golden Gate Bridge 1937"}).json()["hits"])


def test_a_collection_rebuilt_beside_the_service_is_seen_without_a_restart(
    client: httpx2.Client, library: Path, tmp_path: Path
) -> None:
    assert known(client) == set(DOCUMENTS)
    folder = write(tmp_path / "more", {"bridge.md": "The Golden Gate Bridge was opened on 27 May 1937."})
    ingest(library, folder, rebuild=True)
    # The library is a copy without the folder it was made from: what was in that folder is gone, and was reported.
    assert cited(client, "When was the Golden Gate Bridge opened?") == {"bridge.md"}
    assert known(client) == {"bridge.md"}
