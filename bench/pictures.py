"""The pictures of docs/performance/, as SVG."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.results import Figure, Results

HUB_COLOUR, OTHER_COLOUR, SECOND_COLOUR = "#1f6feb", "#9aa4b2", "#e8833a"
Series = dict[str, list[Any]]


def draw_all(results: dict[str, Results], series: Series | None, into: Path) -> list[str]:
    """Draw what there are figures for; gives the names of the files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {"svg.hashsalt": "hubd", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
        | {"axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white"}
    )
    drawn = []
    for name, draw in PICTURES.items():
        if name in ("memory", "fanout") and "fanout" not in results:
            continue
        if name in ("targeted", "growth") and name not in results:
            continue
        if name == "soak" and not (series and series["second"]):
            continue
        chart = draw(results, series)
        chart.savefig(into / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        drawn.append(f"{name}.svg")
    return drawn


def figures_of(results: Results, what: str, **given: Any) -> list[Figure]:
    """Those that begin with these words, under these circumstances."""
    return [
        figure
        for figure in results.figures
        if figure.what.startswith(what) and all(figure.given.get(key) == value for key, value in given.items())
    ]


def _fanout(results: dict[str, Results], series: Series | None) -> Any:
    """Of the limit, for each server: by connections and window."""
    import matplotlib.pyplot as plt

    what = "fan-out of the limit, wall"
    all_cases = [{"connections": connections, "window": window} for connections in (1000, 10000) for window in (1, 8)]
    cases = [case for case in all_cases if figures_of(results["fanout"], what, **case)]
    chart, all_axes = plt.subplots(1, len(cases), figsize=(3 * len(cases), 3.4), layout="constrained", squeeze=False)
    for axes, case in zip(all_axes[0], cases, strict=True):
        found = figures_of(results["fanout"], what, **case)
        _bars(axes, sorted(found, key=lambda figure: figure.median))
        axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set_title(f"{case['connections']:,} connections, window {case['window']}", fontsize=10)
    chart.supxlabel("deliveries a second, of a C loop's that does one send() for each (dotted)")
    return chart


def _memory(results: dict[str, Results], series: Series | None) -> Any:
    """Of an idle connection, for each server."""
    import matplotlib.pyplot as plt

    chart, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    found = figures_of(results["fanout"], "memory of an idle connection", connections=10000)
    _bars(axes, sorted((one for one in found if one.who != "limit"), key=lambda figure: -figure.median))
    axes.set_xlabel("KiB of resident memory for each of 10,000 idle connections")
    return chart


def _bars(axes: Any, figures: list[Figure]) -> None:
    """One for each, the hub's in its colour, with its range."""
    colours = [HUB_COLOUR if figure.who == "hub" else OTHER_COLOUR for figure in figures]
    spread = [[one.median - one.low for one in figures], [one.high - one.median for one in figures]]
    names = ["hubd" if figure.who == "hub" else figure.who for figure in figures]
    middles = [figure.median for figure in figures]
    axes.barh(names, middles, color=colours, xerr=spread, error_kw={"linewidth": 0.8, "ecolor": "#444"})
    for place, figure in enumerate(figures):
        axes.text(figure.high, place, f"  {figure.median:.2f}", va="center", fontsize=8)
    axes.margins(x=0.15)


def _targeted(results: dict[str, Results], series: Series | None) -> Any:
    """Delay of what is for one user while broadcasts run: hubd, and with an unsliced loop."""
    import matplotlib.pyplot as plt

    chart, axes = plt.subplots(figsize=(6, 2.2), layout="constrained")
    for place, part in enumerate(("p99", "p50")):
        for who, colour, shift in (("unsliced", OTHER_COLOUR, 0.18), ("hub", HUB_COLOUR, -0.18)):
            found = figures_of(results["targeted"], f"targeted publish amid broadcasts, {part}")
            value = next(one.median for one in found if one.who == who)
            axes.barh(place + shift, value, height=0.34, color=colour, label=who if not place else None)
            axes.text(value, place + shift, f" {value:.1f} ms", va="center", fontsize=8)
    axes.set_yticks([0, 1], ["p99", "p50"])
    axes.set_xlabel("ms from publish to receipt, while broadcasts go to 10,000 connections without a pause")
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(handles, ["one unsliced pass", "hubd"], frameon=False)
    axes.margins(x=0.15)
    return chart


def _growth(results: dict[str, Results], series: Series | None) -> Any:
    """What a delivery and a connection cost, by the number of connections."""
    import matplotlib.pyplot as plt

    chart, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    for who, colour in (("limit", OTHER_COLOUR), ("hub", HUB_COLOUR)):
        found = [one for one in figures_of(results["growth"], "CPU of a delivery") if one.who == who]
        _line(left, [one for one in found if one.unit == "us"], colour, "hubd" if who == "hub" else "C limit")
    _line(right, [f for f in figures_of(results["growth"], "memory of") if f.unit == "KiB"], HUB_COLOUR, "hubd")
    left.set_title("CPU of a delivery, µs", fontsize=10)
    right.set_title("memory of an idle connection, KiB", fontsize=10)
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.set_xlabel("connections")
        axes.legend(frameon=False)
    return chart


def _line(axes: Any, figures: list[Figure], colour: str, label: str) -> None:
    ordered = sorted(figures, key=lambda figure: figure.given["connections"])
    places = [figure.given["connections"] for figure in ordered]
    axes.plot(places, [figure.median for figure in ordered], color=colour, marker="o", label=label)
    axes.fill_between(places, [one.low for one in ordered], [one.high for one in ordered], color=colour, alpha=0.15)


def _soak(results: dict[str, Results], series: Series | None) -> Any:
    """Memory, lag of the loop, and delays over time."""
    import matplotlib.pyplot as plt

    assert series is not None
    chart, (memory, lag, delay) = plt.subplots(3, 1, figsize=(9, 6), sharex=True, layout="constrained")
    minutes = [second / 60 for second in series["second"]]
    memory.plot(minutes, series["rss_mib"], color=HUB_COLOUR)
    memory.set_ylim(bottom=0)
    memory.set_title("resident memory, MiB", fontsize=10)
    lag.plot([second / 60 for second in series["lag_second"]], series["lag_p99_ms"], color=HUB_COLOUR)
    lag.axhline(20, color="black", linewidth=0.8, linestyle=":")
    lag.set_ylim(bottom=0)
    lag.set_title("lag of the loop, p99 of each stretch, ms", fontsize=10)
    delay.plot(minutes, series["targeted_p99_ms"], color=SECOND_COLOUR, linewidth=0.7, label="p99")
    delay.plot(minutes, series["targeted_p50_ms"], color=HUB_COLOUR, linewidth=0.9, label="p50")
    delay.set_yscale("log")
    delay.set_title("from publish to receipt of what is for one user, ms, each second", fontsize=10)
    delay.legend(frameon=False)
    delay.set_xlabel("minutes")
    return chart


PICTURES: dict[str, Callable[[dict[str, Results], Series | None], Any]] = {
    "fanout": _fanout,
    "memory": _memory,
    "targeted": _targeted,
    "growth": _growth,
    "soak": _soak,
}
