"""Many measurements, one after the other: `short` (under 12 minutes) or `all` (some two hours).

    python -m bench suite short

Each is a process of its own; its figures go to build/bench/short/ or build/bench/all/, from which `python -m bench
report` makes the page and the pictures. Ends with status 1 if one of them failed, as when a frame was lost; a figure
that doesn't reach what it has to is said at the end, but is no failure: on a machine with neighbours it may be theirs.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.results import ROOT, Results, line_of

SHORT = (
    "fanout --short",
    "targeted --short",
    "memory --short",
    "handshakes --short",
    "publishes --short",
    "acks --short",
    "storm --short",
    "durable --short",
    "soak --short",
)
ALL = (
    "fanout",
    "targeted",
    "memory",
    "handshakes",
    "publishes",
    "acks",
    "storm",
    "durable",
    "escalation",
    "storing",
    "explain",
    "pushing",
    "growth",
    "slow_consumer",
    "hostile",
    "hooks",
    "soak",
)
SUITES = {"short": SHORT, "all": ALL}


def folder_of(suite: str) -> Path:
    """Where a suite's figures are."""
    return ROOT / "build" / "bench" / suite


def main() -> None:
    parser = argparse.ArgumentParser(description="Many measurements, one after the other.")
    parser.add_argument("suite", choices=SUITES)
    options = parser.parse_args()
    folder = folder_of(options.suite)
    for old in folder.glob("*.json"):
        old.unlink()
    begun = time.monotonic()
    failed = [line for line in SUITES[options.suite] if not measured(line, folder)]
    print(f"\nAll of it took {(time.monotonic() - begun) / 60:.1f} minutes.")
    summarize(folder)
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


def measured(line: str, folder: Path) -> bool:
    """Run one of them; whether all went well."""
    print(f"\n=== python -m bench {line}", flush=True)
    begun = time.monotonic()
    environment = {**os.environ, "BENCH_FOLDER": str(folder)}
    done = subprocess.run([sys.executable, "-m", "bench", *line.split()], cwd=ROOT, env=environment, check=False)
    print(f"=== {line.split(maxsplit=1)[0]}: {time.monotonic() - begun:.0f} s", flush=True)
    return done.returncode == 0


def summarize(folder: Path) -> None:
    """The figures that have something to reach."""
    found = [
        figure
        for path in sorted(folder.glob("*.json"))
        for figure in (Results.load(path).figures if "-" not in path.stem else ())
        if figure.reach
    ]
    reached = sum(figure.is_reached is True for figure in found)
    print(f"{reached} of {len(found)} figures that have something to reach do:")
    for figure in found:
        print(line_of(figure))


if __name__ == "__main__":
    main()
