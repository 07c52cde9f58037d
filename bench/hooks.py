"""What plugins' hooks cost a publish: a hub without sockets, in turns with plugins and without.

    python -m bench.hooks                                # no plugin, five of them, one hook at a time
    python -m bench.hooks --before FOLDER                # also against an older hubd, unpacked there

A plugin here does nothing: what is measured is the hub's calling it. Every other publish is done as if there were no
plugins, so that whatever disturbs one disturbs the other; those who observe are waited for within the time of the
publish that they are told of. Times are CPU times of the thread; writing to connections isn't in them, but leaves
the caches as cold as a large fan-out does.
"""

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hubd.core.subscriptions import Grant
from hubd.hub import Hub
from hubd.testing import JSON_FORM, FakeClock, RecordingConnection, Soon, identity, make_hub

TOPIC = "orders:7"
BROADCAST = "notifications"
BLOCK_S = 0.25
"""About how long one block takes each of the two hubs."""
WARM_UP = 30
FIVE = 5
AT_ONCE = 20
EMPTIES_CACHES = 32 * 1024 * 1024
COLD_TURNS = 100
"""A block's publishes where emptying the caches takes far longer than each of them."""
ROOT = Path(__file__).resolve().parent.parent
ON_THE_WAY = ("authorize_publish", "prepare_notification", "filter_recipients", "store_notification", "published")
CHURN = "broadcast to 10,000 connections, one more before each"


class Audience(NamedTuple):
    """Who gets what is published: connections, and users with a durable subscription who aren't there."""

    connections: int
    durable: int = 0
    churn: bool = False
    cold: bool = False

    @property
    def words(self) -> str:
        """For people."""
        if self.churn:
            return CHURN
        if self.cold:
            return "0 connections, but the caches emptied before each"
        durable = f"{self.durable:,} durable subscribers" if self.durable else ""
        connections = (
            f"{self.connections:,} connection{'s' * (self.connections != 1)}" if self.connections or not durable else ""
        )
        return " and ".join(part for part in (connections, durable) if part)


AUDIENCES = (
    Audience(0),
    Audience(0, cold=True),
    Audience(1),
    Audience(1_000),
    Audience(10_000),
    Audience(0, 100_000),
    Audience(10_000, 100_000),
    Audience(10_000, churn=True),
)


class NullConnection(RecordingConnection):
    """A connection that takes everything and keeps nothing."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Let it go."""


class World:
    """A hub with an audience; ``publish`` says how many seconds of CPU it took."""

    def __init__(self, hub: Hub, clock: FakeClock, soon: Soon) -> None:
        self.hub, self.clock, self.soon = hub, clock, soon
        self.to = [TOPIC]
        self.comes: list[NullConnection] = []

    async def gather(self, audience: Audience) -> None:
        """Have everybody there."""
        for place in range(audience.connections):
            self.attach(f"c{place}")
        for place in range(audience.durable):
            await self.hub.durables.put(f"d{place}", TOPIC, Grant(by_server=True))
        if audience.churn:
            self.to = [BROADCAST]
        self.churn = audience.churn
        self.others_memory = bytearray(EMPTIES_CACHES if audience.cold else 0)

    def attach(self, user: str) -> NullConnection:
        """One more connection, subscribed to the topic."""
        connection = NullConnection(self.hub, identity(user), control=False, form=JSON_FORM)
        self.hub.attendance.attach(connection, (TOPIC,), None)
        self.hub.pump.flush(connection)
        return connection

    def turn(self, *, on: bool) -> None:
        """With the plugins, or as if there were none; whoever is connected stays."""
        for hook in self.hub.hooks.each.values():
            if on:
                hook.arrange()
            else:
                hook.impls = ()
        self.hub.observers.arrange()

    async def publish(self, times: int = 1) -> tuple[float, float]:
        """Publish, and wait until those who observe have been told: seconds of CPU, without that and with it."""
        if self.churn:
            for gone in self.comes:
                self.hub.lost(gone)
            self.comes = [self.attach("comes")]
        bytes(self.others_memory)
        hub = self.hub
        draft = hub.prepare({"to": self.to, "notification": {"type": "shipped", "text": "It is on its way"}})
        observers = getattr(hub, "observers", None)
        begun = time.thread_time_ns()
        for _ in range(times):
            await hub.publish(draft, "key:bench")
        answered = time.thread_time_ns() - begun
        await asyncio.sleep(0)  # as the loop of a hub turns after each publish, with plugins or without
        while observers is not None and not observers.is_idle:
            await asyncio.sleep(0)
        told = time.thread_time_ns() - begun
        self.soon.settle()
        return answered / times / 1e9, told / times / 1e9


