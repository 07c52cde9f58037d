"""The metrics: all begin with the plugin's name, and each endpoint has its own."""

from hubd_webhooks.counts import Counts
from prometheus_client import CollectorRegistry, generate_latest


def shown(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in found if "_created" not in name}


def test_each_endpoint_has_its_own() -> None:
    counts, registry = Counts(), CollectorRegistry()
    counts.register(registry)
    a, b = counts.of("a"), counts.of("b")
    a.sent.inc(3)
    a.failed("redirect", 2)
    b.dropped("queue_full", 4)
    b.waiting.set(7)
    found = shown(registry)
    assert all(name.startswith("webhooks_") for name in found)
    assert found['webhooks_sent_total{endpoint="a"}'] == 3
    assert found['webhooks_sent_total{endpoint="b"}'] == 0
    assert found['webhooks_failed_total{endpoint="a",reason="redirect"}'] == 2
    assert found['webhooks_dropped_total{endpoint="b",reason="queue_full"}'] == 4
    assert found['webhooks_waiting{endpoint="b"}'] == 7


def test_of_an_endpoint_that_is_gone_only_its_deeds_stay() -> None:
    counts, registry = Counts(), CollectorRegistry()
    counts.register(registry)
    a = counts.of("a")
    a.sent.inc()
    a.forget()
    found = shown(registry)
    assert 'webhooks_waiting{endpoint="a"}' not in found and 'webhooks_switched_off{endpoint="a"}' not in found
    assert found['webhooks_sent_total{endpoint="a"}'] == 1
