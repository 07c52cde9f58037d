"""Hours in short: 10,000 connections, a steady stream of publishes, people who come and go; nothing may be lost."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.processes import CLIENT_CORE, Processes, Server
from bench.results import FOLDER, Results

SETTINGS = {
    # The defaults of a hub that runs for real, which `Processes` changes for measurements of other kinds.
    "HUBD_LIMITS__PER_IP": "1000",
    "HUBD_LIMITS__PING_S": "25",
}
SCRAPE_S = 5
"""How often the hub's metrics are read: three times as often as Prometheus usually does."""
SEED = 20_270_801
SHORT_S = 60.0
GROWN_S, GROWN_SHORT_S = 300, 20
"""From when on memory has to stay as it is: until then the rings fill; in a run that is too short, just to see."""
SMOOTH_S = 30
LAG_MOST_MS = 20
_LAG = re.compile(r'^hubd_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)

Buckets = Mapping[float, float]
"""How many values were at most so many seconds."""


@dataclass
class Series:
    """What was seen second by second; ``lag_*`` every few seconds. For a picture."""

    second: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    cpu_percent: list[float] = field(default_factory=list)
    targeted_p50_ms: list[float] = field(default_factory=list)
    targeted_p99_ms: list[float] = field(default_factory=list)
    broadcast_p50_ms: list[float | None] = field(default_factory=list)
    broadcast_p99_ms: list[float | None] = field(default_factory=list)
    answer_p99_ms: list[float] = field(default_factory=list)
    answer_max_ms: list[float] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    waited_percent: list[float] = field(default_factory=list)
    lag_second: list[float] = field(default_factory=list)
    lag_p99_ms: list[float] = field(default_factory=list)
    lag_buckets: list[dict[str, int]] = field(default_factory=list)

    def add(self, report: Mapping[str, Any], rss_bytes: int, cpu_s: float, waited_s: float) -> None:
        """One more second."""
        broadcast = report["broadcast_ms"]
        self.second.append(report["second"])
        self.rss_mib.append(rss_bytes / 2**20)
        self.cpu_percent.append(cpu_s * 100)
        self.waited_percent.append(waited_s * 100)
        self.targeted_p50_ms.append(report["targeted_ms"]["p50"])
        self.targeted_p99_ms.append(report["targeted_ms"]["p99"])
        self.broadcast_p50_ms.append(broadcast["p50"] if broadcast["count"] else None)
        self.broadcast_p99_ms.append(broadcast["p99"] if broadcast["count"] else None)
        self.answer_p99_ms.append(report["answer_ms"]["p99"])
        self.answer_max_ms.append(report["answer_ms"]["max"])
        self.behind.append(report["behind"])

    def add_lag(self, second: float, buckets: Buckets) -> None:
        """What the hub's own histogram has got since the last time."""
        self.lag_second.append(second)
        self.lag_p99_ms.append(quantile(buckets, 0.99) * 1e3)
        before = 0.0
        counts = {}
        for bound, count in buckets.items():
            counts[str(bound)] = int(count - before)
            before = count
        self.lag_buckets.append(counts)

    def growth_percent(self, since_s: float, smooth_s: int) -> float:
        """How far the highest smoothed memory is over the lowest, from a second on."""
        values = [rss for second, rss in zip(self.second, self.rss_mib, strict=True) if second >= since_s]
        smooth = [median(values[start : start + smooth_s]) for start in range(max(1, len(values) - smooth_s + 1))]
        return (max(smooth) / min(smooth) - 1) * 100


def lag_of(server: Server) -> Buckets:
    """The hub's histogram of how late its loop was, as it is now."""
    address = f"http://127.0.0.1:{server.port}/metrics"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {server.key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return {float(bound): float(count) for bound, count in _LAG.findall(text)}


def waited_s(server: Server) -> float:
    """For how long the hub wanted its core so far, and somebody else had it."""
    return int(Path(f"/proc/{server.pid}/schedstat").read_text().split()[1]) / 1e9


def since(before: Buckets, now: Buckets) -> Buckets:
    """What has come between two readings."""
    return {bound: count - before[bound] for bound, count in now.items()}


def quantile(buckets: Buckets, fraction: float) -> float:
    """As Prometheus' ``histogram_quantile``: evenly spread within a bucket; of the last one, its lower bound."""
    wanted = fraction * max(buckets.values())
    low, below = 0.0, 0.0
    for bound, count in buckets.items():
        if count >= wanted and count > below:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low


class Soak:
    """One run: a hub, the load client, and what is seen of them meanwhile."""

    def __init__(self, processes: Processes, options: argparse.Namespace) -> None:
        self._options = options
        self.series = Series()
        if options.plant:
            self.server = processes.hub(auth=True, module="bench.sabotage", BENCH_FAULT=options.plant, **SETTINGS)
        else:
            self.server = processes.hub(auth=True, **SETTINGS)
        client = [
            processes.native("soak"),
            str(self.server.port),
            self.server.key,
            str(processes.tokens_file(options.connections)),
            *map(str, (options.minutes * 60, options.targeted, options.broadcast_every, options.churn, options.seed)),
        ]
        self._client = processes.start(client, CLIENT_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line that the client says; none: it has found something wrong, and said what."""
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            raise Failed(f"the load client has ended with status {self._client.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self) -> dict[str, Any]:
        """Until it is over; gives the client's last words. ``Failed`` when something was wrong."""
        series, server = self.series, self.server
        self.lag_before = lag = self.lag = lag_of(server)
        assert self._client.stdin is not None
        self._client.stdin.write("go\n")
        self._client.stdin.flush()
        cpu_s, waited, then = server.cpu_s(), waited_s(server), time.monotonic()
        while "done" not in (report := self._answer()):
            before, (cpu_s, waited, then) = (cpu_s, waited, then), (server.cpu_s(), waited_s(server), time.monotonic())
            elapsed = then - before[2]
            series.add(report, server.rss_bytes(), (cpu_s - before[0]) / elapsed, (waited - before[1]) / elapsed)
            if len(series.second) % SCRAPE_S == 0:
                lag, self.lag = self.lag, lag_of(server)
                series.add_lag(report["second"], since(lag, self.lag))
                self._tell(report["second"])
        return report

    def _tell(self, second: float) -> None:
        """How it goes, for whoever watches."""
        series = self.series
        last = slice(-SCRAPE_S, None)
        broadcasts = [value for value in series.broadcast_p99_ms[last] if value is not None]
        print(
            f"  {second:6.0f} s  RSS {series.rss_mib[-1]:6.1f} MiB  CPU {median(series.cpu_percent[last]):3.0f}%"
            f"  own p50 {median(series.targeted_p50_ms[last]):5.2f} p99 {max(series.targeted_p99_ms[last]):6.1f} ms"
            f"  broadcast p99 {max(broadcasts, default=0):5.0f} ms"
            f"  lag p99 {series.lag_p99_ms[-1]:5.1f} ms  answer max {max(series.answer_max_ms[last]):5.1f} ms"
            f"  waited {fmean(series.waited_percent[last]):3.0f}%",
            flush=True,
        )


class Failed(Exception):
    """The load client has found something wrong; what, it has said itself."""


def add_figures(results: Results, soak: Soak, done: Mapping[str, Any], options: argparse.Namespace) -> None:
    """What came out."""
    given = {"connections": options.connections, "minutes": options.minutes}
    results.add("lost, doubled, reordered", "hub", "", [0], "<= 0", **given)
    lag = since(soak.lag_before, soak.lag)
    results.add("loop lag p99 ms", "hub", "ms", [quantile(lag, 0.99) * 1e3], f"<= {LAG_MOST_MS}", **given)
    results.note(f"loop lag, by the hub's own histogram: {shares(lag)}")
    answer = done["answer_ms"]
    results.add("/health/live answered, from outside, p50", "hub", "ms", [answer["p50"]], **given)
    results.add("/health/live answered, from outside, p99", "hub", "ms", [answer["p99"]], **given)
    add_growth(results, soak.series, options)
    for name in ("targeted", "broadcast"):
        times = done[f"{name}_ms"]
        for part in ("p50", "p99"):
            results.add(f"{name}: delivered {part}", "hub", "ms", [times[part]], **given)
    results.add("CPU share of its core", "hub", "%", [fmean(soak.series.cpu_percent)], **given)
    results.add("kept waiting for its core by others", "hub", "%", [fmean(soak.series.waited_percent)], **given)
    results.add("CPU share of its core", "load client", "%", [done["client_cpu_seconds"] / done["done"] * 100], **given)
    results.add("RSS at the end", "hub", "MiB", [soak.series.rss_mib[-1]], **given)
    results.note(
        f"{done['published']:,} published, {done['delivered']:,} delivered, {done['resumed']:,} resumed;"
        f" at most {max(soak.series.behind):,} publishes behind their time"
    )


def shares(buckets: Buckets) -> str:
    """How many of the values were over each bound, for those bounds that matter."""
    count = max(buckets.values())
    bounds = [bound for bound in buckets if 0.005 <= bound <= 0.5]
    return f"{count:,.0f} values; over " + ", ".join(
        f"{bound * 1e3:g} ms {(count - buckets[bound]) / count:.2%}" for bound in bounds
    )


def add_growth(results: Results, series: Series, options: argparse.Namespace) -> None:
    """Whether memory stays as it is."""
    given = {"connections": options.connections, "minutes": options.minutes}
    if series.second[-1] >= GROWN_S + 2 * SMOOTH_S:
        growth = series.growth_percent(GROWN_S, SMOOTH_S)
        results.add("RSS growth %", "hub", "%", [growth], "<= 2", **given)
    elif series.second[-1] > GROWN_SHORT_S:
        growth = series.growth_percent(GROWN_SHORT_S, SMOOTH_S // 3)
        results.add(f"RSS growth % after {GROWN_SHORT_S} s, where rings still fill", "hub", "%", [growth], **given)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--targeted", type=float, default=1000, help="publishes to one user each, a second")
    parser.add_argument("--broadcast-every", type=float, default=10.0, help="seconds between two to everybody")
    parser.add_argument("--churn", type=float, default=50, help="connections that go, a second")
    parser.add_argument("--seed", type=int, default=SEED, help="of who goes when, and the order of users")
    parser.add_argument("--short", action="store_true", help="one minute")
    parser.add_argument("--unsaved", action="store_true", help="leave build/bench/ alone")
    parser.add_argument(
        "--plant", choices=["lost", "doubled", "reordered"], help="a hub with this fault: the run has to fail"
    )
    options = parser.parse_args()
    if options.short:
        options.minutes = SHORT_S / 60
    return options


def main() -> None:
    """Run it, and say what came out; status 1 when anything was wrong with what was delivered."""
    options = read_options()
    os.sched_setaffinity(0, {CLIENT_CORE})
    results = Results("soak")
    failure: Failed | None = None
    print(f"{options.connections:,} connections, {options.minutes:g} minutes, seed {options.seed}", flush=True)
    with Processes() as processes:
        soak = Soak(processes, options)
        try:
            add_figures(results, soak, soak.run(), options)
        except Failed as error:
            failure = error
            results.add("lost, doubled, reordered", "hub", "", [1], "<= 0", connections=options.connections)
            results.note(str(error))
    if not options.unsaved:
        results.save()
        save_series(soak.series)
    if failure is not None:
        sys.exit(1)


def save_series(series: Series) -> None:
    """Write ``build/bench/soak-series.json``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "soak-series.json").write_text(json.dumps(asdict(series)) + "\n")


if __name__ == "__main__":
    main()
