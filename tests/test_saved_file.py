"""The file for its owner alone: whole or not at all, taken once, and whatever stands there harms nobody."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd import saved_file
from hubd.saved_file import CHUNK, DIGEST_BYTES, HEAD, SavedError, read, take, write

RECORDS = [("a", 1, b"\x00\xff", None, 1.5), ("b", ("x", ("y",))), ("c", "ü" * 1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubd.rings"


def taken(path: Path) -> list[Any]:
    file = take(path)
    assert file is not None
    with file:
        return list(read(file))


def why_not(path: Path) -> str:
    with pytest.raises(SavedError) as caught:
        taken(path)
    assert caught.value.__cause__ is None
    return str(caught.value)


def put(path: Path, data: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(data)


def forged(data: bytes) -> bytes:
    """A file with a digest that fits."""
    whole = HEAD + data
    return whole + saved_file.blake2b(whole, digest_size=DIGEST_BYTES).digest()


# --- Written


def test_what_was_written_is_read_once(path: Path) -> None:
    size = write(path, RECORDS)
    assert path.stat().st_size == size
    assert taken(path) == RECORDS
    assert os.listdir(path.parent) == []
    assert take(path) is None


def test_nothing_and_much(path: Path) -> None:
    write(path, [])
    assert taken(path) == []
    many = [("kept", place, b"x" * 1000) for place in range(3 * CHUNK // 1000)] + [("large", b"y" * (3 * CHUNK))]
    assert write(path, many) > 6 * CHUNK
    assert taken(path) == many


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_it_is_for_its_owner_alone_from_the_first_moment(
    path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[tuple[str, int]] = []
    monkeypatch.setattr(
        os,
        "fchmod",
        lambda handle, mode: modes.append(("made", stat.S_IMODE(os.fstat(handle).st_mode))) or os.chmod(handle, mode),
    )

    def records() -> Iterator[tuple[Any, ...]]:
        (name,) = os.listdir(path.parent)
        modes.append((name, stat.S_IMODE(path.with_name(name).stat().st_mode)))
        yield from RECORDS

    before = os.umask(umask)
    try:
        write(path, records())
    finally:
        os.umask(before)
    modes.append((path.name, stat.S_IMODE(path.stat().st_mode)))
    assert modes == [("made", 0o600 & ~umask), ("hubd.rings.new", 0o600), ("hubd.rings", 0o600)]


def test_it_takes_the_place_of_an_older_one_and_of_a_link_but_not_of_what_the_link_leads_to(path: Path) -> None:
    write(path, [("old",)])
    write(path, [("new",)])
    assert taken(path) == [("new",)]
    other = path.with_name("other")
    other.write_text("precious")
    path.symlink_to(other)
    path.with_name("hubd.rings.new").symlink_to(other)
    write(path, RECORDS)
    assert (other.read_text(), taken(path)) == ("precious", RECORDS)


def test_what_a_process_left_that_died_while_writing_is_in_nobodys_way(path: Path) -> None:
    path.with_name("hubd.rings.new").write_bytes(b"half")
    write(path, RECORDS)
    assert os.listdir(path.parent) == ["hubd.rings"]
    assert taken(path) == RECORDS


def test_a_failure_leaves_the_old_one_and_nothing_else(path: Path) -> None:
    def records() -> Iterator[tuple[Any, ...]]:
        yield from RECORDS
        raise OSError(28, "No space left on device")

    write(path, [("old",)])
    with pytest.raises(OSError, match="No space"):
        write(path, records())
    assert os.listdir(path.parent) == ["hubd.rings"]
    assert taken(path) == [("old",)]


def test_a_full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError) as caught:
        saved_file._write_all(full, RECORDS)
    assert caught.value.strerror == "No space left on device"


def test_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def watched_fsync(handle: int) -> None:
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        fsync(handle)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    def watched_unlink(self: Path, missing_ok: bool = False) -> None:
        steps.append("delete")
        unlink(self, missing_ok)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write(path, RECORDS)
    assert steps == ["sync file", "rename", "sync folder"]
    monkeypatch.setattr(Path, "unlink", watched_unlink)
    steps.clear()
    file = take(path)
    assert file is not None and steps == ["delete", "sync folder"], "after a power cut it must not be there again"
    file.close()


# --- Taken


def test_there_may_be_none(path: Path) -> None:
    assert take(path) is None
    assert take(path.parent / "no" / "such" / "folder.rings") is None


def test_it_is_gone_before_anything_is_read(path: Path) -> None:
    write(path, RECORDS)
    file = take(path)
    assert not path.exists() and file is not None
    with file:
        assert list(read(file)) == RECORDS


def test_of_many_who_want_it_one_gets_it(path: Path) -> None:
    write(path, RECORDS)
    script = (
        "import sys; from pathlib import Path; from hubd.saved_file import *\n"
        "sys.stdin.readline()\n"
        "try:\n  file = take(Path(sys.argv[1])); print(len(list(read(file))) if file else 0)\n"
        "except SavedError: print(0)"
    )
    command = [sys.executable, "-c", script, str(path)]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for one in many:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert sorted(int(one.communicate(timeout=30)[0]) for one in many) == [0, 0, 0, len(RECORDS)]


def test_whoever_comes_second_to_an_open_file_is_refused(path: Path) -> None:
    write(path, RECORDS)
    first = os.open(path, os.O_RDONLY)
    second = os.open(path, os.O_RDONLY)
    try:
        saved_file._claim(first, path)
        with pytest.raises(SavedError, match="another hub is just loading it"):
            saved_file._claim(second, path)
        os.close(first)
        with pytest.raises(SavedError, match="another hub has just loaded it"):
            saved_file._claim(second, path)
    finally:
        os.close(second)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_others_have_access(path: Path, mode: int) -> None:
    write(path, RECORDS)
    path.chmod(mode)
    assert why_not(path) == f"others have access to it (mode {mode:04o}, and it must be 0600)"
    assert not path.exists()


def test_another_users(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, RECORDS)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert why_not(path) == "it belongs to another user"
    assert not path.exists()


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    other = path.with_name("other")
    write(other, RECORDS)
    path.symlink_to(other)
    assert why_not(path) == "it is a symbolic link"
    assert os.listdir(path.parent) == ["other"]


def test_what_is_no_file_at_all(path: Path) -> None:
    os.mkfifo(path, 0o600)
    assert why_not(path) == "it is no ordinary file"
    path.mkdir()
    assert why_not(path).startswith("it can't be deleted: ")


def test_what_cant_be_deleted_is_not_loaded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, RECORDS)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", unlink)
    assert why_not(path) == "it can't be deleted: Permission denied"


# --- Damaged


def test_cut_off_anywhere(path: Path) -> None:
    write(path, RECORDS)
    whole = path.read_bytes()
    for length in [*range(0, 100), *range(100, len(whole), 7), len(whole) - 1]:
        put(path, whole[:length])
        assert why_not(path).startswith("it is damaged"), length
        assert not path.exists()


def test_any_byte_flipped(path: Path) -> None:
    write(path, RECORDS)
    whole = path.read_bytes()
    for place in [*range(100), *range(100, len(whole), 7), len(whole) - 1]:
        put(path, whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert why_not(path).startswith(("it is damaged", "it is no file that hubd saved", "it is of another version"))


def test_longer_than_it_was(path: Path) -> None:
    write(path, RECORDS)
    put(path, path.read_bytes() + b"\0")
    assert why_not(path) == "it is damaged (the checksum doesn't fit)"


def test_another_version_and_something_else(path: Path) -> None:
    put(path, b"hubd saved 3\n" + b"x" * 100)
    assert why_not(path) == "it is of another version of hubd"
    put(path, b"SQLite format 3\0" + b"x" * 100)
    assert why_not(path) == "it is no file that hubd saved, or damaged"


@pytest.mark.parametrize(
    "data",
    [
        b"\x05",
        b"\xc1",
        b"\xa3abc",
        msgpack.packb({"a": 1}),
        b"\x91" * 2000,
        b"\x81\x90\x90",
        b"\xa1\xff",
        b"\x91\x05\xc1",
    ],
    ids=["number", "reserved", "text", "map", "deep", "list key", "not utf-8", "not all"],
)
def test_with_a_digest_that_fits_and_no_records(path: Path, data: bytes) -> None:
    put(path, forged(data))
    assert why_not(path).startswith("it is damaged (no ")


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_with_a_digest_that_fits_and_anything(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.rings"
    put(path, forged(data))
    with suppress(SavedError):
        assert all(isinstance(record, tuple) for record in taken(path))
    assert not path.exists()


def test_a_record_that_claims_to_be_gigantic(path: Path) -> None:
    put(path, forged(b"\xc6\xff\xff\xff\xff" + b"x" * 100))
    assert why_not(path) == "it is damaged (no end)"


def test_records_behind_the_end(path: Path) -> None:
    put(path, forged(msgpack.packb(("a",)) + msgpack.packb(("end",)) + msgpack.packb(("b",))))
    assert why_not(path) == "it is damaged (no record)"
