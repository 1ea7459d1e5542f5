"""Each format with 300 products of the real data set: in, changed, and out again, with counts that add up.

The photographs come from a server that fails now and then. The rows of the table in docs/feeds.md go to out/feeds.md.
"""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from offline.benchmark.hostile_files.shop_feeds import WRITERS, ShopProduct
from offline.dataset.rows import open_dataset
from services.contract.values import Gender
from tests.support.photograph_server import PhotographServer, photograph_server
from tests.support.processes import ROOT
from tests.support.running import calling, stack_in_thread, stack_settings

DATASET = os.environ.get("FASHION_DATASET")
TABLE = ROOT / "out" / "feeds.md"
COUNT = 300
# Of twenty photographs, these fail for a moment, and of a hundred these for good; the data set's own number decides.
MOMENTS = {3: "flaky", 11: "busy"}
FOR_GOOD = {17: "missing", 57: "page", 89: "broken"}

pytestmark = [
    pytest.mark.skipif(DATASET is None, reason="FASHION_DATASET is not set: no feed of real products"),
    pytest.mark.timeout(600),
]


@dataclass(frozen=True)
class Shop:
    """The products before and after a night of changes."""

    server: PhotographServer
    before: list[ShopProduct]
    after: list[ShopProduct]
    failing: frozenset[str]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    TABLE.unlink(missing_ok=True)
    with photograph_server() as server, open_dataset(Path(DATASET or "")) as dataset:
        known = [row for row in dataset.rows if row.gender]
        rows = sorted(known, key=lambda row: (row.gender or "", row.article_type, row.id))
        step = len(rows) / (COUNT + 15)
        chosen = [rows[int(number * step)] for number in range(COUNT + 15)]
        products, failing = [], set()
        for number, row in enumerate(chosen):
            mode = FOR_GOOD.get(number % 100) or MOMENTS.get(number % 20) or "whole"
            path = f"/{mode}-{row.id}.jpg"
            server.pictures[path] = dataset.photograph(row.id)
            if number % 100 in FOR_GOOD:
                failing.add(row.id)
            category = tuple(part for part in (row.master_category, row.sub_category, row.article_type) if part)
            products.append(
                ShopProduct(
                    id=row.id,
                    group=f"group-{row.id}",
                    name=row.name or row.article_type,
                    gender=Gender(row.gender),
                    category=category,
                    colour=row.base_colour or "Multi",
                    price=999 + 100 * (number % 40),
                    image=f"{server.url}{path}",
                )
            )
        products = [each for _, group in groupby(products, _kind) for each in _in_groups(list(group))]
        before, new = [*products], []
        for place in range(20, len(products), 21)[:15]:
            new.append(products[place])
            before.remove(products[place])
        after = [
            replace(each, price=each.price - 50) if number % 10 == 4 else each
            for number, each in enumerate(before)
            if number % 20 != 7
        ]
        yield Shop(server, before, [*after, *new], frozenset(failing))


def _kind(each: ShopProduct) -> tuple[Gender, tuple[str, ...]]:
    return each.gender, each.category


def _families(products: list[ShopProduct]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for each in products:
        groups.setdefault(each.group, []).append(each.id)
    return list(groups.values())


def _in_groups(products: list[ShopProduct]) -> list[ShopProduct]:
    """Makes variants of up to three products of a type, each with a colour of its own."""
    grouped: list[ShopProduct] = []
    for each in products:
        others = [one for one in grouped if one.group == grouped[-1].group] if grouped else []
        joins = 0 < len(others) < 3 and each.colour not in {one.colour for one in others}
        grouped.append(replace(each, group=others[0].group, name=others[0].name) if joins else each)
    return grouped


@pytest.mark.parametrize("layout", WRITERS)
def test_a_feed_comes_in_changes_and_goes_out(
    shop: Shop, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write = WRITERS[layout]
    feed = tmp_path / name
    shop.server.requests.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def said(*command: str) -> Any:
        capsys.readouterr()
        assert run([*command, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def ingest(source: Path, *options: str) -> dict[str, Any]:
        done: dict[str, Any] = said("ingest", str(source), "--allow-private-addresses", "--currency", "EUR", *options)
        read = done["dataset"]
        parts = ("rows_kept", "rows_dropped", "rows_left_out", "rows_merged")
        assert read["rows_read"] == sum(read[part] for part in parts)
        outcomes = done["created"] + done["updated"] + done["unchanged"] + len(done["failures"])
        assert outcomes == done["rows_chosen"] == read["rows_kept"]
        return done

    with stack_in_thread(stack_settings(tmp_path / "data")) as stack, calling(stack.target) as caller:
        monkeypatch.setenv("FASHION_SERVER", stack.target)
        write(shop.before, feed)
        first = ingest(feed, "--report", str(tmp_path / "report.html"))
        assert first["dataset"]["rows_kept"] == len(shop.before) == COUNT and not first["dataset"]["rows_dropped"]
        failing = {each.id for each in shop.before} & shop.failing
        assert {each["id"] for each in first["failures"]} == failing != set()
        assert (first["created"], first["updated"], first["unchanged"]) == (COUNT - len(failing), 0, 0)
        assert caller.index().product_count == first["created"]
        retried = sum(count > 1 for path, count in shop.server.requests.items() if "missing" not in path)
        assert retried >= COUNT // 20

        write(shop.after, feed)
        second = ingest(feed, "--sync")
        ids_before, ids_after = {each.id for each in shop.before}, {each.id for each in shop.after}
        prices = {each.id: each.price for each in shop.before}
        changed = {each.id for each in shop.after if prices.get(each.id, each.price) != each.price} - failing
        if layout in {"Shopify", "WooCommerce"}:
            # There a product has a parent only where it has variants.
            alone = [
                {each for each, *others in _families(products) if not others} for products in (shop.before, shop.after)
            ]
            changed |= (alone[0] ^ alone[1]) & ids_before & ids_after - failing
        assert set(second["deleted"]) == ids_before - ids_after - failing
        assert second["created"] == len(ids_after - ids_before - shop.failing)
        assert second["updated"] == len(changed)
        held = ids_after - shop.failing
        assert caller.index().product_count == len(held)
        # A photograph that was downloaded before, also a broken one, is not downloaded again.
        broken = [each for each in second["failures"] if each["reason"] == "IMAGE_UNREADABLE"]
        new_broken = {each["id"] for each in broken} - ids_before
        assert second["photographs"]["downloaded"] == second["created"] + len(new_broken)

        similar = said("export", "similar", str(tmp_path / "similar.csv"), "--top", "5")
        assert similar["products"] == len(held) and not similar["left_out"]
        with (tmp_path / "similar.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert {row["product_id"] for row in rows} == held and len(rows) == similar["rows"] == 5 * len(held)
        groups = {each.id: each.group for each in shop.after}
        assert all(groups[row["product_id"]] != groups[row["similar_product_id"]] for row in rows)

        exported = said("export", "catalogue", str(tmp_path / "export"))
        assert exported["products"] == exported["photographs"] == len(held) and not exported["left_out"]
        again = ingest(tmp_path / "export")
        assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, len(held))
    figures = (
        *(first["dataset"]["rows_read"], first["created"], len(first["failures"]), retried),
        *(second["created"], second["updated"], second["unchanged"], len(second["deleted"])),
        *(exported["products"], similar["rows"]),
    )
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("a") as table:
        table.write(f"| {layout} | {' | '.join(f'{figure:,}' for figure in figures)} |\n")
