"""The page docs/performance.md, from the figures of the benchmarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from offline.benchmark import milvus_page, scale_page
from offline.benchmark.change_pages import day_section, reindex_section
from offline.benchmark.starts import AFTER_KILL, WITH
from offline.report.markdown import Table, page_text

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that the product should reach.

    Attributes:
        name: its name for people.
        part: the benchmark that measures it.
        value: takes it from the figures of that part.
        reach: the bound.
        at_most: whether the bound is an upper one.
        unit: its unit; empty for a ratio.
        spread: takes the smallest and the largest round from those figures; None where there are no rounds.
    """

    name: str
    part: str
    value: Callable[[Mapping[str, Any]], float]
    reach: float
    at_most: bool
    unit: str = ""
    spread: Callable[[Mapping[str, Any]], Mapping[str, float]] | None = None


_ONE: Final = "one process, photograph / (floor + 1 echo)"
_THREE: Final = "three processes, photograph / (floor + 3 echoes)"
_REPORT: Final = "the report's method"
_PICTURES: Final = {
    "cost": "The parts of the processor time of a query under each load, as bars beside its floor",
    "latency": "The steps of a photograph query, one below the other, in ms since the call",
    "load": "p50, p99 and p99.9 against the offered rate",
    "peers": "The time of each method as bars, on a logarithmic axis",
    "day": "The 99th percentile of queries over the day, with the times of writes in grey",
    "reindex": "The 99th percentile of queries over time, while the model is changed",
}
_REFUSALS: Final = "refusals under overload with RESOURCE_EXHAUSTED and RetryInfo / all refusals"


def _ratio_of(*path: str) -> Callable[[Mapping[str, Any]], Mapping[str, float]]:
    def take(figures: Mapping[str, Any]) -> Mapping[str, float]:
        part: Any = figures
        for name in path:
            part = part[name]
        ratio: Mapping[str, float] = part
        return ratio

    return take


def _target(name: str, part: str, path: tuple[str, ...], reach: float, at_most: bool) -> Target:
    take = _ratio_of(*path)
    return Target(name, part, lambda figures: take(figures)["median"], reach, at_most, spread=take)


def _start_target(name: str, way: str) -> Target:
    series = f"services.stack, {way}"
    return Target(
        name,
        "start",
        lambda figures: float(np.median(figures["starts"][series])),
        2.5,
        True,
        " s",
        lambda figures: {"low": min(figures["starts"][series]), "high": max(figures["starts"][series])},
    )


TARGETS: Final = (
    _target("photograph, one process / (floor + 1 bare echo)", "latency", ("ratios", _ONE), 1.3, True),
    _target("photograph, three processes / (floor + 3 bare echoes)", "latency", ("ratios", _THREE), 1.3, True),
    _target("the report's method / ours, photograph", "peers", ("ratios", f"{_REPORT}, photograph"), 40, False),
    _target("the report's method / ours, product", "peers", ("ratios", f"{_REPORT}, product"), 15, False),
    Target("recall@10 of a product query over the inventory", "peers", lambda f: f["recall_at_10"], 0.99, False),
    Target(
        "photographs a second at p99 of 50 ms / mosec's",
        "mosec",
        lambda f: f["ratio"]["median"],
        1.3,
        False,
        spread=lambda f: f["ratio"],
    ),
    Target("sustained at p99 of 50 ms / offline rate of the embedder", "load", lambda f: f["ratio"], 0.75, False),
    Target(_REFUSALS, "load", lambda f: f["overload"]["hinted_share"], 1, False),
    Target(
        "rows of updates acknowledged a second, beside queries", "updates", lambda f: f["rows_a_second"], 5000, False
    ),
    _target("p99 of queries beside updates / without", "updates", ("p99_ratio",), 1.5, True),
    Target(
        "p99 of queries beside the worst writes of a shop's day / alone",
        "day",
        lambda f: max(each["slowdown"] for each in f["slowdowns"].values()),
        1.5,
        True,
    ),
    Target("p99 of queries while the model is changed / before", "reindex", lambda f: f["slowdown"], 1.5, True),
    _target("bfloat16 or int8, whichever serves, / float32, throughput", "precision", ("throughput",), 2, False),
    _target("people's photographs: AUTO / whole without garment heads", "subject", ("ratios", "auto"), 1.4, True),
    Target("ingest / batch rate of the embedder", "ingest", lambda f: f["ratio"], 0.85, False),
    _start_target("start to SERVING, warm cache", WITH),
    _start_target("start to SERVING, killed while it was written to", AFTER_KILL),
    Target("export of the 20 most similar of each product", "export", lambda f: f["seconds"], 60, True, " s"),
    Target("resident memory after queries", "start", lambda f: f["resident_after_queries_mib"], 900, True, " MiB"),
    Target("a million products: resident memory", "scale", scale_page.resident_gib, 6, True, " GiB"),
    Target(
        "a million products: start of the index",
        "scale",
        scale_page.start_s,
        20,
        True,
        " s",
    ),
    Target("a million products: lowest recall@10 of any selectivity", "scale", scale_page.worst_recall, 0.99, False),
    Target("a million products: p99 / that of 40,000, whole inventory", "scale", scale_page.inventory_growth, 3, True),
    Target("a million products: p99 / that of 40,000, worst kind of query", "scale", scale_page.worst_growth, 3, True),
)


