"""The catalogue on disk: writes are whole, leave nothing behind, and survive a crash."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.errors import DataLoss, InvalidInput, Overloaded, Unavailable
from services.contract.values import Box, Embedding, Gender, Photograph
from services.search.catalogue import database, store
from services.search.catalogue.content import ContentState, NewContent, Upsert, UpsertOutcome
from services.search.catalogue.photographs import PhotographDamaged
from services.search.catalogue.products import Price, Product
from services.search.catalogue.store import Catalogue, CatalogueUnusable

CREATED, UPDATED, UNCHANGED = UpsertOutcome.CREATED, UpsertOutcome.UPDATED, UpsertOutcome.UNCHANGED


def product(product_id: str = "a", **attributes: Any) -> Product:
    values: dict[str, Any] = {"gender": Gender.MEN, "sub_category": "Topwear", "article_type": "Shirts"}
    return Product(id=product_id, **{**values, **attributes})


def embedding(seed: int, model_version: str = "m1") -> Embedding:
    values = np.random.default_rng(seed).normal(size=16)
    return Embedding((values / np.linalg.norm(values)).astype(np.float32), model_version)


def jpeg(name: str) -> bytes:
    return b"\xff\xd8\xff" + name.encode()


def upsert(
    product_id: str = "a", seed: int = 1, photo: str | None = None, region: Box | None = None, **attributes: Any
) -> Upsert:
    photograph = None if photo is None else Photograph(jpeg(photo), region)
    return Upsert(product(product_id, **attributes), NewContent(embedding(seed), photograph))


def photographs(directory: Path) -> int:
    return sum(path.is_file() for path in (directory / "photographs").glob("??/*"))


def test_everything_that_is_written_is_there_after_reopening(tmp_path: Path) -> None:
    full = product(
        "ä-1",
        master_category="Apparel",
        base_colour="Navy Blue",
        brand="Harbour",
        season="Fall",
        year=2011,
        usage="Casual",
        name="A “shirt”, blue",
        url="https://shop.example/1",
        image_url="https://cdn.example/1.jpg",
        price=Price("EUR", 2**62, 1),
        in_stock=False,
        parent_id="p",
    )
    region = Box(0.1, 0.2, 0.30000001192092896, 1.0)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    with Catalogue(tmp_path, lambda: moment) as catalogue:
        assert (len(catalogue), catalogue.index_version, catalogue.update_time) == (0, 0, None)
        result = catalogue.write(
            [Upsert(full, NewContent(embedding(1), Photograph(jpeg("x"), region))), upsert("plain", 2)]
        )
        assert (result.outcomes, result.index_version) == ((CREATED, CREATED), 1)
    with Catalogue(tmp_path) as catalogue:
        stored = catalogue.get("ä-1")
        assert stored is not None
        assert stored.product == full
        assert np.array_equal(stored.embedding, embedding(1).values.astype(np.float16))
        assert stored.content.region == region
        assert stored.content == ContentState.of(Photograph(jpeg("x"), region), "m1")
        kept = catalogue.photograph("ä-1")
        assert kept is not None
        assert (kept.content, kept.media_type) == (jpeg("x"), "image/jpeg")
        plain = catalogue.get("plain")
        assert plain is not None
        assert plain.product == product("plain")
        assert plain.content == ContentState("m1", None, None)
        assert catalogue.photograph("plain") is None
        assert catalogue.photograph("nobody") is None
        assert catalogue.get("nobody") is None
        assert set(catalogue.some(["ä-1", "nobody", "plain"])) == {"ä-1", "plain"}
        assert (len(catalogue), catalogue.index_version, catalogue.update_time) == (2, 1, moment)


def test_an_upsert_without_a_change_is_not_written(tmp_path: Path) -> None:
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(9))
    with Catalogue(tmp_path, lambda: next(times)) as catalogue:
        rows = [upsert("a", 1, "x"), upsert("b", 2)]
        catalogue.write(rows)
        written = catalogue.update_time
        # The same photograph embedded again may differ in its last bits.
        again = [upsert("a", 3, "x"), upsert("b", 2), Upsert(product("b"), None)]
        assert catalogue.write(again[:2]).outcomes == (UNCHANGED, UNCHANGED)
        result = catalogue.write([again[2]])
        assert (result.outcomes, result.changed, result.index_version) == ((UNCHANGED,), (), 1)
        assert catalogue.write(deletes=["nobody"]).deleted == ()
        assert catalogue.write().index_version == 1
        assert (catalogue.index_version, catalogue.update_time) == (1, written)
        stored = catalogue.get("a")
        assert stored is not None
        assert np.array_equal(stored.embedding, embedding(1).values.astype(np.float16))


@pytest.mark.parametrize(
    "changed",
    [
        upsert("a", 1, "x", season="Fall"),
        upsert("a", 1, "y"),
        upsert("a", 1, "x", Box(0, 0, 1, 0.5)),
        upsert("a", 1),
        Upsert(product("a"), NewContent(embedding(1, "m2"), Photograph(jpeg("x")))),
        Upsert(product("a", in_stock=True), None),
    ],
)
def test_whatever_changes_makes_an_update(tmp_path: Path, changed: Upsert) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1, "x")])
        result = catalogue.write([changed])
        assert (result.outcomes, result.index_version) == ((UPDATED,), 2)
        stored = catalogue.get("a")
        assert stored is not None
        assert stored.product == changed.product
        # Of attributes alone, an index need not know the rest.
        attributes_alone = changed.product != product("a")
        assert [each.content for each in result.changed] == ([] if attributes_alone else [stored.content])
        assert result.updated == ((changed.product,) if attributes_alone else ())
        assert catalogue.write([changed]).outcomes == (UNCHANGED,)


@pytest.mark.parametrize(
    "changes",
    [
        {"price": Price("EUR", 12, 990_000_000), "in_stock": False},
        {"price": None, "name": "Ünder “quotes”", "year": 2020},
        {"gender": Gender.WOMEN, "article_type": "Tops", "parent_id": "p"},
        {"attributes": {"material": ("Cotton", "Wool"), "heel_mm": 40.0}},
    ],
)
@pytest.mark.parametrize("region", [None, Box(0.1, 0.25, 0.5, 1)])
def test_an_update_leaves_a_sound_row_of_the_new_attributes(
    tmp_path: Path, changes: dict[str, Any], region: Box | None
) -> None:
    first = [upsert("a", 1, "x", region, price=Price("EUR", 1), name="Old"), upsert("b", 2)]
    with Catalogue(tmp_path) as catalogue:
        catalogue.write(first)
        before = [each.product for each in first]
        after = [replace(each, **changes) for each in before]
        assert catalogue.update(list(zip(before, after, strict=True))) == 2
        assert catalogue.update([]) == 2
    with Catalogue(tmp_path) as catalogue:
        for expected, written in zip(after, first, strict=True):
            stored = catalogue.get(expected.id)
            assert stored is not None and written.content is not None
            assert stored.product == expected
            assert np.array_equal(stored.embedding, written.content.embedding.values.astype(np.float16))
            assert stored.content.region == (region if expected.id == "a" else None)
        assert sum(len(group) for group in catalogue.by_derived_type()) == 2
        assert not catalogue.damaged


@pytest.mark.parametrize("damage", ["embedding = zeroblob(32)", "sub_category = 'Topweas'", "model_version = 'm2'"])
def test_an_update_does_not_hide_damage(tmp_path: Path, damage: str) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1)])
        with sqlite3.connect(tmp_path / "catalogue.sqlite3") as connection:
            connection.execute(f"UPDATE products SET {damage}")
        connection.close()
        catalogue.update([(product("a"), product("a", year=2020))])
        with pytest.raises(DataLoss):
            catalogue.get("a")


def test_attributes_alone_keep_photograph_and_embedding(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1, "x")])
        catalogue.write([Upsert(product("a", name="New"), None)])
        stored = catalogue.get("a")
        assert stored is not None
        assert np.array_equal(stored.embedding, embedding(1).values.astype(np.float16))
        kept = catalogue.photograph("a")
        assert kept is not None
        assert kept.content == jpeg("x")


def test_photographs_go_with_the_last_product_that_shows_them(tmp_path: Path) -> None:
    with Catalogue(tmp_path, removed_photograph_days=0) as catalogue:
        catalogue.write([upsert("a", 1, "x"), upsert("b", 1, "x"), upsert("c", 2, "y")])
        assert photographs(tmp_path) == 2
        assert catalogue.write(deletes=["a", "nobody"]).deleted == ("a",)
        assert photographs(tmp_path) == 2
        catalogue.write([upsert("b", 3, "z")], ["c"])
        assert photographs(tmp_path) == 1
        # A photograph stays if one write takes it from one product and gives it to another.
        catalogue.write([upsert("d", 3, "z")], ["b"])
        assert catalogue.photograph("d") is not None
        catalogue.write([upsert("d", 3)])
        assert photographs(tmp_path) == 0


def test_a_write_is_refused_whole(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        with pytest.raises(InvalidInput) as refused:
            catalogue.write([upsert("a", 1, "x"), Upsert(product("new"), None)])
        assert refused.value.reason == "PHOTOGRAPH_MISSING"
        for upserts, deletes in (([upsert("a"), upsert("a")], []), ([upsert("a")], ["a"]), ([], ["a", "a"])):
            with pytest.raises(ValueError, match="twice"):
                catalogue.write(upserts, deletes)
        assert (len(catalogue), catalogue.index_version, photographs(tmp_path)) == (0, 0, 0)


@pytest.mark.parametrize("step", ["WriteLog", "referenced_photographs", "identity_of", "Generations"])
def test_a_catalogue_that_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    connections: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        connections.append(database.connect(path))
        return connections[-1]

    def fail(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(store, "connect", connect)
        broken.setattr(store, step, fail)
        with pytest.raises(OSError, match="no space"):
            Catalogue(tmp_path)
    assert connections
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    Catalogue(tmp_path).close()


def test_a_transaction_that_fails_leaves_neither_rows_nor_photographs(tmp_path: Path) -> None:
    def broken_clock() -> datetime:
        raise OSError("no clock")

    with Catalogue(tmp_path, broken_clock) as catalogue:
        with pytest.raises(Unavailable, match="takes no writes"):
            catalogue.write([upsert("a", 1, "x")])
        assert (len(catalogue), catalogue.index_version, photographs(tmp_path)) == (0, 0, 0)


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1, "x")])
        # Every write to this device fails as one to a full disk does.
        sha256 = hashlib.sha256(jpeg("y")).hexdigest()
        (tmp_path / "photographs" / "incoming" / sha256).symlink_to("/dev/full")
        with pytest.raises(Overloaded) as full:
            catalogue.write([upsert("b", 2, "y")])
        assert full.value.reason == "STORAGE_FULL"
        # The same for the database: SQLite itself says that there is no room.
        pages = catalogue._writer.execute("PRAGMA page_count").fetchone()[0]
        catalogue._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Overloaded) as full:
            catalogue.write([upsert(f"b{i}", 2, f"y{i}") for i in range(200)])
        assert full.value.reason == "STORAGE_FULL"
        assert (len(catalogue), catalogue.index_version, photographs(tmp_path)) == (1, 1, 1)
        assert not list((tmp_path / "photographs" / "incoming").iterdir())
        catalogue._writer.execute("PRAGMA max_page_count = 1000000")
        assert catalogue.write([upsert("b", 2, "y")]).outcomes == (CREATED,)


def test_yields_the_products_of_a_derived_type_together(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("b"), upsert("a"), upsert("c", gender=Gender.WOMEN), upsert("d", article_type="Heels")])
        groups = [[row.product.id for row in group] for group in catalogue.by_derived_type()]
    assert sorted(groups) == [["a", "b"], ["c"], ["d"]]


def test_a_lost_photograph_is_an_error(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1, "x")])
        next(path for path in (tmp_path / "photographs").rglob("*") if path.is_file()).unlink()
        with pytest.raises(PhotographDamaged, match="gone"):
            catalogue.photograph("a")


def test_orphans_of_a_crash_are_swept_when_it_opens(tmp_path: Path) -> None:
    with Catalogue(tmp_path) as catalogue:
        catalogue.write([upsert("a", 1, "x")])
        orphan = tmp_path / "photographs" / "ab" / ("c" * 62)
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(jpeg("orphan"))
    with Catalogue(tmp_path) as catalogue:
        assert not orphan.exists()
        assert catalogue.photograph("a") is not None


def test_a_data_directory_is_for_its_owner_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, before in (("new", None), ("open", 0o755), ("group", 0o750)):
        directory = tmp_path / name
        if before is not None:
            directory.mkdir()
            directory.chmod(before)
        Catalogue(directory).close()
        assert directory.stat().st_mode & 0o777 == (0o750 if name == "group" else 0o700)
        assert (name in caplog.text) == (name == "open")


def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    with Catalogue(tmp_path), pytest.raises(CatalogueUnusable, match=rf"in use by .*process {os.getpid()}"):
        Catalogue(tmp_path)
    Catalogue(tmp_path).close()


def test_readers_are_served_while_others_write(tmp_path: Path) -> None:
    with Catalogue(tmp_path, removed_photograph_days=0) as catalogue:
        catalogue.write([upsert(str(i), i, f"p{i}") for i in range(20)])
        stop, failed = threading.Event(), list[BaseException]()

        def read() -> None:
            try:
                while not stop.is_set():
                    assert len(catalogue) == 20
                    assert catalogue.photograph("3") is not None
                    assert len(catalogue.some([str(i) for i in range(20)])) == 20
            except BaseException as error:
                failed.append(error)

        readers = [threading.Thread(target=read) for _ in range(3)]
        writers = [
            threading.Thread(
                target=lambda n: [catalogue.write([upsert("3", n, f"r{n}-{i}")]) for i in range(20)], args=(n,)
            )
            for n in range(2)
        ]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join(timeout=60)
        stop.set()
        for thread in readers:
            thread.join(timeout=60)
        assert not failed
        assert catalogue.index_version == 41
        assert photographs(tmp_path) == 20


def test_the_photograph_of_a_removed_product_stays_for_backups_and_then_goes(tmp_path: Path) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    times = [day]
    with Catalogue(tmp_path, lambda: times[0]) as catalogue:
        catalogue.write([upsert("a", 1, "x"), upsert("b", 2, "y")])
        catalogue.write([upsert("b", 3, "z")], ["a"])
        assert photographs(tmp_path) == 3
    with Catalogue(tmp_path, lambda: times[0]) as catalogue:
        assert photographs(tmp_path) == 3
        # It is shown again, so that it stays for good.
        times[0] = day + timedelta(days=6)
        catalogue.write([upsert("c", 2, "y")])
        times[0] = day + timedelta(days=8)
        catalogue.write([upsert("d", 4)])
        assert photographs(tmp_path) == 2
        assert catalogue.photograph("c") is not None
    assert not (tmp_path / "photographs" / "quarantine").exists()


writes = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from("abc"),
            st.tuples(st.integers(0, 2), st.none() | st.sampled_from("xy"), st.sampled_from((None, "Fall"))),
        ),
        st.sets(st.sampled_from("abc")),
    ),
    max_size=6,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(writes)
def test_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[dict[str, Any], set[str]]]
) -> None:
    directory = tmp_path_factory.mktemp("catalogue")
    expected: dict[str, tuple[int, str | None, str | None]] = {}
    version = 0
    with Catalogue(directory, removed_photograph_days=0) as catalogue:
        for upserts, wanted_deletes in history:
            deletes = sorted(wanted_deletes - upserts.keys())
            result = catalogue.write(
                [upsert(name, seed, photo, season=season) for name, (seed, photo, season) in upserts.items()], deletes
            )
            outcomes = []
            for name, (seed, photo, season) in upserts.items():
                before = expected.get(name)
                # With a photograph the first embedding of it stays.
                if before is not None and photo is not None and before[1] == photo:
                    seed = before[0]
                after = (seed, photo, season)
                outcomes.append(CREATED if before is None else UNCHANGED if before == after else UPDATED)
                expected[name] = after
            gone = [name for name in deletes if expected.pop(name, None) is not None]
            version += bool(gone) or any(outcome is not UNCHANGED for outcome in outcomes)
            assert list(result.outcomes) == outcomes
            assert list(result.deleted) == gone
            assert result.index_version == version
    with Catalogue(directory) as catalogue:
        assert catalogue.index_version == version
        stored = {row.product.id: row for group in catalogue.by_derived_type() for row in group}
        assert stored.keys() == expected.keys()
        for name, (seed, photo, season) in expected.items():
            assert stored[name].product.season == season
            assert np.array_equal(stored[name].embedding, embedding(seed).values.astype(np.float16))
            kept = catalogue.photograph(name)
            assert (None if kept is None else kept.content) == (None if photo is None else jpeg(photo))
        assert photographs(directory) == len({photo for _, photo, _ in expected.values()} - {None})


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from services.contract.values import Embedding, Gender, Photograph
    from services.search.catalogue.content import NewContent, Upsert
    from services.search.catalogue.store import Catalogue
    from services.search.catalogue.products import Product

    catalogue = Catalogue(Path(sys.argv[1]), removed_photograph_days=0)
    number = len(catalogue)
    while True:
        upserts = []
        for number in range(number, number + 5):
            vector = np.zeros(16, dtype=np.float32)
            vector[number % 16] = 1
            name = f"{number:06}"
            product = Product(id=name, gender=Gender.MEN, sub_category="T", article_type="S", year=number % 300)
            photograph = Photograph(b"\\xff\\xd8\\xff" + str(number).encode() * 500)
            upserts.append(Upsert(product, NewContent(Embedding(vector, "m"), photograph)))
        number += 1
        # Every second write replaces a photograph, so that the process may die while files are removed.
        result = catalogue.write(upserts)
        print(number, result.index_version, flush=True)
        replaced = Photograph(b"\\xff\\xd8\\xff again" + str(number).encode() * 500)
        result = catalogue.write([Upsert(upserts[0].product, NewContent(upserts[0].content.embedding, replaced))])
        print(number, result.index_version, flush=True)
    """
)


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged = version = 0
    for acknowledgements in (1, 4, 9, 16):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for _ in range(acknowledgements):
                    acknowledged, version = map(int, process.stdout.readline().split())
            finally:
                process.send_signal(signal.SIGKILL)
            # What it had acknowledged before it was killed counts too.
            for line in process.stdout:
                if line.endswith("\n"):
                    acknowledged, version = map(int, line.split())
        with Catalogue(tmp_path) as catalogue:
            assert catalogue.index_version in (version, version + 1)
            # Each write has five products: there are only whole ones.
            assert len(catalogue) in (acknowledged, acknowledged + 5)
            for number in range(len(catalogue)):
                stored = catalogue.get(f"{number:06}")
                assert stored is not None
                assert stored.product.year == number % 300
                assert stored.embedding[number % 16] == 1
                kept = catalogue.photograph(f"{number:06}")
                assert kept is not None
                assert kept.content.endswith(str(number).encode()) or kept.content.startswith(b"\xff\xd8\xff again")
            # The one that was replaced last may still be there, to be removed with the next write.
            assert photographs(tmp_path) - len(catalogue) in (0, 1)
