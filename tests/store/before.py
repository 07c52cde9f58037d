"""A database as the version of hubd left it that knew no devices: these rows were written by it."""

from sqlalchemy import text

from hubd.store.database import database_of
from hubd.store.migrating import alembic_config

_KEYS = bytes.fromhex
ROWS: dict[str, list[tuple[object, ...]]] = {
    "hubd_answers": [("notifications", "backend", "p1", b"\x00\xff", "ep.7", 3, 1_800_000_000_123)],
    "hubd_facts": [(3, "k1", "acked", _KEYS("3A3000000100000000000000100000000200"), 9, "phone")],
    "hubd_notifications": [
        (
            1, "k1", "id-k1", '{"id":"id-k1","type":"feed","text":"ü"'.encode(), '["team:red"]', "persistent",
            1_800_000_000_000, 1_800_000_060_000, "c", "g", 1_800_000_007_000,
            _KEYS(
                "94C4143A30000001000000000001001000000001000200C4123A30000001000000000000001000000001009192A87465616D3A"
                "726564C4143A300000010000000000010010000000010002009195A26B31A764726F70706564C4123A30000001000000000000"
                "0010000000030003A56D75746564"
            ),
            None,
        ),
        (
            2, "k2", "id-k2", b'{"id":"x","type":"feed"', '["team:red"]', "persistent",
            1_800_000_000_000, 1_800_000_060_000, None, None, 0,
            _KEYS("94C4123A3000000100000000000000100000000200C09192A87465616D3A726564C090"),
            1_900_000_000_000,
        ),
    ],
    "hubd_revoked": [("dan", 1_800_000_000.5)],
    "hubd_scheduled": [("s1", "later", 1_800_000_099_000, b'{"to":"user:ada"}')],
    "hubd_subscriptions": [("eve", "news", 4, False, '["news:*"]', 1_799_999_999.25, True)],
    "hubd_users": [(1, "bob"), (2, "ada"), (3, "cy"), (4, "eve")],
}  # fmt: skip


async def make_before(url: str) -> None:
    """Make that database."""
    from alembic import command

    database = database_of(url)
    async with database.engine.connect() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "0001"))
        await connection.execute(text("UPDATE hubd_state SET batch = 8, next_number = 5, probe = 2"))
        for table, rows in ROWS.items():
            names = [f"v{place}" for place in range(len(rows[0]))]
            insert = text(f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in names)})")
            for row in rows:
                await connection.execute(insert, dict(zip(names, row, strict=True)))
        await connection.commit()
    await database.close()
