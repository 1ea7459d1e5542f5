"""The section on a growing shop of the page docs/performance.md, and its figures that have a target."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offline.benchmark.scale import INVENTORY
from offline.benchmark.selectivity import OURS, cell_text, not_measured
from offline.report.markdown import Table, flowing

_SMALL: Final = "40000"
_LARGE: Final = "1000000"
_COMMAND: Final = "fashion bench scale --work DIR"
_INTRODUCTION: Final = """\
`{command}` draws products from the real ones of a catalogue by a smoothed bootstrap within each derived type: an
embedding is a random one of the type, moved by a share of the difference of two others. Each index has a process of its
own. Ours is started from its snapshot before it is asked. Resident memory is that of the whole process after the
queries. Times are processor time of one thread in ms, filter included, those of Milvus Lite by the clock. A cell has
recall@10 · p50 / p99 (p99 as a multiple of that at 40,000). Starts and writes are those of the index
alone, without the catalogue."""


def has_both_ends(scale: Mapping[str, Any]) -> bool:
    """Returns whether ours was measured at 40,000 products and at a million."""
    return all(OURS in scale["sizes"].get(size, {"indexes": {}})["indexes"] for size in (_SMALL, _LARGE))


def resident_gib(scale: Mapping[str, Any]) -> float:
    """Returns our resident memory at a million products."""
    return float(_ours(scale, _LARGE)["resident_gib"])


def start_s(scale: Mapping[str, Any]) -> float:
    """Returns our start from a snapshot at a million products."""
    return float(_ours(scale, _LARGE)["start_s"])


def worst_recall(scale: Mapping[str, Any]) -> float:
    """Returns our lowest recall@10 at a million products."""
    return float(min(cell["recall"] for cell in _ours(scale, _LARGE)["cells"].values()))


def worst_growth(scale: Mapping[str, Any]) -> float:
    """Returns the largest p99 at a million products over that at 40,000, among the kinds of queries."""
    small = _ours(scale, _SMALL)["cells"]
    large = _ours(scale, _LARGE)["cells"]
    return max(float(cell["p99_ms"] / small[name]["p99_ms"]) for name, cell in large.items())


def inventory_growth(scale: Mapping[str, Any]) -> float:
    """Returns the same for the whole inventory without a filter."""
    small, large = (_ours(scale, size)["cells"][INVENTORY]["p99_ms"] for size in (_SMALL, _LARGE))
    return float(large / small)


def section(scale: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    """Returns the lines of the section."""
    sizes = list(scale["sizes"].values())
    lines = ["## From 40 thousand products to a million", "", flowing(_INTRODUCTION.format(command=_COMMAND)), ""]
    rows = [
        (
            f"{size['products']:,}",
            f"{ours['build_s']:.0f} s",
            f"{ours['build_peak_gib']:.2f} GiB",
            f"{ours['start_s']:.1f} s",
            f"{ours['resident_gib']:.2f} GiB",
            f"{ours['snapshot_gib']:.2f} GiB",
            f"{ours['upserts_a_second']:,.0f}",
            f"{ours['updates_a_second']:,.0f}",
            f"{size['load']:.1f}",
        )
        for size in sizes
        if (ours := size["indexes"].get(OURS)) is not None
    ]
    heading = ("products", "built in", "peak", "start from the snapshot", "resident", "snapshot")
    lines += [*Table((*heading, "embeddings a second", "attributes a second", "load"), rows).markdown(), ""]
    for size in sizes:
        lines += [f"{size['products']:,} products:", "", *_cells(scale, size), ""]
        lines += not_measured(size["missing"])
        lines += [size["note"], ""] if "note" in size else []
    return [*lines, *picture]


def _cells(scale: Mapping[str, Any], size: Mapping[str, Any]) -> list[str]:
    names = list(size["indexes"])
    kinds = next(iter(size["indexes"].values()))["cells"] if names else {}
    rows = [
        (kind, f"{cell['eligible']:,}", *(_cell(scale, name, kind, size) for name in names))
        for kind, cell in kinds.items()
    ]
    memory = [
        f"{size['indexes'][name]['build_s']:.0f} s, {size['indexes'][name]['resident_gib']:.2f} GiB" for name in names
    ]
    rows.append(("built in, resident", "", *memory))
    return Table(("search", "eligible", *names), rows).markdown()


def _cell(scale: Mapping[str, Any], name: str, kind: str, size: Mapping[str, Any]) -> str:
    cell = size["indexes"][name]["cells"][kind]
    small = scale["sizes"].get(_SMALL, {"indexes": {}})["indexes"].get(name)
    growth = f" ({cell['p99_ms'] / small['cells'][kind]['p99_ms']:.1f})" if small is not None else ""
    return cell_text(cell) + growth


def _ours(scale: Mapping[str, Any], size: str) -> Mapping[str, Any]:
    ours: Mapping[str, Any] = scale["sizes"][size]["indexes"][OURS]
    return ours
