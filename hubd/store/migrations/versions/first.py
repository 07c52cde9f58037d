"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CLOSED, _OPEN = sa.text("keep_until IS NOT NULL"), sa.text("keep_until IS NULL")


def upgrade() -> None:
    """Make them."""
    _make_notifications()
    _make_state_and_users()
    _make_the_rest()


def _make_notifications() -> None:
    op.create_table(
        "hubd_notifications",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("persistence", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("collapse_key", sa.Text()),
        sa.Column("grouped", sa.Text()),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("sets", sa.LargeBinary(), nullable=False),
        sa.Column("keep_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_hubd_notifications_id", "hubd_notifications", ["id"])
    for name, column, where in (("open", "seq", _OPEN), ("closed", "keep_until", _CLOSED)):
        op.create_index(
            f"ix_hubd_notifications_{name}", "hubd_notifications", [column], sqlite_where=where, postgresql_where=where
        )
    op.create_table(
        "hubd_facts",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("users", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_hubd_facts_key", "hubd_facts", ["key"])


def _make_state_and_users() -> None:
    state = op.create_table(
        "hubd_state",
        sa.Column("id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), nullable=False),
        sa.Column("probe", sa.BigInteger(), nullable=False),
        sa.Column("filler", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(state, [{"id": 1, "batch": 0, "next_number": 1, "probe": 0, "filler": b""}])
    op.create_table(
        "hubd_users",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )


def _make_the_rest() -> None:
    op.create_table(
        "hubd_answers",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("publisher", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("live", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "publisher", "id"),
    )
    op.create_index("ix_hubd_answers_at", "hubd_answers", ["at"])
    op.create_table(
        "hubd_scheduled",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deliver_at", sa.BigInteger(), nullable=False),
        sa.Column("call", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "hubd_subscriptions",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("by_server", sa.Boolean(), nullable=False),
        sa.Column("patterns", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.Float(53), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "topic"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hubd_revoked",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("user_id"),
    )
