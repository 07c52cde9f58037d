"""What a measurement found: a table for people, and a file from which the pictures and the page are made."""

import json
import operator
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("BENCH_FOLDER") or ROOT / "build" / "bench" / "single")
"""Where the files go; a suite has a folder of its own."""
_COMPARISONS = {">=": operator.ge, "<=": operator.le}


@dataclass
class Figure:
    """One figure: the median of its values with their range, and what it has to reach, if that was said.

    ``what`` says what was measured, ``who`` of which server, ``reach`` is written as ``>= 0.88``. ``given`` are the
    circumstances that a picture orders by, as ``{"connections": 1000, "window": 1}``.
    """

    what: str
    who: str
    unit: str
    median: float
    low: float
    high: float
    count: int
    reach: str = ""
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def is_reached(self) -> bool | None:
        """Whether it is what it has to be; None if it doesn't have to be anything."""
        if not self.reach:
            return None
        comparison, number = self.reach.split()
        return bool(_COMPARISONS[comparison](self.median, float(number)))


class Results:
    """The figures of one measurement; ``save`` when done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def add(self, what: str, who: str, unit: str, values: Sequence[float], reach: str = "", **given: Any) -> Figure:
        """Put a figure in, and print its line."""
        figure = self.keep(what, who, unit, values, reach, **given)
        print(line_of(figure), flush=True)
        return figure

    def keep(self, what: str, who: str, unit: str, values: Sequence[float], reach: str = "", **given: Any) -> Figure:
        """Put a figure in; whoever calls this prints it in a table of his own."""
        figure = Figure(what, who, unit, median(values), min(values), max(values), len(values), reach, given)
        self.figures.append(figure)
        return figure

    def note(self, text: str) -> None:
        """Something a reader has to know: a peer that is missing, rounds that were thrown out."""
        self.notes.append(text)
        print(f"  ({text})", flush=True)

    def save(self) -> None:
        """Write ``NAME.json``."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "machine": machine(),
            "figures": [asdict(figure) for figure in self.figures],
            "notes": self.notes,
        }
        (FOLDER / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What an earlier run has saved."""
        content = json.loads(path.read_text())
        results = cls(content["name"])
        results.figures = [Figure(**figure) for figure in content["figures"]]
        results.notes = content["notes"]
        return results


def number_of(value: float) -> str:
    """With three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def line_of(figure: Figure) -> str:
    """One line of the table in a terminal."""
    mark = {None: "", True: "  reached", False: "  NOT REACHED"}[figure.is_reached]
    spread = f"({number_of(figure.low)} to {number_of(figure.high)})" if figure.count > 1 else ""
    wanted = f"  [{figure.reach}]" if figure.reach else ""
    return f"  {figure.what:58} {figure.who:14} {number_of(figure.median):>8} {figure.unit:6} {spread:20}{wanted}{mark}"


def machine() -> dict[str, str]:
    """On what it was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": model, "linux": platform.release(), "python": sys.version.split()[0]}
