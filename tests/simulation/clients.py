"""A tab of a user: a WebSocket that comes back whenever it is lost, shows notifications, and acks what it shows."""

import asyncio
import json
from collections.abc import Callable
from math import inf, nextafter
from typing import Any

from tests.simulation import wire
from tests.simulation.calls import ADDRESS
from tests.simulation.network import End, Link, Network
from tests.simulation.observer import Ack, Broken, Got, Observer, Seen

BACK_S = 0.4


def position(cursor: str) -> tuple[str, int]:
    """What a cursor says. It is nobody's business but the hub's, and of who checks it."""
    epoch, _, sequence = cursor.partition("~")[0].rpartition("-")
    return epoch, int(sequence)


class Tab(asyncio.Protocol):
    """``is_plain``: it speaks no protocol but WebSocket, and acks only if it ``acks``.

    ``ack_chance`` is how often it does; ``pong_s`` how long it takes to answer a ping.
    """

    def __init__(
        self,
        network: Network,
        observer: Observer,
        user: str,
        name: str,
        *,
        topics: tuple[str, ...],
        token: Callable[[], str],
        is_plain: bool,
        acks: bool,
        ack_chance: float,
        pong_s: float,
    ) -> None:
        self._network = network
        self._loop = network.loop
        self._observer = observer
        self.user = user
        self.name = name
        self.topics = topics
        self._token = token
        self.is_plain = is_plain
        self.acks = acks or not is_plain
        self._ack_chance = ack_chance
        self._pong_s = pong_s
        self.is_wanted = False
        self.is_visible = True
        self.cursor = ""
        self.shown: dict[str, None] = {}
        self._hidden: list[str] = []
        self._unanswered: dict[str, None] = {}
        self._refs: dict[str, list[tuple[str, Ack]]] = {}
        self._leaving: dict[str, str] = {}
        self._count = 0
        self.link: Link | None = None
        self.seen: Seen | None = None
        self._end: End | None = None
        self._pong_at = 0.0

    # Coming and going

    def open(self) -> None:
        """From now on it wants to be connected."""
        self.is_wanted = True
        self._connect()

    def shut(self) -> None:
        """The tab is closed."""
        self.is_wanted = False
        if self._end is not None:
            self._end.write(wire.frame(wire.CLOSE, b"\x03\xe8"))
            self._end.close()

    def _connect(self) -> None:
        if not self.is_wanted or self._end is not None:
            return
        link = self._network.connect(ADDRESS, self, f"10.1.0.{len(self.name)}")
        if link is None or self._end is None:
            self._come_back()
            return
        self.link = link
        query = [f"topics={','.join(self.topics)}"] if self.topics else []
        if self.cursor:
            query.append(f"cursor={self.cursor}")
        if self.is_plain and self.acks:
            query.append("acks=1")
        target = "/notifications" + (f"?{'&'.join(query)}" if query else "")
        data = wire.handshake(target, self._token(), "" if self.is_plain else "hubd.v1.json")
        self._end.write_and_then(data, lambda: self._attached(link))

    def _come_back(self) -> None:
        if self.is_wanted:
            self._loop.call_later(BACK_S * (0.5 + self._loop.random.random()), self._connect)

    def _attached(self, link: Link) -> None:
        """The hub has the handshake, and attaches the connection in this step."""
        observer = self._observer
        self.seen = seen = observer.opened(self.user, self.name, acks=self.acks)
        if self.cursor:
            seen.resume(*position(self.cursor))
        for topic in self.topics:
            seen.joined(topic, observer.now)
        link.on_server_end = lambda: observer.closed(seen, observer.now)
        link.on_write = lambda end, data: self._on_hub_write(seen, link, end, data)

    def _on_hub_write(self, seen: Seen, link: Link, end: End, data: bytes) -> None:
        """Where the hub says goodbye, the connection is none any more, whether that arrives or not."""
        if end is not link.server or data.endswith(b"}") or data.startswith(b"HTTP/"):
            return
        if any(opcode == wire.CLOSE for opcode, _ in wire.Frames().feed(data)):
            self._observer.closed(seen, self._observer.now)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self._end = transport
        self._frames: wire.Frames | None = None
        self._answers = wire.Answers()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end = self.link = None
        self._refs.clear()
        self._leaving.clear()
        self._come_back()

    # What comes in

    def data_received(self, data: bytes) -> None:
        assert self._end is not None
        if self._frames is None:
            answer = self._answers.feed(data)
            if answer is None:
                return
            if answer.status != 101:
                self._refused(answer)
                return
            self._frames, data = wire.Frames(), self._answers.rest
            if self._unanswered:
                self._say_acked(list(self._unanswered))
            if not self.is_visible and not self.is_plain:
                self._say_visibility()
        for opcode, payload in self._frames.feed(data):
            self._on_frame(opcode, payload)

    def _refused(self, answer: wire.Answer) -> None:
        assert self._end is not None
        if self.seen is not None:
            self.seen.is_none = True
        self._observer.note(f"{self.name} refused {answer.status}")
        self._end.close()

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        end, seen = self._end, self.seen
        assert end is not None and seen is not None
        if opcode == wire.PING:
            upto = len(seen.got)
            self._pong_at = max(nextafter(self._pong_at, inf), self._loop.now + self._delay())
            self._loop.call_at(self._pong_at, self._pong, end, seen, payload, upto)
        elif opcode == wire.CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._observer.closed(seen, end.sent_at)
            self._observer.note(f"{self.name} closed {code}")
            if code in (4500, 4501):
                seen.is_none = True
            if code in (4500, 4507):
                self.is_wanted = False
            end.write(wire.frame(wire.CLOSE, payload[:2]))
            end.close()
        elif opcode == wire.TEXT:
            fields = json.loads(payload)
            if "hub" in fields:
                self._on_control(fields, end, seen)
            else:
                self._on_notification(fields, end, seen)

    def _pong(self, end: End, seen: Seen, payload: bytes, upto: int) -> None:
        def arrived() -> None:
            if not self.acks:
                if seen.closed_at <= self._observer.now:
                    return
                for got in seen.got[:upto]:
                    self._observer.proofs[got.id, self.user].append(self._observer.now)

        if self._end is end:
            end.write_and_then(wire.frame(wire.PONG, payload), arrived)

    def _delay(self) -> float:
        return self._loop.random.uniform(0.5, 1.0) * self._pong_s

    def _on_control(self, fields: dict[str, Any], end: End, seen: Seen) -> None:
        match fields["hub"]:
            case "welcome":
                epoch, start = position(fields["cursor"])
                if not seen.epoch:
                    seen.resume(epoch, start)
                seen.epoch = epoch
                self.cursor = self.cursor or fields["cursor"]
                for topic in fields["topics"]:
                    seen.joined(topic, seen.opened_at)
            case "gap":
                seen.missed(end.sent_at)
                self._observer.note(f"{self.name} gap {fields['reason']}")
            case "ping":
                self.cursor = fields["cursor"]
                self._later(0.2, end, lambda: end.write(wire.action({"action": "pong"})))
            case "reply":
                self._on_reply(fields, end)

    def _on_reply(self, fields: dict[str, Any], end: End) -> None:
        acks = self._refs.pop(fields["ref"], [])
        topic = self._leaving.pop(fields["ref"], "")
        if topic and self.seen is not None and topic in self.seen.leaving:
            self.seen.leaving[topic][1] = end.sent_at
        if fields["ok"]:
            for id, ack in acks:
                self._unanswered.pop(id, None)
                ack.answered_at = end.sent_at
                self._observer.ack_answered(id, self.user, end.sent_at)

    def _on_notification(self, fields: dict[str, Any], end: End, seen: Seen) -> None:
        id, channel = fields["id"], fields["channel"]
        epoch, sequence = position(fields["cursor"])
        seen.epoch = seen.epoch or epoch
        got = Got(id, channel, sequence, end.sent_at, self._loop.now)
        self._observer.note(f"{self.name} got {id} {fields['cursor']} {channel}")
        if self.is_plain and not seen.got and epoch != seen.epoch:
            seen.epoch = epoch  # which a gap has told before
        if epoch != seen.epoch:
            raise Broken(f"once: {self.name} got a cursor of another epoch: {fields['cursor']}")
        if seen.got and sequence <= seen.got[-1].sequence:
            raise Broken(f"order: {self.name} got {sequence} behind {seen.got[-1].sequence}")
        seen.got.append(got)
        self.cursor = fields["cursor"]
        if id in self.shown:
            return
        if self.is_visible:
            self._show(id)
        else:
            self._hidden.append(id)

    # What a person does

    def _show(self, id: str) -> None:
        self.shown[id] = None
        random = self._loop.random
        if self.acks and random.random() < self._ack_chance:
            self._loop.call_later(random.choice((0.1, 1.0, 6.5, 12.0)) * (0.8 + 0.4 * random.random()), self._ack, id)

    def _ack(self, id: str) -> None:
        self._unanswered[id] = None
        if self._end is not None and self._frames is not None:
            self._say_acked([id])

    def _say_acked(self, ids: list[str]) -> None:
        acks = [(id, Ack()) for id in ids]
        seen = self.seen
        assert seen is not None

        def arrived() -> None:
            if seen.closed_at <= self._observer.now:  # the hub has closed it, and hears nothing any more
                return
            for id, ack in acks:
                self._observer.note(f"{self.name} acks {id}")
                self._observer.acked(id, self.user, ack)

        ref = self._ref()
        self._refs[ref] = acks
        assert self._end is not None
        self._end.write_and_then(wire.action({"action": "ack", "ids": ids, "ref": ref}), arrived)

    def _ref(self) -> str:
        self._count += 1
        return str(self._count)

    def hide(self) -> None:
        self.is_visible = False
        self._say_visibility()

    def show(self) -> None:
        self.is_visible = True
        self._say_visibility()
        hidden, self._hidden = self._hidden, []
        for id in hidden:
            self._show(id)

    def _say_visibility(self) -> None:
        if self._end is not None and self._frames is not None:
            state = "visible" if self.is_visible else "hidden"
            self._end.write(wire.action({"action": "visibility", "state": state}))

    def subscribe(self, topic: str) -> None:
        if self._end is None or self._frames is None or topic in self.topics:
            return
        seen = self.seen
        assert seen is not None
        self.topics = (*self.topics, topic)
        data = wire.action({"action": "subscribe", "topic": topic, "ref": self._ref()})
        self._end.write_and_then(data, lambda: seen.joined(topic, self._observer.now))

    def unsubscribe(self, topic: str) -> None:
        if self._end is None or self._frames is None or topic not in self.topics:
            return
        seen = self.seen
        assert seen is not None
        self.topics = tuple(other for other in self.topics if other != topic)

        def arrived() -> None:
            seen.left(topic, self._observer.now)
            seen.leaving[topic] = [self._observer.now, inf]

        ref = self._ref()
        self._leaving[ref] = topic
        data = wire.action({"action": "unsubscribe", "topic": topic, "ref": ref})
        self._end.write_and_then(data, arrived)

    def _later(self, longest_s: float, end: End, do: Callable[[], None]) -> None:
        def if_here() -> None:
            if self._end is end:
                do()

        self._loop.call_later(self._loop.random.uniform(0.0, longest_s), if_here)
