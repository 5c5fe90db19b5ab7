"""Archives as folders: what is in them, how it is named, and what becomes of all that is not simply a file."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.archives import archive
from ingest.archives.folder import Archives
from ingest.archives.member import Member
from ingest.archives.names import archive_kind
from ingest.archives.opened import OpenArchives, list_members
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead
from ingest.sources import Found, Item, Settled, Sieve, Skipped, WalkRules, walk
from rag.errors import DocumentReadError, UnsupportedFormatError
from rag.types import Document
from tests.ingest.archive_bytes import PACK, encrypted, raw_named, tar_of, zip_of
from tests.ingest.hostile_archives import BOMBS, links

MB = 1024 * 1024


@pytest.fixture(scope="module")
def readers() -> Iterator[IsolatedReaders]:
    with IsolatedReaders(ReadingLimits(timeout_s=30)) as readers:
        yield readers


def members(folder: Path, name: str, data: bytes, *, max_bytes: int = 10 * MB) -> dict[str, Member]:
    path = folder / name
    path.write_bytes(data)
    return {"/".join(member.path): member for member in list_members(path, name, hashed=True, max_bytes=max_bytes)}


def told(folder: Path, name: str, data: bytes) -> dict[str, str]:
    """Return what is said of each file: "" for one to be read."""
    found = members(folder, name, data).items()
    return {path: "" if member.state == "file" else f"{member.state}: {member.reason}" for path, member in found}


def read(folder: Path, name: str, *member: str) -> bytes:
    with closing(OpenArchives()) as archives:
        return archives.read(folder / name, member, document_id="/".join((name, *member)))


def refusal(folder: Path, name: str, data: bytes) -> str:
    with pytest.raises(DocumentReadError) as caught:
        members(folder, name, data)
    return str(caught.value)


# --- what is in them


@pytest.mark.parametrize("ending", PACK)
def test_files_are_listed_with_their_size_and_hash_in_the_order_they_lie_in(tmp_path: Path, ending: str) -> None:
    data = PACK[ending]({"z/letter.txt": b"Dear all", "a.md": b"# A", "空 格.txt": b""})
    found = list(members(tmp_path, f"box{ending}", data).items())
    assert [(path, member.size) for path, member in found] == [("z/letter.txt", 8), ("a.md", 3), ("空 格.txt", 0)]
    assert found[1][1].sha256 == hashlib.sha256(b"# A").hexdigest()
    assert read(tmp_path, f"box{ending}", "z/letter.txt") == b"Dear all"


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
    ids=["gz", "bz2", "xz"],
)
def test_a_compressed_file_is_an_archive_of_one(tmp_path: Path, ending: str, pack: type) -> None:
    assert told(tmp_path, f"notes.md{ending}", pack(b"# Notes")) == {"notes.md": ""}
    assert read(tmp_path, f"notes.md{ending}", "notes.md") == b"# Notes"


def test_content_decides_how_a_tar_is_compressed(tmp_path: Path) -> None:
    for name, mode in (("box.tar", "w:xz"), ("box.tar.gz", "w"), ("box.tgz", "w:bz2")):
        assert told(tmp_path, name, tar_of({"a.txt": b"a"}, mode=mode)) == {"a.txt": ""}


@pytest.mark.parametrize("name", ["a.docx", "b.xlsx", "c.epub", "d.odt", "e.jar", "f.txt", "zip", "tar.md"])
def test_packages_of_other_formats_are_no_archives(name: str) -> None:
    assert archive_kind(name) is None


def test_archives_in_archives_are_opened_three_deep(tmp_path: Path) -> None:
    data = zip_of({"deep.txt": b"deep"})
    for level in range(5):
        data = PACK[list(PACK)[level]]({f"{level}.zip" if level == 0 else f"{level}{list(PACK)[level - 1]}": data})
    found = told(tmp_path, "box.tar.xz", data)
    (path,) = found
    assert path == "4.tbz2/3.tar.gz/2.tar"
    assert found[path] == "unsupported: cannot read 'box.tar.xz/4.tbz2/3.tar.gz/2.tar': it lies in 3 archives; " + (
        "unpack the outer ones"
    )


def test_a_file_in_an_archive_in_an_archive_is_read(tmp_path: Path) -> None:
    inner = tar_of({"a/b.txt": b"within", "c.txt": b"more"}, mode="w:gz")
    data = zip_of({"x/in.tgz": inner, "x/d.txt": b"around"})
    assert set(told(tmp_path, "box.zip", data)) == {"x/in.tgz/a/b.txt", "x/in.tgz/c.txt", "x/d.txt"}
    asked = [(("x/in.tgz", "c.txt"), b"more"), (("x/d.txt",), b"around"), (("x/in.tgz", "a/b.txt"), b"within")]
    with closing(OpenArchives()) as archives:
        for path, expected in asked:
            assert archives.read(tmp_path / "box.zip", path, document_id="box.zip/" + "/".join(path)) == expected


def test_an_archive_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    with closing(OpenArchives()) as archives:
        for text in (b"first", b"second, and longer"):
            (tmp_path / "box.zip").write_bytes(zip_of({"a.txt": text}))
            assert archives.read(tmp_path / "box.zip", ("a.txt",), document_id="box.zip/a.txt") == text


def test_an_archive_without_files_says_nothing_of_its_folders(tmp_path: Path) -> None:
    assert told(tmp_path, "box.zip", zip_of({"a/": b"", "a/b/": b""})) == {}
    assert told(tmp_path, "box.tar", tar_of({})) == {}
    assert told(tmp_path, "out.zip", zip_of({"in.zip": zip_of({})})) == {"in.zip": "empty: the archive holds no files"}


# --- names


NAMES = {
    "gbk": "2023年合同/会议纪要.txt",
    "gbk-rare": "陈晓.txt",
    "big5": "會議記錄/報價單.txt",
    "cp932": "資料/会議のメモ.txt",
    "cp949": "문서/회의 자료.txt",
    "utf-8": "Übersicht/数据.txt",
    "cp437": "Résumé für Größe, señor.txt",
    "cp437-short": "café.txt",
}


@pytest.mark.parametrize("encoding", NAMES)
def test_a_zip_name_without_its_encoding_is_read_as_it_was_written(tmp_path: Path, encoding: str) -> None:
    name = NAMES[encoding]
    data = raw_named(name.encode(encoding.partition("-")[0] if encoding != "utf-8" else encoding))
    assert set(told(tmp_path, "box.zip", data)) == {name}
    assert read(tmp_path, "box.zip", name) == b"words"


def test_names_of_one_archive_are_judged_together(tmp_path: Path) -> None:
    stand_ins = {"NNNN.txt": "陈晓.txt", "MMMMMMMMMM.txt": "我们的工作.txt"}
    data = zip_of(dict.fromkeys(stand_ins, b"x"), system=0)
    for stand_in, name in stand_ins.items():
        data = data.replace(stand_in.encode(), name.encode("gbk"))
    assert set(told(tmp_path, "box.zip", data)) == set(stand_ins.values())


def test_the_unicode_name_that_is_kept_beside_another_counts(tmp_path: Path) -> None:
    for crc, expected in ((zlib.crc32(b"?.txt"), "ж.txt"), (0, "?.txt")):
        info = zipfile.ZipInfo("?.txt")
        name = "ж.txt".encode()
        info.extra = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, crc) + name
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(info, b"words")
        assert set(told(tmp_path, "box.zip", packed.getvalue())) == {expected}


def test_backslashes_part_folders_where_windows_wrote_them(tmp_path: Path) -> None:
    assert set(told(tmp_path, "box.zip", zip_of({"a\\b.txt": b"x"}, system=0))) == {"a/b.txt"}
    assert set(told(tmp_path, "box.zip", zip_of({"a\\b.txt": b"x"}, system=3))) == {"a\\b.txt"}
    assert set(told(tmp_path, "box.tar", tar_of({"a\\b.txt": b"x"}))) == {"a\\b.txt"}


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_a_path_that_leaves_the_archive_is_left_out(tmp_path: Path, ending: str) -> None:
    found = told(
        tmp_path, f"box{ending}", PACK[ending]({"../../tmp/x.txt": b"x", "a/../../b.txt": b"y", "c.txt": b"z"})
    )
    assert found.pop("c.txt") == ""
    assert set(found) == {"../../tmp/x.txt", "a/../../b.txt"}
    assert all(said.startswith("skipped: the path leaves the archive") for said in found.values())


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_an_absolute_path_is_one_below_the_archive(tmp_path: Path, ending: str) -> None:
    data = PACK[ending]({"/etc/motd": b"hello", "./a//b.txt": b"b"})
    assert told(tmp_path, f"box{ending}", data) == {"etc/motd": "", "a/b.txt": ""}
    assert read(tmp_path, f"box{ending}", "etc/motd") == b"hello"


def test_a_tar_name_that_is_no_text_is_told_as_in_a_folder(tmp_path: Path) -> None:
    info = tarfile.TarInfo("bad\udcff.txt")
    found = told(tmp_path, "box.tar", tar_of({"a.txt": b"a"}, others=[info]))
    assert found == {
        "a.txt": "",
        "bad\\xff.txt": "failed: the name is not valid UTF-8; rename it, so that it can be cited",
    }


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_file_of_a_name_counts_and_the_others_are_told_of(tmp_path: Path, ending: str) -> None:
    data = PACK[ending]([("a.txt", b"old"), ("b.txt", b"b"), ("./a.txt", b"new"), ("A.txt", b"capital")])
    found = told(tmp_path, f"box{ending}", data)
    assert found.pop("a.txt#1").startswith("skipped: a later file of the archive has the same name")
    assert found == {"b.txt": "", "a.txt": "", "A.txt": ""}
    assert read(tmp_path, f"box{ending}", "a.txt") == b"new"
    assert read(tmp_path, f"box{ending}", "A.txt") == b"capital"


def test_a_name_of_absurd_length_fails_alone(tmp_path: Path) -> None:
    found = told(tmp_path, "box.tar", tar_of({"x" * 5000: b"x", "y/" * 70 + "y": b"y", "z" * 256: b"z", "a.txt": b"a"}))
    assert sorted(said for said in found.values()) == [
        "",
        "failed: the path of 141 characters and 71 names is too long; shorten it",
        "failed: the path of 256 characters and 1 names is too long; shorten it",
        "failed: the path of 5,000 characters and 1 names is too long; shorten it",
    ]
    assert all(len(path) < 300 for path in found)


# --- what is no file


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    assert told(tmp_path, "box.tar.gz", links()) == {
        "a.txt": "",
        "soft": "skipped: link to '/etc/passwd'",
        "hard": "skipped: link to '/etc/passwd'",
        "pipe": "skipped: not a file but a device",
        "disk": "skipped: not a file but a device",
    }


def test_a_symbolic_link_in_a_zip_is_left_out(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.txt")
    info.external_attr = 0o120777 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert told(tmp_path, "box.zip", packed.getvalue()) == {"link.txt": "skipped: symbolic link"}


def test_what_is_encrypted_fails_alone_or_with_its_archive(tmp_path: Path) -> None:
    data = zip_of({"open.txt": b"a", "locked.txt": b"b"})
    found = told(tmp_path, "box.zip", encrypted(data, "locked.txt"))
    assert found["open.txt"] == ""
    assert found["locked.txt"].startswith("failed: it is encrypted with a password; unpack it")
    assert "it is encrypted with a password; unpack it" in refusal(tmp_path, "box.zip", encrypted(data))


def test_a_method_that_is_not_read_is_unsupported(tmp_path: Path) -> None:
    data = zip_of({"a.txt": b"a", "b.txt": b"b"}).replace(b"\x08\x00", b"\x09\x00")  # Deflate to Deflate64
    found = told(tmp_path, "box.zip", data)
    assert all(
        said.startswith("unsupported: it is packed by a method that is not read (number 9)") for said in found.values()
    )


def test_data_descriptors_and_zip64_are_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Cannot be sought in: sizes stand after the data."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    stream: IO[bytes] = pipe  # type: ignore[assignment]
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("big.txt", "w", force_zip64=True) as file:
            file.write(b"sixty-four")
        archive.writestr("small.txt", b"descriptor")
    assert told(tmp_path, "box.zip", bytes(pipe.data)) == {"big.txt": "", "small.txt": ""}
    assert read(tmp_path, "box.zip", "big.txt") == b"sixty-four"


def test_a_file_larger_than_the_limit_is_not_unpacked(tmp_path: Path) -> None:
    found = members(tmp_path, "box.zip", zip_of({"a.txt": bytes(2000), "b.txt": b"b"}), max_bytes=1000)
    assert (found["a.txt"].size, found["a.txt"].sha256) == (2000, "")
    assert found["b.txt"].sha256


# --- damage


@pytest.mark.parametrize("ending", PACK)
def test_an_archive_that_is_cut_off_fails_wherever_it_is_cut(tmp_path: Path, ending: str) -> None:
    data = PACK[ending]({f"{i}.txt": bytes([i]) * 700 for i in range(8)})
    whole = len(data) - (0 if ending != ".tar" else len(data) - 8 * 1536)
    for length in {1, 10, 512, 1536, 3 * 1536, 3 * 1536 + 600, whole // 2, whole - 5, whole} - {len(data)}:
        if length < len(data):
            assert "cannot read" in refusal(tmp_path, f"box{ending}", data[:length]), length


def test_a_damaged_header_hides_nothing_that_follows_it(tmp_path: Path) -> None:
    data = bytearray(tar_of({"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}))
    data[1024 + 5] ^= 0xFF
    assert "damaged or cut off (its end is missing)" in refusal(tmp_path, "box.tar", bytes(data))


def test_a_damaged_file_fails_alone(tmp_path: Path) -> None:
    data = zip_of({"a.txt": b"the first file", "b.txt": b"the second file"}, method=zipfile.ZIP_STORED)
    found = told(tmp_path, "box.zip", data.replace(b"the first", b"the worst"))
    assert found["b.txt"] == ""
    assert found["a.txt"].startswith("failed: cannot read 'box.zip/a.txt': the archive is damaged or cut off (Bad CRC")


def test_a_damaged_archive_in_an_archive_fails_alone(tmp_path: Path) -> None:
    found = told(
        tmp_path, "box.zip", zip_of({"in.zip": b"PK\x03\x04 nothing more", "in.tgz": b"\x1f\x8b", "a.txt": b"a"})
    )
    assert {path: said.partition(":")[0] for path, said in found.items()} == {
        "in.zip": "failed",
        "in.tgz": "failed",
        "a.txt": "",
    }


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.txt.gz"])
@pytest.mark.parametrize("data", [b"", b"plain words, and no archive", bytes(100)])
def test_what_is_no_archive_is_told_as_such(tmp_path: Path, name: str, data: bytes) -> None:
    said = refusal(tmp_path, name, data)
    assert "it is empty" in said or "it is not a" in said
    assert "ending of what it is" in said


def test_zstandard_is_read_where_python_can_else_refused_with_advice(tmp_path: Path) -> None:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        path = tmp_path / "box.tar.zst"
        path.write_bytes(b"\x28\xb5\x2f\xfd rest")
        with pytest.raises(UnsupportedFormatError, match="pack it with gzip"):
            list_members(path, path.name, hashed=False, max_bytes=MB)
    else:
        assert told(tmp_path, "box.tar.zst", zstd.compress(tar_of({"a.txt": b"a"}))) == {"a.txt": ""}


def test_an_archive_that_is_gone_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError) as caught:
        list_members(tmp_path / "box.zip", "box.zip", hashed=False, max_bytes=MB)
    assert caught.value.retriable


# --- bombs


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_the_bound_it_breaks(tmp_path: Path, readers: IsolatedReaders, name: str) -> None:
    data = BOMBS[name]()
    path = tmp_path / name
    path.write_bytes(data)
    try:
        found = readers.members(ToRead(path, name, len(data)), hashed=True, max_bytes=256 * MB)
    except DocumentReadError as error:
        said = [str(error)]
    else:
        said = [member.reason for member in found if member.state == "failed"]
    assert any("would unfold to more than the 67,108,864 bytes" in reason for reason in said)


def test_more_files_than_an_archive_may_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    many = {f"{i}.txt": b"" for i in range(11)}
    for ending in (".zip", ".tar"):
        assert "holds more than 10 files and folders; split it" in refusal(tmp_path, f"box{ending}", PACK[ending](many))
    nested = told(tmp_path, "box.zip", zip_of({"in.tar": tar_of(many), "a.txt": b"a"}))
    assert nested["in.tar"].startswith("failed: cannot read 'box.zip/in.tar': it holds more than 10 files")
    assert nested["a.txt"] == ""


# --- as folders


def items(root: Path, readers: IsolatedReaders, rules: WalkRules | None = None) -> list[Item]:
    archives = Archives(readers, max_bytes=(rules or WalkRules()).max_bytes)

    def enter(found: Found, sieve: Sieve) -> Iterator[Item]:
        return archives.enter(found, sieve, hashed=False)

    return list(walk(root, rules=rules, enter=enter))


def outcome(item: Item, readers: IsolatedReaders) -> tuple[object, ...]:
    """Return what a user sees of an item, without the name of the folder or archive that it lies in."""
    if not isinstance(item, Found):
        return (
            type(item).__name__,
            item.reason.replace("box.zip/", "").replace("box.tar.gz/", "").replace("box.tar/", ""),
        )
    try:
        document = readers.read(
            ToRead(item.path, item.id, item.size, name=item.name, member=item.member, archive_size=item.archive_size)
        )
    except DocumentReadError as error:
        return (type(error).__name__,)
    return (document.sha256, document.text, document.title, document.reader, document.pages, document.warnings)


PARTS = st.one_of(
    st.sampled_from(["a", "sub", ".hidden", "node_modules", "x.lock", "文档", "a b", "back\\slash", "é", "new\nline"]),
    st.text("ab.文é -#%", min_size=1, max_size=6).filter(lambda part: part.strip(".") != ""),
)
NAMED = st.builds(
    lambda stem, ending: stem + ending, PARTS, st.sampled_from([".md", ".txt", ".csv", "", ".pdf", ".ragignore"])
)
CONTENT = st.sampled_from(
    [b"", b"# A\n\nWords.", b"a,b\n1,2\n", "中文内容".encode("gbk"), b"\x89PNG\r\n\x1a\n", b"sub\n*.csv\n"]
)
TREES = st.dictionaries(
    st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(PARTS, max_size=2), NAMED), CONTENT, max_size=6
)


@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tree=TREES, ending=st.sampled_from([".zip", ".tar", ".tar.gz"]))
def test_a_folder_and_its_archive_give_the_same_documents(
    readers: IsolatedReaders, tmp_path_factory: pytest.TempPathFactory, tree: Mapping[str, bytes], ending: str
) -> None:
    root = tmp_path_factory.mktemp("tree")
    plain, packed = root / "plain", root / "packed"
    packed.mkdir()
    kept = {}
    for path, data in tree.items():
        target = plain / path
        if any(parent.is_file() for parent in target.parents) or target.is_dir():
            continue  # a folder cannot hold both
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        kept[path] = data
    plain.mkdir(exist_ok=True)
    (packed / f"box{ending}").write_bytes(PACK[ending](kept))
    expected = {f"box{ending}/{item.id}": outcome(item, readers) for item in items(plain, readers)}
    found = {item.id: outcome(item, readers) for item in items(packed, readers)}
    if kept:
        assert found == expected
    else:
        assert found == {f"box{ending}": ("Settled", "the archive holds no files")}


def reasons(found: list[Item]) -> dict[str, str]:
    return {item.id: item.reason for item in found if not isinstance(item, Found)}


def test_the_rules_of_a_walk_hold_inside(tmp_path: Path, readers: IsolatedReaders) -> None:
    tree = {"a.md": b"a", "b.txt": b"b", "drafts/c.md": b"c", "node_modules/x/y.md": b"y", "big.md": b"x" * 2000}
    (tmp_path / "box.zip").write_bytes(zip_of(tree))
    found = items(tmp_path, readers, WalkRules(include=("*.md",), exclude=("drafts/",), max_bytes=1500))
    assert [item.id for item in found if isinstance(item, Found)] == ["box.zip/a.md"]
    assert reasons(found) == {
        "box.zip/b.txt": "not among the files to include",
        "box.zip/drafts/": "excluded by 'drafts/'",
        "box.zip/node_modules/": "ignored by 'node_modules/' in built-in rules",
        "box.zip/big.md": "2,000 bytes, more than the limit of 1,500 (max_bytes)",
    }


def test_an_archive_is_left_out_like_a_folder(tmp_path: Path, readers: IsolatedReaders) -> None:
    (tmp_path / "box.zip").write_bytes(b"not even opened")
    (tmp_path / ".ragignore").write_text("old.zip\n", encoding="utf-8")
    (tmp_path / "old.zip").write_bytes(b"not even opened")
    (tmp_path / "large.zip").write_bytes(bytes(3000))
    found = reasons(items(tmp_path, readers, WalkRules(exclude=("box.*",), max_bytes=2000)))
    assert found == {
        ".ragignore": "hidden: the name begins with a dot",
        "box.zip": "excluded by 'box.*'",
        "large.zip": "3,000 bytes, more than the limit of 2,000 (max_bytes)",
        "old.zip": "ignored by 'old.zip' in .ragignore",
    }


def test_an_ignore_file_in_an_archive_leaves_out_what_it_names(tmp_path: Path, readers: IsolatedReaders) -> None:
    tree = {
        ".ragignore": b"drafts\n*.csv\n",
        "sub/.ragignore": b"!keep.csv\nold.md\n",
        "sub/keep.csv": b"a",
        "sub/b.csv": b"b",
    }
    tree |= {"sub/old.md": b"o", "old.md": b"o", "drafts/a.md": b"a", "drafts/deep/b.md": b"b"}
    (tmp_path / "box.zip").write_bytes(zip_of({"in.tar": tar_of(tree), "drafts/c.md": b"c"}))
    found = items(tmp_path, readers)
    assert {item.id for item in found if isinstance(item, Found)} == {
        "box.zip/in.tar/sub/keep.csv",
        "box.zip/in.tar/old.md",
        "box.zip/drafts/c.md",
    }
    assert reasons(found)["box.zip/in.tar/drafts/"] == "ignored by 'drafts' in box.zip/in.tar/.ragignore"
    assert "box.zip/in.tar/drafts/deep/b.md" not in reasons(found)


def test_a_pattern_that_takes_for_ever_costs_its_archive_alone(tmp_path: Path) -> None:
    data = zip_of({".ragignore": b"*a" * 20 + b"*b", "a" * 250: b"", "x/" + "a" * 250: b""})
    (tmp_path / "box.zip").write_bytes(data)
    with IsolatedReaders(ReadingLimits(timeout_s=0.5)) as hasty:
        (item,) = items(tmp_path, hasty)
    assert isinstance(item, Settled)
    assert "not read within" in item.reason


def test_an_archive_that_breaks_when_hashed_is_tried_once_for_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "box.zip").write_bytes(zip_of({"a.txt": b"a", "b.txt": b"b"}))
    with IsolatedReaders() as readers:
        archives = Archives(readers, max_bytes=MB)
        found = list(walk(tmp_path, enter=lambda found, sieve: archives.enter(found, sieve, hashed=False)))
        (tmp_path / "box.zip").write_bytes(b"PK, and no more")
        said = set()
        for item in found:
            assert isinstance(item, Found)
            with pytest.raises(DocumentReadError) as caught:
                archives.sha256(item)
            said.add(id(caught.value))
    assert len(said) == 1


def test_an_ignore_file_that_cannot_be_read_keeps_its_archive_closed(tmp_path: Path, readers: IsolatedReaders) -> None:
    (tmp_path / "box.zip").write_bytes(zip_of({".ragignore": b"\xff\xfe", "secret.txt": b"x"}))
    (tmp_path / "out.zip").write_bytes(
        encrypted(zip_of({"sub/.ragignore": b"x", "secret.txt": b"x"}), "sub/.ragignore")
    )
    (item, other) = items(tmp_path, readers)
    assert isinstance(item, Settled)
    assert item.state == "failed"
    assert "make it a readable UTF-8 file" in item.reason
    assert "nothing beside it is read" in reasons([other])["out.zip"]


def test_a_path_that_leaves_the_archive_is_told_as_such(tmp_path: Path, readers: IsolatedReaders) -> None:
    (tmp_path / "slip.zip").write_bytes(zip_of({"../../x.txt": b"x"}))
    assert items(tmp_path, readers) == [
        Skipped("slip.zip/../../x.txt", "the path leaves the archive, or names nothing")
    ]


def test_members_are_read_in_the_process_of_strangers_files(tmp_path: Path, readers: IsolatedReaders) -> None:
    (tmp_path / "box.tar.gz").write_bytes(tar_of({f"{i}.md": b"# Number %d" % i for i in range(5)}, mode="w:gz"))
    found = [item for item in items(tmp_path, readers) if isinstance(item, Found)]
    asked = [ToRead(item.path, item.id, item.size, name=item.name, member=item.member) for item in found]
    readers.announce(asked)
    documents: list[Document] = [readers.read(file) for file in asked]
    assert [document.title for document in documents] == [f"Number {i}" for i in range(5)]
    assert documents[3].id == "box.tar.gz/3.md"