def target_rows(figures: Figures) -> list[tuple[str, str, str, str, str, str]]:
    """Returns figure, bound, measured value, spread, verdict and command, for the parts that have run."""
    rows = []
    for target in TARGETS:
        part = figures.get(target.part)
        if part is None or _missing(target, part):
            continue
        value = target.value(part)
        reached = value <= target.reach if target.at_most else value >= target.reach
        spread = "-"
        if target.spread is not None:
            ends = target.spread(part)
            spread = f"{_number(ends['low'])}–{_number(ends['high'])}"
        rows.append(
            (
                target.name,
                f"{'at most' if target.at_most else 'at least'} {target.reach:g}{target.unit}",
                f"{_number(value)}{target.unit}",
                spread,
                "reached" if reached else "missed",
                f"`fashion bench {target.part}`",
            )
        )
    return rows


def page(figures: Figures, command: str, notes: str = "", pictures: Mapping[str, str] | None = None) -> str:
    """Returns the page in Markdown.

    Args:
        figures: the figures of each part that has run, as its JSON holds them.
        command: the command that writes the page again.
        notes: path of the notes on missed targets, relative to the page; empty for none.
        pictures: paths of the pictures by part, relative to the page.

    Raises:
        ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("There are no figures: run a benchmark first.")
    any_part = next(iter(figures.values()))
    machine = any_part["machine"]
    lines = [
        "# Performance",
        "",
        f"{machine['processors']} cores of {machine['processor']} ({', '.join(machine['flags'])}), "
        f"{any_part['products']:,} products. Times are medians of rounds, in which all workloads of a table ran "
        "interleaved; the spread is over the rounds. One command writes this page:",
        "",
        "```sh",
        command,
        "```",
        "",
        "## What we meant to reach",
        "",
        *Table(("figure", "target", "measured", "rounds", "", "command"), target_rows(figures)).markdown(),
        "",
        *([f"[What is known about the misses]({notes})", ""] if notes else ()),
    ]
    sections = (
        ("floor", _floor),
        ("latency", _latency),
        ("cost", _cost),
        ("load", _load),
        ("ingest", _ingest),
        ("start", _start),
        ("export", _export),
        ("peers", _peers),
        ("mosec", _mosec),
        ("scale", scale_page.section),
        ("milvus", milvus_page.rates),
        ("milvus-indexes", milvus_page.indexes),
        ("day", day_section),
        ("reindex", reindex_section),
    )
    for part, section in sections:
        if part in figures and (part != "start" or "index" in figures[part]):
            lines += section(figures[part], _picture(part, pictures or {}))
    return page_text(lines)


def _floor(floor: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    rows = [
        (name, f"{ms:.2f}", "–".join(_number(end) for end in floor["spread_ms"][name]))
        for name, ms in floor["medians_ms"].items()
    ]
    return [
        "## The floor",
        "",
        f"What a photograph costs in one process with no service around it: decoding, inference (runtime "
        f"{floor['runtime']}, {floor['precision']}), and FAISS over a derived type of {floor['type_products']:,} "
        f"products. In batches of {floor['batch']} the encoder does {floor['batched_a_second']:.0f} a second.",
        "",
        *Table(("step", "median, ms", "rounds"), rows).markdown(),
        "",
        *picture,
    ]


def _latency(latency: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    rows = [(name, f"{ms:.2f}") for part in ("one process", "three processes") for name, ms in latency[part].items()]
    return [
        "## One caller",
        "",
        f"Runtime {latency['runtime']}, {latency['precision']}; in milliseconds.",
        "",
        *Table(("what", "median, ms"), rows).markdown(),
        "",
        "Where a photograph's time goes, in one process:",
        "",
        *Table(("step", "ms"), [(name, f"{ms:.2f}") for name, ms in latency["waterfall"].items()]).markdown(),
        "",
        *picture,
    ]


def _cost(cost: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    rows = [
        (
            f"{kind}, {load}",
            f"{point['answered']:.0f}",
            f"{point['failed']}",
            *(f"{point[key]:.1f}" for key in ("processor_ms", "floor_ms")),
            f"{point['ratio']:.2f}",
            *(f"{point[key]:.1f}" for key in ("sender_ms", "p50_ms", "p99_ms")),
            f"{point['batch']:.1f}" if point["batch"] else "-",
        )
        for kind, loads in cost["loads"].items()
        for load, point in loads.items()
    ]
    return [
        "## The processor time of a query",
        "",
        "User and system time of all processes of the stack per answer, in ms; the sender's own is apart. The floor is "
        "decoding, inference on one thread in batches of the same size, FAISS, and a bare gRPC echo of the same bytes "
        "under the same load; of a product it is the search in the index, and the echo.",
        "",
        *Table(
            ("query, load", "a second", "failed", "stack", "floor", "ratio", "sender", "p50 ms", "p99 ms", "batch"),
            rows,
        ).markdown(),
        "",
        *picture,
    ]


def _load(load: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    rows = [
        (
            f"{point['offered']:.0f}",
            f"{point['answered']:.0f}",
            f"{point['refused']:.1%}",
            *(f"{point[key]:.1f}" for key in ("p50_ms", "p99_ms", "p999_ms")),
        )
        for point in load["points"]
    ]
    return [
        "## Under load",
        "",
        f"Photographs arrive at random (Poisson), and times count from the planned arrival. The bare "
        f"embedder does {load['offline_a_second']:.0f} a second in batches; the sender shares the machine.",
        "",
        *Table(("offered a second", "answered", "refused", "p50 ms", "p99 ms", "p99.9 ms"), rows).markdown(),
        "",
        *picture,
        *_overload(load),
    ]


def _overload(load: Mapping[str, Any]) -> list[str]:
    burst = load.get("overload")
    if burst is None:
        return []
    if not burst["refused"]:
        return [f"{burst['sent']:,} photographs at once: all were answered.", ""]
    codes = ", ".join(f"{count:,} {code}" for code, count in sorted(burst["codes"].items()))
    retry = "" if burst["retry_s"] is None else f", to try again in {burst['retry_s']:g} s"
    return [
        f"{burst['sent']:,} photographs at once: {burst['answered']:,} were answered, {burst['refused']:,} refused "
        f"({codes}), {burst['hinted']:,} of these with `RESOURCE_EXHAUSTED` and a `google.rpc.RetryInfo`{retry}; "
        f"a refusal takes {burst['refusal_p50_ms']:.0f} ms in the median.",
        "",
    ]


def _ingest(ingest: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    return [
        "## Ingest",
        "",
        f"{ingest['rows_a_second']:.0f} rows a second end to end; the bare embedder does "
        f"{ingest['bare_a_second']:.0f} a second in batches of 32.",
        "",
        *picture,
    ]


def _start(start: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    def shown(values: Sequence[float]) -> str:
        return f"{np.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"

    kinds = ("starts", "index", "processors")
    rows = [
        (name, *(shown(start[kind][name]) if name in start[kind] else "-" for kind in kinds))
        for name in start["starts"]
    ]
    imports = ", ".join(f"`{module}` {shown(seconds)}" for module, seconds in start["imports"].items())
    return [
        "## Start",
        "",
        f"Seconds from the start of a process to SERVING, the median and the range. A snapshot spares reading all "
        f"products; after a kill, the {start['changes']:,} products that were written since are read again. Cold: the "
        f"system has forgotten the files of the data directory. The imports alone take: {imports}.",
        "",
        *Table(("start", "to SERVING, s", "of it the index, s", "processors, s"), rows).markdown(),
        "",
        *picture,
    ]


def _export(export: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    return [
        "## Export",
        "",
        f"`fashion export similar` writes {export['rows']:,} rows for {export['exported']:,} products in "
        f"{export['seconds']:.1f} s, {export['processor_seconds']:.1f} s of processors, stack and client together. One "
        f"query after another takes {1000 * export['single_query_seconds']:.2f} ms each. The stack grows from "
        f"{export['resident_before_mib']:.0f} to at most {export['peak_mib']:.0f} MiB, the client holds at most "
        f"{export['client_peak_mib']:.0f} MiB. Of {export['compared']} lists, {export['same']} are those of "
        "`FindSimilar`.",
        "",
        *picture,
    ]


def _peers(peers: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    rows = [
        (name, f"{ms:.2f}", f"{peers['ratios'][name]['median']:.1f}" if name in peers["ratios"] else "1")
        for name, ms in peers["medians_ms"].items()
    ]
    return [
        "## Beside what people would use instead",
        "",
        "Ours answers over gRPC, all others in process. The report's method has random weights, which cost the same.",
        "",
        *Table(("method", "median, ms", "times ours"), rows).markdown(),
        "",
        *picture,
        *(f"Not measured: {name} ({why})." for name, why in peers["missing"].items()),
        "",
    ]


def _mosec(mosec: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    heading = ["## Beside mosec", ""]
    if mosec["missing"]:
        return [*heading, *(f"Not measured: {name} ({why})." for name, why in mosec["missing"].items()), ""]
    rates = [
        (f"{number}", *(f"{each['sustained'][name]:.0f}" for name in ("ours", "mosec")))
        for number, each in enumerate(mosec["rounds"], 1)
    ]
    tried = [
        (
            *(f"{layout[key]}" for key in ("stages", "processes", "threads", "batch", "wait_ms")),
            f"{layout['sustained']:.0f}",
        )
        for layout in mosec["layouts"]
    ]
    machine = mosec["machine"]
    return [
        *heading,
        f"On {machine['processors']} cores of {machine['processor']}. "
        "[mosec](https://mosecorg.github.io/mosec/) serves the same decoding, the same network in OpenVINO with the "
        f"same precision, and FAISS over {mosec['type_products']:,} embeddings, behind its HTTP and its dynamic "
        "batches, on the same processors. It classifies nothing, filters nothing, and answers with places and "
        "similarities alone. One sender in C (h2load) sends the same 64 photographs to both, each over a connection of "
        "its own at random times (Poisson), to ours over gRPC and to mosec over HTTP/1.1: of several requests under "
        "way on one connection of HTTP/2, mosec holds answers back for 40 ms. The rate grows by 15 % from one "
        f"measurement of {mosec['seconds']:g} s to the next, in turn for both, until a server is late at two rates. "
        "In time means that 99 of 100 answers take at most 50 ms, that none is refused, and that the server keeps up. "
        "Photographs a second in time:",
        "",
        *Table(("round", "ours", "mosec"), rates).markdown(),
        "",
        "Ways to lay mosec out that were tried first; the best one counts:",
        "",
        *Table(("stages", "processes", "threads", "batch", "wait, ms", "a second"), tried).markdown(),
        "",
        *picture,
    ]


def _picture(part: str, pictures: Mapping[str, str]) -> list[str]:
    return [f"![{_PICTURES[part]}]({pictures[part]})", ""] if part in pictures else []


def _missing(target: Target, part: Mapping[str, Any]) -> bool:
    """Tells whether a part lacks this figure: a peer is not installed, nothing was refused, or it is of before."""
    if target.part == "start" and target.spread is not None:
        return "index" not in part
    if target.part == "mosec":
        return part.get("ratio") is None
    if target.part == "scale":
        return not scale_page.has_both_ends(part)
    if target.name == _REFUSALS:
        return part.get("overload", {}).get("hinted_share") is None
    return (
        target.part == "peers"
        and target.spread is not None
        and not any(name.startswith(_REPORT) for name in part["ratios"])
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
