"""A hub with everything around it: clients, publishers, a disk, push services, a gate; and what can happen to it."""

import asyncio
import re
import zlib
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from tests.simulation import checks, inside, wire
from tests.simulation.clients import Tab
from tests.simulation.disk import Disk, MemoryStore
from tests.simulation.hub_process import HubProcess, config_of
from tests.simulation.loop import Clock, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.observer import Broken, Life, Observer
from tests.simulation.outside import Plan, PushServices, RecordingPusher
from tests.simulation.pollers import Poller
from tests.simulation.publishers import Publisher

TOPICS = ("news", "team:a")
_DATE = re.compile(rb"Date: [^\r]*\r\n")


class World:
    """Everything, from one seed. ``settings`` are the hub's sections besides keys."""

    def __init__(
        self, seed: int, settings: dict[str, Any], *, with_gate: bool, without_devices: tuple[str, ...]
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.loop = VirtualLoop(seed)
        asyncio.set_event_loop(self.loop)
        self.network = Network(self.loop)
        self.network.tap = self._on_bytes
        self.clock = Clock(self.loop)
        self.config = config_of(settings)
        self.disk = Disk(self.loop, seed)
        delivery = self.config.delivery
        self.observer = Observer(self.loop, self.disk, delivery.grace_s, delivery.push_delay_s)
        self.observer.without_devices = without_devices
        self.services = PushServices(self.loop, self.observer, without_devices, seed)
        self.plan = Plan(self.loop, self.observer) if with_gate else None
        self.bytes = 0
        """A checksum of everything that the hub has written."""
        self.users: list[str] = []
        self.tabs: list[Tab] = []
        self.pollers: list[Poller] = []
        self.publishers = [Publisher(self.network, self.observer, f"p{number}") for number in range(2)]
        self.process: HubProcess | None = None
        self._pusher: RecordingPusher
        self._store: MemoryStore
        self._folder: TemporaryDirectory[str] | None = None
        self._saved: Path | None = None
        self.tokens: dict[str, str] = {}

    def _on_bytes(self, data: bytes) -> None:
        """What the hub writes is part of what happened; but for the date, which is that of the real world."""
        self.bytes = zlib.crc32(_DATE.sub(b"", data), self.bytes)

    # The hub

    def start(self) -> None:
        """Start the hub; what comes in until it is ready is refused."""
        if self.process is not None:
            return
        self.observer.lives.append(Life(self.loop.now))
        self.observer.note("start")
        gate = None if self.plan is None else self.plan.gate_class()
        self._pusher, self._store = self.services.pusher(), MemoryStore(self.disk)
        self.process = HubProcess(
            self.loop,
            self.network,
            self.clock,
            self.config,
            seed=self.seed * 100 + len(self.observer.lives),
            gate=gate,
            store=self._store,
            pusher=self._pusher,
        )
        self.loop.create_task(self._start(self.process))

    async def _start(self, process: HubProcess) -> None:
        await process.start(self._saved)
        self.observer.lives[-1].ready = self.loop.now
        if self.plan is not None:
            self.plan.take_up()

    def kill(self) -> None:
        """As by kill -9: what isn't on the disk is gone."""
        if self.process is None:
            return
        self.observer.note("kill")
        self._end("killed")
        self.process.kill()
        self._store.kill()
        self._pusher.is_dead = True
        self.process = None

    def _end(self, how: str) -> None:
        life = self.observer.lives[-1]
        life.end, life.how = self.loop.now, how
        for seen in self.observer.connections:
            self.observer.closed(seen, self.loop.now)

    def stop(self) -> None:
        """In good order; it starts again when it is down."""
        if self.process is not None and self.process.is_up:
            self.process.is_up = False
            self.observer.note("stop")
            self.loop.create_task(self._stop(self.process))

    async def _stop(self, process: HubProcess) -> None:
        self.observer.lives[-1].end = self.loop.now  # from here on it takes nothing more
        if self._saved is None:
            self._folder = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
            self._saved = Path(self._folder.name) / "saved.rings"
        await process.stop(self._saved)
        self._end("stopped")
        self._pusher.is_dead = True
        self.process = None
        self.start()

    # Those who use it

    def token(self, user: str) -> str:
        if user not in self.tokens:
            self.tokens[user] = wire.token(user, ("**",))
        return self.tokens[user]

    def add_tab(
        self,
        user: str,
        *,
        topics: tuple[str, ...],
        is_plain: bool,
        acks: bool,
        ack_chance: float,
        pong_s: float = 0.1,
    ) -> Tab:
        tab = Tab(
            self.network,
            self.observer,
            user,
            f"{user}-{len(self.tabs)}",
            topics=topics,
            token=lambda: self.token(user),
            is_plain=is_plain,
            acks=acks,
            ack_chance=ack_chance,
            pong_s=pong_s,
        )
        self.tabs.append(tab)
        return tab

    def add_poller(self, user: str, *, topics: tuple[str, ...], wait_s: int, pause_s: float) -> Poller:
        poller = Poller(
            self.network,
            self.observer,
            user,
            f"{user}-poll",
            topics=topics,
            token=lambda: self.token(user),
            wait_s=wait_s,
            pause_s=pause_s,
        )
        self.pollers.append(poller)
        return poller

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass; whatever was broken meanwhile is raised."""
        self.loop.run_for(seconds)
        if self.loop.broken:
            raise self.loop.broken[0]
        if self.loop.faults:
            raise Broken(f"fault: {self.loop.faults[0]}")

    def check(self) -> None:
        """All that was promised."""
        checks.check_all(self.observer, tuple(self.users))
        assert self.process is not None
        inside.check_conservation(self.process.hub, self.observer, self.users)
        inside.check_bounds(self.process.hub, self._store.most_waiting)

    def close(self) -> None:
        self.loop.cancel_all()
        self.loop.run_for(0.0)
        self.loop.close()
        asyncio.set_event_loop(None)
        if self._folder is not None:
            self._folder.cleanup()
