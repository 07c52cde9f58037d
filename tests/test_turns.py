"""Turns: of what has the same key, one thing is done at a time."""

import asyncio

import pytest

from hubd.turns import Turns


async def test_one_after_the_other_in_the_order_in_which_they_came() -> None:
    turns, said = Turns(), list[str]()

    async def one(name: str, key: str) -> None:
        async with turns.of(key):
            said.append(f"{name} begins")
            await asyncio.sleep(0)
            said.append(f"{name} ends")

    await asyncio.gather(one("a", "k"), one("b", "k"), one("c", "k"), one("other", "else"))
    assert said.index("other begins") < said.index("a ends"), "other keys don't wait"
    mine = [text for text in said if not text.startswith("other")]
    assert mine == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert "k" not in turns


async def test_a_turn_that_fails_or_is_cancelled_is_over() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        async with turns.of("k"):
            raise ZeroDivisionError
    before = turns.begin("k")
    waiting = [asyncio.create_task(_have(turns)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert not before.done(), "whoever goes away ends nobody's turn"
    turns.over("k", before)
    assert await asyncio.wait_for(waiting[1], 20)
    assert "k" not in turns


async def _have(turns: Turns) -> bool:
    async with turns.of("k"):
        return "k" in turns
