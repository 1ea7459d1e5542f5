"""The plots of the benchmarks: latency against the offered rate, the steps of a query, the peers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offline.benchmark.day import draw_day
from offline.benchmark.load import LIMIT_MS
from offline.benchmark.reindex import draw_reindex
from offline.report.plots import BLUE, GREEN, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PALE: Final = "#9fb6c6"
_GREY: Final = "#8a8a8e"
_OURS: Final = "ours"
# The bare work within a step of the services, under the names in the waterfall's table.
_WITHIN: Final = {"embed": ("decoding", "inference"), "search": ("FAISS, one derived type",)}


def draw_plots(figures: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Path]:
    """Draws a picture for each part that has one.

    Args:
        figures: the figures of each part that has run, as its JSON holds them.
        folder: the folder for the files, which need not exist.

    Returns:
        The files by part, such as `load.png`. A part without figures, or with figures of an earlier version, has none.

    Raises:
        ImportError: matplotlib is not installed.
    """
    drawn: dict[str, Path] = {}
    if figures.get("load", {}).get("points"):
        drawn["load"] = save_figure(_load(figures["load"]), folder / "load.png")
    if "traces" in figures.get("latency", {}):
        drawn["latency"] = save_figure(_waterfall(figures["latency"]), folder / "latency.png")
    if figures.get("cost", {}).get("loads"):
        drawn["cost"] = save_figure(_cost(figures["cost"]), folder / "cost.png")
    if figures.get("peers", {}).get("medians_ms"):
        drawn["peers"] = save_figure(_peers(figures["peers"]), folder / "peers.png")
    for part, draw in (("day", draw_day), ("reindex", draw_reindex)):
        if part in figures:
            drawn[part] = draw(figures[part], folder / f"{part}.png")
    return drawn


def _load(load: Mapping[str, Any]) -> "Figure":
    from matplotlib.ticker import LogLocator

    figure = new_figure(8.0, 4.6)
    axes = figure.add_subplot()
    # A rate without answers has no time to show.
    points = [point for point in load["points"] if point["answered"] > 0]
    offered = [point["offered"] for point in points]
    for key, name, colour in (("p50_ms", "p50", GREEN), ("p99_ms", "p99", BLUE), ("p999_ms", "p99.9", ORANGE)):
        axes.plot(offered, [point[key] for point in points], marker="o", markersize=5, color=colour, label=name)
    refusing = [point["offered"] for point in load["points"] if point["refused"] > 0]
    for at, rate in enumerate(refusing):
        axes.axvline(rate, color=_GREY, linewidth=0.8, linestyle=":", label=None if at else "some refused")
    axes.axhline(LIMIT_MS, color=_GREY, linewidth=1, linestyle="--", label=f"{LIMIT_MS:g} ms")
    axes.axvline(load["offline_a_second"], color="black", linewidth=1, label="the bare embedder, in batches")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlim(0, load["offline_a_second"] * 1.05)
    axes.set_xlabel("photographs offered a second")
    axes.set_ylabel("time to the answer, ms")
    axes.set_title("Time to the answer against the offered rate", loc="left")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _waterfall(latency: Mapping[str, Any]) -> "Figure":
    panels = {name: _steps(trace, latency["waterfall"]) for name, trace in latency["traces"].items()}
    heights = [len(bars) + 2 for bars in panels.values()]
    figure = new_figure(9.0, 0.4 + 0.34 * sum(heights))
    every = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (name, bars) in zip(every, panels.items(), strict=True):
        _horizontal(axes, bars)
        calls = latency["traces"][name]["calls"]
        axes.set_title(f"A photograph's way, {name}: medians of {calls:,} queries", loc="left", fontsize=11)
    every[-1].set_xlim(0, max(start + ms for bars in panels.values() for _, start, ms, _ in bars) * 1.1)
    every[-1].set_xlabel("ms since the call; pale: the same work done bare, in a loop")
    return figure


def _steps(trace: Mapping[str, Any], bare: Mapping[str, float]) -> list[tuple[str, float, float, str]]:
    # Search cannot see the time outside it: the plot shows half before, half after.
    begin = max(0.0, trace["caller_ms"] - trace["search_ms"]) / 2
    bars: list[tuple[str, float, float, str]] = [
        ("as the caller sees it", 0.0, trace["caller_ms"], _GREY),
        ("search, the whole way", begin, trace["search_ms"], BLUE),
    ]
    for step in trace["steps"]:
        start = begin + step["start_ms"]
        bars.append((step["step"], start, step["ms"], GREEN))
        for name in _WITHIN.get(step["step"], ()):
            if name in bare:
                bars.append((f"{name}, bare", start, bare[name], _PALE))
                start += bare[name]
    return bars


def _cost(cost: Mapping[str, Any]) -> "Figure":
    figure = new_figure(9.0, 5.2)
    panels = figure.subplots(len(cost["loads"]), 1, squeeze=False)[:, 0]
    for axes, (kind, loads) in zip(panels, cost["loads"].items(), strict=True):
        steps = cost["floors_ms"][kind]
        for at, point in enumerate(loads.values()):
            bare = point["floor_ms"] - point["echo_ms"]
            inference = bare - steps.get("decoding", 0.0) - steps["FAISS"]
            parts = {
                "inference": (inference, BLUE),
                "decoding": (steps.get("decoding", 0.0), GREEN),
                "search in the index": (steps["FAISS"], ORANGE),
                "bare gRPC": (point["echo_ms"], _GREY),
                "all else": (max(point["processor_ms"] - point["floor_ms"], 0.0), _PALE),
            }
            left = 0.0
            for name, (length, colour) in parts.items():
                axes.barh(at, length, left=left, color=colour, height=0.66, label=None if at else name)
                left += length
            axes.annotate(f"{left:.3g}", (left, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_yticks(range(len(loads)), list(loads))
        axes.set_xlim(0, max(point["processor_ms"] for point in loads.values()) * 1.1)
        axes.invert_yaxis()
        axes.set_title(f"a {kind}", loc="left")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    panels[0].legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    panels[-1].set_xlabel("processor time of all processes per answer, ms; all but the pale part is measured bare")
    return figure


def _peers(peers: Mapping[str, Any]) -> "Figure":
    figure = new_figure(9.0, 4.4)
    kinds = ("photograph", "product")
    groups = [{n: ms for n, ms in peers["medians_ms"].items() if n.endswith(kind)} for kind in kinds]
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[max(1, len(group)) for group in groups])
    for axes, kind, group in zip(panels, kinds, groups, strict=True):
        ranked = sorted(group.items(), key=lambda pair: pair[1])
        bars = [
            (name.removesuffix(f", {kind}"), 0.0, ms, ORANGE if name.startswith(_OURS) else _PALE)
            for name, ms in ranked
        ]
        _horizontal(axes, bars)
        axes.set_title(f"a {kind}" + ("" if kind == "photograph" else ", in the whole inventory"), loc="left")
    times = [ms for group in groups for ms in group.values()]
    panels[-1].set_xscale("log")
    panels[-1].set_xlim(min(times) / 2, max(times) * 3)
    panels[-1].xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    panels[-1].set_xlabel("time to the answer, ms (logarithmic); ours over gRPC, all others called in process")
    return figure


def _horizontal(axes: "Axes", bars: list[tuple[str, float, float, str]]) -> None:
    """Draws bars from top to bottom, each with name, start, length and colour."""
    for at, (_, start, length, colour) in enumerate(bars):
        axes.barh(at, length, left=start, color=colour, height=0.66)
        axes.annotate(
            f"{length:.3g}", (start + length, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
