"""A hub with everything around it: clients, publishers, a disk, push services, a gate; and what can happen to it."""

import asyncio
import logging
import re
import zlib
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from tests.simulation import checks, inside, push_checks, wire
from tests.simulation.clients import Tab
from tests.simulation.disk import Disk, MemoryStore
from tests.simulation.hub_process import HubProcess, config_of
from tests.simulation.loop import Clock, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.observer import Broken, Life, Observer
from tests.simulation.outside import Plan
from tests.simulation.phones import Phone
from tests.simulation.pollers import Poller
from tests.simulation.publishers import Publisher
from tests.simulation.push_services import HOSTS, PushServices, ToyBackend

TOPICS = ("news", "team:a")
LOOKS_EVERY_S = 1.7
_DATE = re.compile(rb"Date: [^\r]*\r\n")


class _Ear(logging.Handler):
    """Hears what is logged: what nobody could be told of by an exception, was broken all the same."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer
        self._log = logging.getLogger("hubd")
        self._log.addHandler(self)
        self._log.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record.msg, "event", "") == "push_failed":
            self._observer.break_off(f"fault: {record.msg} {record.exc_info and record.exc_info[1]!r}")

    def close(self) -> None:
        super().close()
        self._log.removeHandler(self)
        self._log.propagate = True


class World:
    """Everything, from one seed. ``settings`` are the hub's sections besides keys."""

    def __init__(
        self, seed: int, settings: dict[str, Any], *, with_gate: bool = False, with_bad_services: bool = False
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
        self._ear = _Ear(self.observer)
        self.services = PushServices(self.observer, seed, is_troubled=with_bad_services)
        self.plan = Plan(self.loop, self.observer) if with_gate else None
        self.bytes = 0
        """A checksum of everything that the hub has written."""
        self.users: list[str] = []
        self.tabs: list[Tab] = []
        self.pollers: list[Poller] = []
        self.publishers = [Publisher(self.network, self.observer, f"p{number}") for number in range(2)]
        self.process: HubProcess | None = None
        self.phones: list[Phone] = []
        self._backend: ToyBackend
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
        self._backend, self._store = self.services.backend(), MemoryStore(self.disk)
        self.process = HubProcess(
            self.loop,
            self.network,
            self.clock,
            self.config,
            seed=self.seed * 100 + len(self.observer.lives),
            gate=gate,
            store=self._store,
            observer=self.observer,
            push=self.services.plugin(self._backend),
        )
        self.loop.create_task(self._start(self.process))
        self.loop.call_later(LOOKS_EVERY_S, self._look, self.process)

    def _look(self, process: HubProcess) -> None:
        """Every now and then, as long as it lives."""
        if process is self.process:
            if process.is_up:
                inside.check_liveness(process.hub)
            self.loop.call_later(LOOKS_EVERY_S, self._look, process)

    async def _start(self, process: HubProcess) -> None:
        await process.start(self._saved)
        self.observer.lives[-1].ready = self.loop.now
        inside.check_devices(process.hub, self.observer, self.users)
        if self.plan is not None:
            self.plan.take_up()

    def kill(self) -> None:
        """As by kill -9: what isn't on the disk is gone."""
        if self.process is None:
            return
        self.observer.note("kill")
        self._end("killed")
        self.process.kill()
        for phone in self.phones:
            phone.crashed(self.loop.now)
        self._store.kill()
        self._backend.is_dead = True
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
        self.observer.lives[-1].stopping = self.loop.now
        self.observer.lives[-1].end = self.loop.now  # from here on it takes nothing more
        if self._saved is None:
            self._folder = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
            self._saved = Path(self._folder.name) / "saved.rings"
        await process.stop(self._saved)
        self._end("stopped")
        self._backend.is_dead = process.watch.is_dead = True
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

    def add_phone(self, user: str, host: str = HOSTS[0], ack_chance: float = 0.0) -> Phone:
        """A phone that its user registers now."""
        phone = Phone(self.network, self.observer, f"phone-{len(self.phones)}", host, self.token)
        phone.ack_chance = ack_chance
        self.phones.append(phone)
        phone.register(user)
        return phone

    # Time

    def settle(self, longest_s: float) -> None:
        """Let time pass until nothing is on its way to a phone any more, or for long enough."""
        assert self.process is not None
        until = self.loop.now + longest_s
        while self.loop.now < until and inside.is_pushing(self.process.hub):
            self.run(5.0)

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
        push_checks.check_sends(self.observer, self.services.limits, self.services.well)
        assert self.process is not None
        inside.check_devices(self.process.hub, self.observer, self.users)
        inside.check_conservation(self.process.hub, self.observer, self.users)
        inside.check_bounds(self.process.hub, self._store.most_waiting)
        inside.check_pushing_is_over(self.process.hub)

    def close(self) -> None:
        self._ear.close()
        self.loop.cancel_all()
        self.loop.run_for(0.0)
        self.loop.close()
        asyncio.set_event_loop(None)
        if self._folder is not None:
            self._folder.cleanup()
