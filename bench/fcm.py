"""Pushes by FCM per CPU second, compared with firebase-admin's own `send_each_async`.

    python -m bench fcm

A stand-in for FCM runs in a process of its own. The baseline is firebase-admin as its documentation shows it: 500
messages made with its classes, one `send_each_async`, and again. The other is what the hub does with a push that is
due: the plugin's backend, as many calls under way as it allows, each device with a text of its own. Both look at each
answer; what is compared is the CPU time of the process that sends.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from bench.blocks import ROUNDS, take_turns
from bench.processes import Processes
from bench.results import Results

MESSAGES = 1000
BATCH = 500
"""As many as firebase-admin takes at a time."""
REACH = ">= 8.0"
PROJECT = "hubd-bench"
NOTIFICATION = {
    "id": "01a20281-0767-77bc-be43-000000000001",
    "type": "chat.message",
    "title": "New message",
    "body": "Somebody has written to you: are you there this evening?",
    "url": "https://app.example.com/chats/4711",
    "priority": "important",
    "sent_at": 1_800_000_000_000,
}
_capabilities = count(10**9)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pushes by FCM per CPU second, compared with firebase-admin's own.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="in a block")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="with fewer rounds")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    results = Results("fcm")
    rounds = 3 if options.short else options.rounds
    with Processes() as processes, tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        command = [sys.executable, "-m", "bench.fcm", "--serve", folder]
        endpoint = f"http://127.0.0.1:{processes.telling('fcm', command, 'http').port}"
        measure(results, runner, endpoint, Path(folder), options.messages, rounds)
    results.save()


async def serve(folder: Path) -> None:
    """The stand-in; its quotas aren't what is measured."""
    from hubd.testing.fcm_quotas import FcmLimits
    from hubd.testing.fcm_service import FcmService

    most = 10**9
    limits = FcmLimits(project_minute=most, device_minute=most, device_hour=most)
    async with FcmService(PROJECT, limits=limits) as service:
        service.write_account(folder)
        print(f"FCM's stand-in is listening on {service.endpoint}", flush=True)
        await asyncio.Event().wait()


def measure(results: Results, runner: asyncio.Runner, endpoint: str, folder: Path, messages: int, rounds: int) -> None:
    """The two ways of sending, by turns."""
    from hubd_fcm import Fcm

    from hubd.testing import hub_for

    file = str(folder / "service-account.json")
    plain = Plain(file, endpoint)
    hub_of = hub_for(Fcm, {"service_account_file": file, "endpoint": endpoint, "allow_hosts": ["127.0.0.1"]})
    hub = runner.run(hub_of.__aenter__())
    try:
        ways: dict[str, Callable[[], float]] = {
            "plain": lambda: cpu_s(runner, plain.send(messages)),
            "hub": lambda: cpu_s(runner, send(hub.plugin.backend, messages)),
        }
        for way in ways.values():
            way()  # the first time, what is needed is loaded and connected
        found = take_turns(ways["plain"], {"hub": ways["hub"]}, float, rounds)
    finally:
        runner.run(hub_of.__aexit__(None, None, None))
        runner.run(plain.close())
    each = {"firebase-admin": found.baselines(), "hub": found.runs("hub")}
    for who, runs in each.items():
        results.add("FCM, CPU of a push", who, "us", [1e6 * run / messages for run in runs])
        results.add("FCM, pushes per CPU second", who, "1/s", [messages / run for run in runs])
    results.add("FCM, pushes per CPU second", "hub/firebase", "times", found.ratios("hub", float), REACH)
    results.note(f"{messages} messages in a block; {found.thrown} rounds thrown out")


def cpu_s(runner: asyncio.Runner, work: Coroutine[Any, Any, None]) -> float:
    """The CPU time that this process takes for it."""
    before = time.process_time()
    runner.run(work)
    return time.process_time() - before


def text_of_one() -> bytes:
    """What one device gets: the same for all, but for what it may fetch and ack with."""
    return orjson.dumps(NOTIFICATION)[:-1] + b',"hub_capability":"cap_%043d"}' % next(_capabilities)


class Plain:
    """firebase-admin by itself."""

    def __init__(self, file: str, endpoint: str) -> None:
        import firebase_admin
        from firebase_admin import credentials, messaging

        certificate = credentials.Certificate(file)
        self._app = firebase_admin.initialize_app(certificate, {"httpTimeout": 60}, name="plain")
        self._messaging = messaging
        # There is no public way to another endpoint, nor one to keep google-auth from asking Google for regions.
        service = messaging._get_messaging_service(self._app)
        service._fcm_url = f"{endpoint}/v1/projects/{PROJECT}/messages:send"
        certificate.get_credential()._maybe_start_regional_access_boundary_refresh = lambda *_: None

    async def send(self, messages: int) -> None:
        """So many messages, in batches."""
        for start in range(0, messages, BATCH):
            batch = [self._message(number) for number in range(start, min(start + BATCH, messages))]
            answers = await self._messaging.send_each_async(batch, app=self._app)
            if answers.failure_count:
                sys.exit(f"firebase-admin failed: {answers.responses[0].exception}")

    def _message(self, number: int) -> Any:
        messaging = self._messaging
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # tokens are on their way out
            return messaging.Message(
                token=f"token-{number}",
                data={
                    "id": NOTIFICATION["id"],
                    "tag": NOTIFICATION["id"],
                    "url": NOTIFICATION["url"],
                    "notification": text_of_one().decode(),
                },
                android=messaging.AndroidConfig(priority="high", ttl=600),
                webpush=messaging.WebpushConfig(headers={"Urgency": "normal", "TTL": "600"}),
                apns=messaging.APNSConfig(
                    headers={
                        "apns-priority": "10",
                        "apns-collapse-id": NOTIFICATION["id"],
                        "apns-expiration": "1800000600",
                    },
                    payload=messaging.APNSPayload(
                        aps=messaging.Aps(
                            alert=messaging.ApsAlert(title=NOTIFICATION["title"], body=NOTIFICATION["body"]),
                            custom_data={"interruption-level": "active"},
                        )
                    ),
                ),
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._messaging._get_messaging_service(self._app)._async_client.aclose()


async def send(backend: Any, messages: int) -> None:
    """So many pushes by the plugin's backend."""
    from hubd.plugin import Device, Outcome, Priority, Push

    numbers = iter(range(messages))
    id = str(NOTIFICATION["id"])

    async def worker() -> None:
        for number in numbers:
            text = text_of_one()
            push = Push(
                id=id,
                type=str(NOTIFICATION["type"]),
                priority=Priority.IMPORTANT,
                title=str(NOTIFICATION["title"]),
                body=str(NOTIFICATION["body"]),
                url=str(NOTIFICATION["url"]),
                collapse_key=None,
                tag=id,
                expires_at=1_800_000_600,
                ttl_s=600,
                overrides={},
                data=lambda most, text=text: text,
            )
            device = Device(f"dev_{number}", f"u{number}", "fcm", {"token": f"token-{number}"}, PROJECT)
            result = await backend.send(device, push)
            if result.outcome is not Outcome.ACCEPTED:
                sys.exit(f"a push failed: {result}")

    async with asyncio.TaskGroup() as group:
        for _ in range(backend.limits.at_once):
            group.create_task(worker())


if __name__ == "__main__":
    main()
