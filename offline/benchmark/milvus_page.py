"""The sections of docs/performance.md about Milvus."""

from collections.abc import Mapping, Sequence
from typing import Any

from offline.report.markdown import Table


def rates(milvus: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    """Returns what several processes do on one Milvus, in Markdown."""
    rows = [
        (
            f"{each['index']}, {each['scope']}",
            f"{each['processes']}",
            *(f"{each[key]:.1f}" for key in ("per_second", "p50_ms", "p99_ms")),
            f"{each['load']:.0f}",
        )
        for each in sorted(milvus["rates"], key=lambda each: (each["scope"], each["index"], each["processes"]))
    ]
    write, visible, search = milvus["write_ms"], milvus["visible_ms"], milvus["consistency_ms"]
    return [
        "## Several processes on one Milvus",
        "",
        f"{milvus['products']:,} random products in a Milvus server on the same {milvus['cores']} cores "
        f"(load {milvus['machine']['load']:.0f} at the start), by `fashion bench milvus --target URL --products "
        f"{milvus['products']}`. Replicas of the index ask in closed loops, without gRPC of ours around them; FAISS, "
        "in one process, is beside them. All of them and Milvus share the cores, so that more processes show that they "
        "do not hold one another up, and not what more machines give. Where the load says that others ran too, more "
        "processes also get a larger share of the cores: such rates say little.",
        "",
        *Table(("index, scope", "processes", "a second", "p50 ms", "p99 ms", "load"), rows).markdown(),
        "",
        f"The first start of the writer takes {milvus['first_load_s']:.0f} s, a start that finds all of it in Milvus "
        f"{milvus['load_again_s']:.0f} s. A write of one product takes {write['whole_1']:.0f} ms in the index, of a "
        f"hundred {write['whole_100']:.0f} ms; of attributes alone {write['attributes_1']:.0f} and "
        f"{write['attributes_100']:.0f} ms. A replica shows it {visible['p50']:.0f} ms later (at most "
        f"{visible['slowest']:.0f} ms). A search within one derived type takes {search['bounded']:.0f} ms with bounded "
        f"staleness and {search['strong']:.0f} ms where it waits for all writes.",
        "",
    ]


def indexes(figures: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    """Returns what the index types of a Milvus server find under filters, in Markdown."""
    cells = figures["cells"]
    ways = list(dict.fromkeys((each["index"], each["partitions"]) for each in cells))
    found = {(each["index"], each["partitions"], each["share"]): each for each in cells}
    rows = [
        (f"{share:.1%}", *(_cell(found[index, partitions, share]) for index, partitions in ways))
        for share in dict.fromkeys(each["share"] for each in cells)
    ]
    return [
        "## Index types of a Milvus server",
        "",
        f"{figures['rows']:,} real embeddings under filters of a random attribute (load "
        f"{figures['machine']['load']:.0f} at the start, {figures['load_at_end']:.0f} at the end): the share of "
        "answers that have ten rows, that of the right ten, and the median time in ms. FLAT compares all rows that "
        "pass, in 64 partitions by type, as search has "
        "them; rows of equal similarity cost it up to half a point here. HNSW (M 16, one partition) keeps 64 or 256 in "
        "view. It fills every answer, and misses up to three of the right ten where a tenth passes, whatever it keeps "
        "in view: so it is not offered. `fashion bench milvus-indexes --target URL --work DIR` measures it again.",
        "",
        *Table(("let through", *(f"{index}, {partitions}" for index, partitions in ways)), rows).markdown(),
        "",
    ]


def _cell(cell: Mapping[str, Any]) -> str:
    return f"{cell['filled']:.0%} · {cell['recall']:.1%} · {cell['p50_ms']:.1f}"
