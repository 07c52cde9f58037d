"""Every statement that writes, as text for a driver: compiled once, because that is what costs.

Each takes its values as a tuple, in the order that is written beside it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Dialect, and_, bindparam, cast, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.schema import Table

from hubd.store import tables


class Statements:
    """The statements in the words of one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        state, users, rows, facts = tables.state, tables.users, tables.notifications, tables.facts
        self.go_on = self._text(update(state).values(_given(state, "batch", "next_number")), "batch", "next_number")
        """batch, next_number"""
        self.probe = self._text(update(state).values(_given(state, "probe", "filler")), "probe", "filler")
        """probe, filler"""
        self.user = self._kept(users)
        """number, id"""
        self.row = self._kept(rows)
        """As the columns stand in the table."""
        self.fact = self._fact()
        """seq, kind, users, at, detail, key; only where there is a row with that key."""
        self.close = self._text(
            update(rows).values(keep_until=bindparam("until")).where(rows.c.key == bindparam("closed")),
            "until",
            "closed",
        )
        """keep_until, key"""
        self.drop_row = self._gone(rows, "key")
        self.drop_facts = self._gone(facts, "key")
        self.answer = self._put(tables.answers, "fingerprint", "cursor", "live", "at")
        """As the columns stand in the table."""
        self.forget = self._forget()
        """table, publisher, id, before"""
        self.schedule = self._put(tables.scheduled, "id", "deliver_at", "call")
        """As the columns stand in the table."""
        self.unschedule = self._gone(tables.scheduled, "key")
        self.subscribe = self._put(tables.subscriptions, "number", "by_server", "patterns", "checked_at", "allowed")
        """As the columns stand in the table."""
        self.unsubscribe = self._gone(tables.subscriptions, "user_id", "topic")
        self.revoke = self._put(tables.revoked, "since")
        """user, since"""
        self.device = self._put(
            tables.devices, "user_id", "number", "platform", "app", "address", "registered_at", "gone_at"
        )
        """As the columns stand in the table."""
        self.drop_device = self._gone(tables.devices, "id")
        self.secret = self._put(tables.secrets, "value")
        """name, value"""
        self.forget_user = self._gone(users, "number")

    def _kept(self, table: Table) -> str:
        """Insert, and leave what is there."""
        names = table.c.keys()
        return self._text(self._insert(table).values(_given(table, *names)).on_conflict_do_nothing(), *names)

    def _put(self, table: Table, *renewed: str) -> str:
        """Insert, or renew these columns of what is there."""
        names = table.c.keys()
        insert = self._insert(table).values(_given(table, *names))
        new = {name: getattr(insert.excluded, name) for name in renewed}
        return self._text(insert.on_conflict_do_update(index_elements=[*table.primary_key], set_=new), *names)

    def _gone(self, table: Table, *by: str) -> str:
        return self._text(delete(table).where(and_(*(table.c[name] == bindparam(name) for name in by))), *by)

    def _fact(self) -> str:
        facts, rows = tables.facts, tables.notifications
        names = ("seq", "kind", "users", "at", "detail")
        values = [cast(bindparam(name, type_=facts.c[name].type), facts.c[name].type) for name in names]
        there = select(*values, rows.c.key).where(rows.c.key == bindparam("key"))
        return self._text(self._insert(facts).from_select([*names, "key"], there), *names, "key")

    def _forget(self) -> str:
        answers = tables.answers
        old = [answers.c[name] == bindparam(name) for name in ("table_name", "publisher", "id")]
        return self._text(
            delete(answers).where(*old, answers.c.at < bindparam("before")), "table_name", "publisher", "id", "before"
        )

    def _text(self, statement: Executable, *names: str) -> str:
        compiled = statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]
        order: Sequence[str] | None = compiled.positiontup
        assert list(order or ()) == list(names), (str(compiled), order, names)
        return str(compiled)


def _given(table: Table, *names: str) -> dict[str, Any]:
    return {name: bindparam(name, type_=table.c[name].type) for name in names}
