"""The page of all figures and the pictures, out of what a suite has left.

    python -m bench report            # of build/bench/all/ into docs/performance/, and the table of docs/performance.md

Pictures need matplotlib, which `make bench-deps` installs.
"""

import argparse
import json
from pathlib import Path

from bench.pictures import draw_all
from bench.results import ROOT, Figure, Results, number_of
from bench.suite import SUITES, folder_of

HEAD = """# All figures

Made by `python -m bench report`; [performance](../performance.md) says what they mean, how they were measured, and what
they don't show. Given is the median, with the range of all rounds.

{machine}
"""
BEGIN, END = "<!-- made by `python -m bench report`: begin -->\n", "<!-- end -->\n"
REACHED = """{machine}

| what | of | | median | range | has to be | |
| --- | --- | --- | --- | --- | --- | --- |
"""
TABLE = """
## {name}

| what | of | | median | range | has to be |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="The page of all figures, and the pictures.")
    parser.add_argument("--suite", choices=SUITES, default="all")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "performance")
    options = parser.parse_args()
    folder = folder_of(options.suite)
    results = {path.stem: Results.load(path) for path in sorted(folder.glob("*.json")) if "-" not in path.stem}
    options.into.mkdir(parents=True, exist_ok=True)
    (options.into / "figures.md").write_text(page(results, machine_of(folder)))
    put_table(options.into.with_suffix(".md"), results, machine_of(folder))
    (options.into / "figures.json").write_text(
        json.dumps([json.loads((folder / f"{name}.json").read_text()) for name in results], indent=1) + "\n"
    )
    series = folder / "soak-series.json"
    drawn = draw_all(results, json.loads(series.read_text()) if series.exists() else None, options.into)
    print(f"figures.md, figures.json, {', '.join(drawn)} in {options.into}")


def machine_of(folder: Path) -> str:
    """On what it was measured, as a sentence."""
    machine = json.loads(next(iter(sorted(folder.glob("[!s]*.json")))).read_text())["machine"]
    return f"Two cores of an {machine['cpu']}, Linux {machine['linux']}, Python {machine['python']}."


def page(results: dict[str, Results], machine: str) -> str:
    """The whole page."""
    parts = [HEAD.format(machine=machine)]
    for name, result in results.items():
        parts.append(TABLE.format(name=name.replace("_", " ").capitalize()))
        parts += [row(figure) for figure in result.figures]
        if result.notes:
            parts.append("\n" + "\n".join(f"- {note}" for note in result.notes) + "\n")
    return "".join(parts)


def put_table(path: Path, results: dict[str, Results], machine: str) -> None:
    """Put the figures that have something to reach between the marks of the page for people."""
    rows = [
        f"{row(figure).rstrip()} {'reached' if figure.is_reached else '**not reached**'} |\n"
        for result in results.values()
        for figure in result.figures
        if figure.reach
    ]
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}{REACHED.format(machine=machine)}{''.join(rows)}{END}{after}")


def row(figure: Figure) -> str:
    """One line of a table."""
    spread = f"{number_of(figure.low)} to {number_of(figure.high)}" if figure.count > 1 else ""
    median = f"**{number_of(figure.median)}**"
    return f"| {' | '.join((what_of(figure), figure.who, figure.unit, median, spread, figure.reach))} |\n"


def what_of(figure: Figure) -> str:
    """What it is of, with those circumstances that its words don't have."""
    given = figure.given
    words = [f"{given['connections']:,} connections"] if "connections" in given else []
    words += [f"window {given['window']}"] if "window" in given else []
    missing = [word for word in words if word not in figure.what]
    return ", ".join([figure.what, *missing])


if __name__ == "__main__":
    main()
