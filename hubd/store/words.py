"""What a database's failure is called: a few words for people, which say nothing that the failure quotes."""

import sqlite3
from enum import Enum, auto

_SQLITE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an I/O error",
    sqlite3.SQLITE_BUSY: "the database is locked by another program",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_READONLY: "the database can't be written to",
    sqlite3.SQLITE_CORRUPT: "the database is damaged",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_CANTOPEN: "the database file can't be opened",
    sqlite3.SQLITE_PERM: "the database file can't be opened",
    sqlite3.SQLITE_AUTH: "the database file can't be opened",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}
_POSTGRES = {
    "53100": "the database's disk is full",
    "53200": "the database has no memory left",
    "53300": "the database has too many connections",
    "57014": "the database takes too long",
    "55P03": "the database is locked by another program",
    "57P03": "the database is starting",
    "25006": "the database can't be written to",
    "3D000": "there is no such database",
    "42501": "the database user lacks a permission",
    "42P01": "tables are missing in the database",
    "58030": "the database reports an I/O error",
    "XX001": "the database is damaged",
    "XX002": "the database is damaged",
}
_POSTGRES_CLASSES = {
    "08": "the database can't be reached",
    "28": "the database refuses the user or the password",
    "53": "the database has not enough resources",
    "57": "the database is shutting down",
    "58": "the database reports an I/O error",
}
_UNKNOWN = "the database reports a fault"
_OWN_FAULT = "a fault of hubd's"
_DAMAGING = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NOT_THE_DATABASES = (ValueError, TypeError, OverflowError)  # UnicodeError is a ValueError


class Unusable(Exception):
    """The database can't be used, and the message says why."""


class Blame(Enum):
    """What is to be done about a failure."""

    WRITE = auto()
    """One of the writes can't be stored as it is; all others can."""
    DATABASE = auto()
    """Nothing can be stored at the moment."""


def blame_of(error: BaseException) -> Blame:
    """Whose fault it is."""
    state = _state_of(error)
    if state:
        return Blame.WRITE if state[:2] in ("21", "22", "23") else Blame.DATABASE
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError):
        return Blame.WRITE
    # asyncpg's errors about arguments are ValueErrors, too.
    return Blame.WRITE if isinstance(error, _NOT_THE_DATABASES) else Blame.DATABASE


def describe(error: BaseException) -> str:
    """What is the matter, in a few words."""
    error = _original(error)
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _SQLITE.get(code & 0xFF if code else 0, _UNKNOWN)
    if state := _state_of(error):
        return _POSTGRES.get(state) or _POSTGRES_CLASSES.get(state[:2]) or _UNKNOWN
    if isinstance(error, TimeoutError):
        return "the database takes too long"
    if isinstance(error, OSError) or type(error).__module__.startswith("asyncpg"):
        return "the database can't be reached"
    return f"{_OWN_FAULT} ({type(error).__name__})"


def may_be_damaged(error: BaseException) -> bool:
    """Whether the whole SQLite file is to be looked through before it is trusted again."""
    code = getattr(_original(error), "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGING


def is_known(error: BaseException) -> bool:
    """Whether it is one of those failures that come from outside, and not from what was to be stored."""
    return describe(error) != _UNKNOWN and not describe(error).startswith(_OWN_FAULT)


def will_not_pass(error: BaseException) -> bool:
    """Whether waiting is of no use: it is asked in a wrong way or place, or the database is damaged."""
    code = getattr(_original(error), "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    state = _state_of(_original(error))
    return state in ("XX001", "XX002") or state[:2] in ("28", "3D", "42") or isinstance(error, ValueError | TypeError)


def _original(error: BaseException) -> BaseException:
    """What a driver raised, where a library has wrapped it."""
    while True:
        inner = getattr(error, "orig", None) or getattr(error, "driver_exception", None)
        if not isinstance(inner, BaseException):
            cause = error.__cause__
            if not type(error).__module__.startswith("sqlalchemy") or cause is None:
                return error
            inner = cause
        error = inner


def _state_of(error: BaseException) -> str:
    """PostgreSQL's code of an error; empty where there is none."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""
