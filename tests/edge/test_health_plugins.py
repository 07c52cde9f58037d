"""What plugins say at `/health/ready`. Nonsense that they say is in the zoo."""

from typing import Any

from hubd.hooks.switching import FAULTS
from hubd.plugin import hookimpl
from hubd.testing import Other, hub_for


class Ill:
    """Says why, or fails."""

    def __init__(self, config: Any) -> None:
        self.why: Any = None

    @hookimpl
    async def hubd_check_health(self) -> str | None:
        if isinstance(self.why, Exception):
            raise self.why
        answer: str | None = self.why
        return answer


async def test_every_reason_is_told() -> None:
    async with hub_for(Ill, name="one", others=[Other("two", Ill)]) as hub:
        assert (await hub.request("GET", "/health/ready")).status == 200
        hub.plugin.why = "the database is away"
        hub.plugins.hooks.plugins["two"].instance.why = "x" * 1000  # type: ignore[attr-defined]  # it is an Ill
        assert (await hub.request("GET", "/health/ready")).status == 200, "they are asked once a second"
        await hub.advance(1)
        answer = await hub.request("GET", "/health/ready")
        assert answer.status == 503
        assert answer.json()["reasons"] == ["one: the database is away", f"two: {'x' * 200}"]
        assert (await hub.request("GET", "/health/live")).status == 200


async def test_an_empty_reason_is_none() -> None:
    async with hub_for(Ill) as hub:
        hub.plugin.why = ""
        assert (await hub.request("GET", "/health/ready")).status == 200


async def test_a_reason_in_several_lines_is_a_fault() -> None:
    async with hub_for(Ill, allow_faults=True) as hub:
        hub.plugin.why = "a\nb"
        assert (await hub.request("GET", "/health/ready")).status == 200
        assert [fault.kind for fault in hub.faults] == ["bad_answer"]


async def test_one_that_fails_leaves_the_hub_ready() -> None:
    async with hub_for(Ill, allow_faults=True) as hub:
        hub.plugin.why = RuntimeError("secret")
        for _ in range(FAULTS + 2):
            answer = await hub.request("GET", "/health/ready")
            assert answer.status == 200 and b"secret" not in answer.body
            await hub.advance(1)
        assert len(hub.faults) == FAULTS + 2
        assert hub.plugins.hooks.plugins["ill"].is_on, "strangers can ask as often as they like"
