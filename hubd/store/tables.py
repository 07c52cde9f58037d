"""The tables. What the hub asks for by its value has a column; sets of users and what hangs on them are packed."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A key of 64 bits; only what SQLite calls an INTEGER is where its rows stand, all else is an index beside them."""

state = Table(
    "hubd_state",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=False),
    Column("batch", BigInteger, nullable=False),
    Column("next_number", BigInteger, nullable=False),
    Column("probe", BigInteger, nullable=False),
    Column("filler", LargeBinary, nullable=False),
)
"""One row: the number of the last transaction, which tells whether one in doubt is there; the next user's number; and
what is written to see whether anything can be."""

users = Table(
    "hubd_users",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
)

notifications = Table(
    "hubd_notifications",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("id", Text, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
    Column("channels", Text, nullable=False),
    Column("persistence", Text, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("collapse_key", Text),
    Column("grouped", Text),
    Column("due_at", BigInteger, nullable=False),
    Column("sets", LargeBinary, nullable=False),
    Column("keep_until", BigInteger),
    Column("push", LargeBinary),
)
"""In the order of ``seq``. ``keep_until``: nothing while something is open, then until when it is still to be read."""

is_open = notifications.c.keep_until.is_(None)
is_closed = notifications.c.keep_until.is_not(None)
Index("ix_hubd_notifications_open", notifications.c.seq, sqlite_where=is_open, postgresql_where=is_open)
Index("ix_hubd_notifications_closed", notifications.c.keep_until, sqlite_where=is_closed, postgresql_where=is_closed)

facts = Table(
    "hubd_facts",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("users", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
)

answers = Table(
    "hubd_answers",
    metadata,
    Column("table_name", Text, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("table_name", "publisher", "id"),
)

scheduled = Table(
    "hubd_scheduled",
    metadata,
    Column("key", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("deliver_at", BigInteger, nullable=False),
    Column("call", LargeBinary, nullable=False),
)

subscriptions = Table(
    "hubd_subscriptions",
    metadata,
    Column("user_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("by_server", Boolean, nullable=False),
    Column("patterns", Text, nullable=False),
    Column("checked_at", Float(53), nullable=False),
    Column("allowed", Boolean, nullable=False),
    PrimaryKeyConstraint("user_id", "topic"),
    sqlite_with_rowid=False,
)

devices = Table(
    "hubd_devices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("platform", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("gone_at", BigInteger, nullable=False),
)

secrets = Table(
    "hubd_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

revoked = Table(
    "hubd_revoked",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("since", Float(53), nullable=False),
)
