"""What the page of performance says of a shop's day and of a change of the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from offline.report.markdown import Table


def day_section(day: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    """Returns the section."""
    rows = [
        (
            name,
            *(f"{each[f'{way}_{share}_ms']:.1f}" for share in ("p50", "p99") for way in ("alone", "beside")),
            f"{each['slowdown']:.2f}",
        )
        for name, each in day["slowdowns"].items()
    ]
    held = [
        (name, *(f"{mib:.0f}" for mib in each["resident_mib"]), *map(str, (*each["threads"], *each["files"])))
        for name, each in day["processes"].items()
    ]
    wrong, failed = sum(day["wrong"].values()), sum(day["failed"].values())
    return [
        "## A shop's day",
        "",
        f"A day in {day['minutes']:.0f} minutes, all services as processes of their own, {day['products']:,} drawn "
        f"products in batches of 20, {day['rate']:g} queries a second in the mean; load {day['machine']['load']:.1f} "
        f"at the begin, {day['load_at_end']:.1f} at the end. In each part of the day queries go on alone first, then "
        f"beside writes. {day['queries']:,} queries and {sum(day['writes'].values()):,} writes: {failed:,} failed. "
        f"{day['judged']['answers']:,} answers showed {day['judged']['batches']:,} batches: {wrong:,} answers had two "
        "states of one batch, a part of it, a state before the acknowledged one, or a product that was deleted.",
        "",
        *Table(("beside", "p50 alone, ms", "beside", "p99 alone, ms", "beside", "p99, times"), rows).markdown(),
        "",
        *picture,
        "After the first minutes, and at the end:",
        "",
        *Table(("process", "MiB", "at the end", "threads", "at the end", "files", "at the end"), held).markdown(),
        "",
    ]


def reindex_section(reindex: Mapping[str, Any], picture: Sequence[str]) -> list[str]:
    """Returns the section."""
    rows = [(name, f"{reindex['p50_ms'][name]:.1f}", f"{reindex['p99_ms'][name]:.1f}") for name in reindex["p99_ms"]]
    return [
        "## A new model under load",
        "",
        f"One process with {reindex['products']:,} drawn products and {reindex['rate']:g} queries a second, half of "
        f"them photographs; load {reindex['machine']['load']:.1f} at the begin. {reindex['queries']:,} queries, "
        f"{reindex['failed']:,} failed. {reindex['embedded_per_s']:.1f} photographs a second were embedded anew, the "
        f"99th percentile was {reindex['slowdown']:.2f} times that before, and the rollback took "
        f"{1000 * reindex['rollback_s']:.0f} ms.",
        "",
        *Table(("the change of the model", "p50, ms", "p99, ms"), rows).markdown(),
        "",
        *picture,
    ]
