"""A file for its owner alone that holds msgpack records: written as a whole or not at all, and taken once.

Head (which names the format), records one after the other, and a BLAKE2b digest of all that. Whoever can write a file
of this user can do anything in his name, so the digest is no signature: it finds out what is torn or damaged.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

HEAD = b"hubd saved 2\n"
DIGEST_BYTES = 32
CHUNK = 1 << 20
RECORD_BYTES = 1 << 28
"""How large one record may be when it is read."""
Record = tuple[Any, ...]
END: Record = ("end",)


class SavedError(Exception):
    """The file can't be used; the message says why, for people, without anything that stands in the file."""


def write(path: Path, records: Iterable[Record]) -> int:
    """Write the records to the file, in place of any that was there; gives its size in bytes. May raise ``OSError``.

    When this returns, it is on the disk. When it raises, the old file is still there, and nothing else is left.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # left by a process that died while it was writing
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", buffering=0) as file:
            os.fchmod(handle, 0o600)  # whatever the umask took away
            size = _write_all(file, records)
            os.fsync(handle)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(path)
    return size


def _write_all(file: BinaryIO, records: Iterable[Record]) -> int:
    digest, packer = blake2b(digest_size=DIGEST_BYTES), msgpack.Packer(autoreset=False)
    size = _put(file, HEAD)
    digest.update(HEAD)
    for record in chain(records, [END]):
        packer.pack(record)
        if len(packer.getbuffer()) >= CHUNK:
            digest.update(packer.getbuffer())
            size += _put(file, packer.getbuffer())
            packer.reset()
    digest.update(packer.getbuffer())
    return size + _put(file, packer.getbuffer()) + _put(file, digest.digest())


def _put(file: BinaryIO, data: bytes | memoryview) -> int:
    """Write all of it: a single call may take less."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    return len(data)


def take(path: Path) -> BinaryIO | None:
    """Open the file and delete it, so that nobody ever reads it again; None when there is none.

    ``SavedError`` when it may not be read; then it is deleted too, if that is possible.
    """
    try:
        # Not blocking: what stands there could be a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "it is a symbolic link" if path.is_symlink() else f"it can't be opened: {error.strerror}"
        _delete(path)
        raise SavedError(reason) from None
    try:
        _claim(handle, path)
    except BaseException:
        os.close(handle)
        raise
    return open(handle, "rb", buffering=0)


def _claim(handle: int, path: Path) -> None:
    """Of several processes that have opened the file, one gets it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SavedError(f"another hub is just loading it, or it can't be locked: {error.strerror}") from None
    found = os.fstat(handle)
    if found.st_nlink == 0:
        raise SavedError("another hub has just loaded it")
    _delete(path)
    _check_owned(found)


def _delete(path: Path) -> None:
    """Delete it for good: after a crash of the machine it must not be there again."""
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path)
    except OSError as error:
        raise SavedError(f"it can't be deleted: {error.strerror}") from None


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_owned(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SavedError("it is no ordinary file")
    if found.st_uid != os.geteuid():
        raise SavedError("it belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise SavedError(f"others have access to it (mode {stat.S_IMODE(found.st_mode):04o}, and it must be 0600)")


def read(file: BinaryIO) -> Iterator[Record]:
    """The records of a file that is whole; ``SavedError`` before the first one when it isn't.

    Later too, where a record is no record: which only somebody can have made who made the digest fit.
    """
    try:
        left = _check_whole(file)
        yield from _records(file, left)
    except OSError as error:
        raise SavedError(f"it can't be read: {error.strerror}") from None


def _check_whole(file: BinaryIO) -> int:
    """Gives how many bytes of records there are; the file stands at their beginning then."""
    left = os.fstat(file.fileno()).st_size - len(HEAD) - DIGEST_BYTES
    head = file.read(len(HEAD))
    if left < 0:
        raise SavedError("it is damaged (too short)")
    if head != HEAD:
        ours = head is not None and head.startswith(HEAD[:-2])
        raise SavedError("it is of another version of hubd" if ours else "it is no file that hubd saved, or damaged")
    digest = blake2b(head, digest_size=DIGEST_BYTES)
    for chunk in _chunks(file, left):
        digest.update(chunk)
    if b"".join(_chunks(file, DIGEST_BYTES)) != digest.digest():
        raise SavedError("it is damaged (the checksum doesn't fit)")
    file.seek(len(HEAD))
    return left


def _chunks(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise SavedError("it is damaged (too short)")
        left -= len(chunk)
        yield chunk


def _records(file: BinaryIO, left: int) -> Iterator[Record]:
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=RECORD_BYTES + CHUNK)
    ended = False
    try:
        for chunk in _chunks(file, left):
            unpacker.feed(chunk)
            for record in unpacker:
                if ended or not isinstance(record, tuple):
                    raise SavedError("it is damaged (no record)")
                ended = record == END
                if not ended:
                    yield record
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise SavedError("it is damaged (no msgpack)") from None
    if not ended:
        raise SavedError("it is damaged (no end)")