class Block(NamedTuple):
    """Neighbours in time: microseconds of a publish without plugins, and what they add to it.

    ``answered``: the part of ``added`` that the publisher waits for; the rest is for those who observe.
    """

    alone: float
    added: float
    answered: float


async def take_turns(world: World, publishes: int, at_once: int = 1) -> Block:
    """A block without plugins and one with them, in turns of so many publishes at once; medians over the turns."""
    gc.collect()
    gc.disable()
    alone, answered, told = [], [], []
    for place in range(max(10, publishes // at_once)):
        took = {}
        for on in (False, True) if place % 2 else (True, False):
            world.turn(on=on)
            took[on] = await world.publish(at_once)
        alone.append(took[False][1] * 1e6)
        answered.append((took[True][0] - took[False][0]) * 1e6)
        told.append((took[True][1] - took[False][1]) * 1e6)
    gc.enable()
    return Block(median(alone), median(told), median(answered))


async def size_of_block(world: World) -> int:
    """How many publishes make a block."""
    took = median([(await world.publish())[1] for _ in range(WARM_UP)])
    return max(20, min(3000, round(BLOCK_S / took)))


# --- Plugins that do nothing


def plugin_class(hooks: Sequence[str], *, waits: bool) -> type[Any]:
    """A plugin that does nothing on these hooks, in plain functions or in coroutines."""
    from hubd.hooks.specs import arguments_of
    from hubd.hooks.table import HOOKS
    from hubd.plugin import hookimpl

    methods: dict[str, Any] = {"__init__": lambda self, config: None}
    for hook in hooks:
        word = "async def" if waits and not HOOKS[hook].sync else "def"
        arguments = ", ".join(("self", *arguments_of(hook)))
        made: dict[str, Any] = {}
        exec(f"{word} hubd_{hook}({arguments}):\n    return None", made)
        methods[f"hubd_{hook}"] = hookimpl(made[f"hubd_{hook}"])
    return type("Idle", (), methods)


async def world_of(audience: Audience, plugins: Sequence[type[Any]] = ()) -> World:
    """A hub with these plugins and this audience."""
    if not plugins:
        world = World(*make_hub())
    else:
        from random import Random

        from hubd.config import Config
        from hubd.hooks.calls import Hooks
        from hubd.hooks.manager import Plugins
        from hubd.ids import Ids

        clock, soon = FakeClock(), Soon()
        hooks = Hooks(clock)
        manager = Plugins(hooks)
        for place, plugin in enumerate(plugins):
            manager.add(f"idle{place}", plugin, None)
        hub = Hub(Config(), clock=clock, ids=Ids(clock, Random(1)), call_soon=soon, hooks=hooks)
        world = World(hub, clock, soon)
    await world.gather(audience)
    return world


async def compare(audience: Audience, plugins: Sequence[type[Any]], pairs: int, at_once: int = 1) -> list[Block]:
    """A hub without plugins, and the same one with these."""
    from hubd.tasks import Tasks

    world, tasks = await world_of(audience, plugins), Tasks()
    world.hub.observers.start(tasks)
    publishes = COLD_TURNS if audience.cold else await size_of_block(world)
    gc.collect()
    gc.freeze()
    blocks = [await take_turns(world, publishes, at_once) for _ in range(pairs)]
    gc.unfreeze()
    await tasks.close()
    return blocks


def show(words: str, blocks: list[Block]) -> None:
    """One line: the medians, and of what was added the range too."""
    added, answered = [block.added for block in blocks], [block.answered for block in blocks]
    print(
        f"  {words:52} {median(block.alone for block in blocks):7.1f} us, added {median(added):6.2f} us"
        f" ({min(added):.2f} to {max(added):.2f}), of them before the answer {median(answered):6.2f}"
        f" ({min(answered):.2f} to {max(answered):.2f})",
        flush=True,
    )


async def all_hooks(pairs: int) -> None:
    """Five plugins on every hook of the way, with each audience."""
    for waits in (False, True):
        print(f"\nfive no-op plugins on all hooks of the way, {'coroutines' if waits else 'plain functions'}")
        for audience in AUDIENCES:
            five = [plugin_class(ON_THE_WAY, waits=waits)] * FIVE
            show(audience.words, await compare(audience, five, pairs))
            if audience.connections == 1:
                show(f"{audience.words}, {AT_ONCE} publishes at once", await compare(audience, five, pairs, AT_ONCE))


async def each_hook(pairs: int) -> None:
    """One hook at a time, by one plugin and by five."""
    audience = Audience(1)
    for count in (1, FIVE):
        print(f"\n{count} no-op plugin{'s' * (count > 1)} on one hook alone, {audience.words}")
        for hook in ON_THE_WAY:
            for waits in (False, True):
                if not (waits and hook == "filter_recipients"):
                    words = f"{hook}, {'coroutine' if waits else 'plain function'}"
                    show(words, await compare(audience, [plugin_class([hook], waits=waits)] * count, pairs))


# --- Against an older hubd: a process each, because both are called hubd


class Worker:
    """A process with a hub of that version; it does blocks when it is told to."""

    def __init__(self, root: Path, audience: Audience) -> None:
        command = [sys.executable, "-P", __file__, "--worker", str(audience.connections), str(audience.durable)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.publishes = int(self.ask(""))

    def ask(self, line: str) -> str:
        """One line there, and one back."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if line:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._process.stdout.readline()

    def block(self, publishes: int) -> float:
        """Microseconds per publish."""
        return float(self.ask(str(publishes)))

    def close(self) -> None:
        """End it."""
        self._process.communicate("")


async def work(audience: Audience) -> None:
    """What a worker does."""
    world = await world_of(audience)
    print(await size_of_block(world), flush=True)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        gc.collect()
        gc.disable()
        publishes = int(line)
        took = 0.0
        for _ in range(publishes):
            took += (await world.publish())[0]
        gc.enable()
        print(took / publishes * 1e6, flush=True)


def against(before: Path, pairs: int) -> None:
    """Without plugins: this hubd beside an older one."""
    print(f"\nno plugins, beside {before.name}: an older hubd, and what this one adds to it")
    for audience in AUDIENCES:
        if audience.churn or audience.cold:
            continue
        workers = [Worker(root, audience) for root in (before, ROOT)]
        publishes = max(5, min(worker.publishes for worker in workers) // 10)
        blocks, ratios = [], []
        for _ in range(pairs):
            took = [0.0, 0.0]
            for turn in range(10):
                for which in (0, 1) if turn % 2 else (1, 0):
                    took[which] += workers[which].block(publishes) / 10
            blocks.append(Block(took[0], took[1] - took[0], took[1] - took[0]))
            ratios.append(took[1] / took[0])
        for worker in workers:
            worker.close()
        show(audience.words, blocks)
        print(f"  {'':54} ratio {median(ratios):.3f}  ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What plugins' hooks cost a publish.")
    parser.add_argument("--pairs", type=int, default=9, help="pairs of blocks for each figure")
    parser.add_argument("--before", type=Path, help="a folder with an older hubd, to compare with")
    parser.add_argument("--only", choices=("all", "each", "before"), help="a part of it")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        asyncio.run(work(Audience(*options.worker)))
        return
    if options.before and options.only in (None, "before"):
        against(options.before.resolve(), options.pairs)
    if options.only in (None, "all"):
        asyncio.run(all_hooks(options.pairs))
    if options.only in (None, "each"):
        asyncio.run(each_hook(options.pairs))


if __name__ == "__main__":
    main()
