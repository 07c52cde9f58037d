import asyncio
from contextlib import suppress

from hubd_proxy_auth.turns import Turns


async def queue(turns: Turns, *addresses: str) -> tuple[list[str], list["asyncio.Task[None]"]]:
    """All of them wait, in this order; the list has them as their turns come."""
    had: list[str] = []

    async def one(address: str) -> None:
        await turns.take(address)
        had.append(address)

    tasks = [asyncio.ensure_future(one(address)) for address in addresses]
    await asyncio.sleep(0)
    return had, tasks


async def test_as_many_as_there_are_turns_go_at_once() -> None:
    turns = Turns(2)
    had, tasks = await queue(turns, "a", "a", "a")
    assert had == ["a", "a"]
    turns.give_back()
    await asyncio.gather(*tasks)
    assert had == ["a", "a", "a"]


async def test_one_address_with_a_crowd_doesnt_keep_the_others_waiting() -> None:
    turns = Turns(1)
    await turns.take("x")
    had, tasks = await queue(turns, *["crowd"] * 100, "ada", "bob", "ada")
    for _ in range(5):
        turns.give_back()
        await asyncio.sleep(0)
    assert had == ["crowd", "ada", "bob", "crowd", "ada"]
    for _ in range(98):
        turns.give_back()
    await asyncio.gather(*tasks)
    assert len(had) == 103


async def test_who_gives_up_takes_nobodys_turn() -> None:
    turns = Turns(1)
    await turns.take("x")
    had, tasks = await queue(turns, "a", "b", "c")
    tasks[0].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]
    turns.give_back()  # b's turn has come, but b gives up before it notices
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    await tasks[2]
    assert had == ["c"]
    turns.give_back()
    await asyncio.wait_for(turns.take("d"), 1)
