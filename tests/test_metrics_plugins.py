"""Metrics of plugins, and metrics about them, in `/metrics`."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily

from hubd.hooks.switching import FAULTS
from hubd.plugin import hookimpl
from hubd.testing import Other, PluginWorld, hub_for

OPENMETRICS = {"Accept": "application/openmetrics-text"}


class Measured:
    """One counter, and whatever ``collect`` gives."""

    def __init__(self, config: Any) -> None:
        self.act: Callable[[], Iterable[Any]] = list

    @hookimpl
    def hubd_register_metrics(self, registry: CollectorRegistry) -> None:
        self.hats = Counter("measured_hats", "Hats.", ["size"], registry=registry)
        registry.register(self)  # type: ignore[arg-type]  # it is one by what it does

    def collect(self) -> Iterable[Any]:
        return self.act()


class Second(Measured):
    """The same under another name."""

    @hookimpl
    def hubd_register_metrics(self, registry: CollectorRegistry) -> None:
        registry.register(self)  # type: ignore[arg-type]  # it is one by what it does


async def lines(hub: PluginWorld, **headers: str) -> list[str]:
    answer = await hub.request("GET", "/metrics", key=True, headers=headers)
    assert answer.status == 200
    return answer.body.decode().splitlines()


async def test_they_stand_beside_the_hubs_own() -> None:
    async with hub_for(Measured) as hub:
        hub.plugin.hats.labels("7").inc(3)
        for found in (await lines(hub), await lines(hub, **OPENMETRICS)):
            assert 'measured_hats_total{size="7"} 3.0' in found
            assert any(line.startswith("hubd_connections") for line in found)
        assert await hub.metric("hubd_plugin_up", plugin="measured") == 1


def raises(error: type[BaseException]) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


BAD = {
    "raises": raises(RuntimeError),
    "exits": raises(SystemExit),
    "interrupts": raises(KeyboardInterrupt),
    "numbers": lambda: [1, 2],
    "number": lambda: 5,
    "foreign": lambda: [GaugeMetricFamily("other_x", "X", value=1)],
    "hubd": lambda: [GaugeMetricFamily("hubd_connections", "X", value=1)],
    "process": lambda: [GaugeMetricFamily("process_cpu_seconds_total", "X", value=1)],
    "twice": lambda: [GaugeMetricFamily("measured_x", "X", value=1)] * 2,
    "its own counter": lambda: [GaugeMetricFamily("measured_hats_total", "X", value=1)],
    "no number": lambda: [GaugeMetricFamily("measured_x", "X", value="x")],  # type: ignore[arg-type]  # on purpose
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_one_shows_nothing_and_harms_no_other(what: str) -> None:
    async with hub_for(Measured, others=[Other("second", Second)], allow_faults=True) as hub:
        second: Any = hub.plugins.hooks.plugins["second"].instance
        second.act = lambda: [GaugeMetricFamily("second_x", "X", value=2)]
        hub.plugin.hats.labels("7").inc()
        hub.plugin.act = BAD[what]
        for headers in ({}, OPENMETRICS):
            found = await lines(hub, **headers)
            assert "second_x 2.0" in found and any(line.startswith("process_cpu_seconds_total") for line in found)
            assert not any("measured_hats" in line or "other_x" in line for line in found)
        assert {(fault.plugin, fault.where) for fault in hub.faults} == {("measured", "metrics")}


async def test_what_two_plugins_call_alike_the_first_has() -> None:
    # Names of the plugin "a-b" begin with those of "a".
    async with hub_for(Second, name="a", others=[Other("a-b", Second)], allow_faults=True) as hub:
        other: Any = hub.plugins.hooks.plugins["a-b"].instance
        hub.plugin.act = other.act = lambda: [GaugeMetricFamily("a_b_x", "X", value=1)]
        assert (await lines(hub)).count("a_b_x 1.0") == 1
        assert {(fault.plugin, fault.kind) for fault in hub.faults} == {("a-b", "bad_answer")}


async def test_failing_there_switches_nobody_off() -> None:
    async with hub_for(Measured, allow_faults=True) as hub:
        hub.plugin.act = BAD["raises"]
        for _ in range(FAULTS + 2):
            await lines(hub)
        assert len(hub.faults) == FAULTS + 2
        assert await hub.metric("hubd_plugin_up", plugin="measured") == 1
        hub.plugin.act = list
        hub.plugin.hats.labels("7").inc()
        assert 'measured_hats_total{size="7"} 1.0' in await lines(hub)


@pytest.mark.parametrize("name", ["process", "hubd"])
async def test_a_plugins_name_gives_it_nobody_elses_metrics(name: str) -> None:
    async with hub_for(Second, name=name, allow_faults=True) as hub:
        hub.plugin.act = lambda: [GaugeMetricFamily(f"{name}_something", "X", value=1)]
        assert not any(f"{name}_something" in line for line in await lines(hub))
        assert [fault.kind for fault in hub.faults] == ["bad_answer"]
