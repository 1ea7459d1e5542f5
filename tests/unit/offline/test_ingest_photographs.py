"""Ingest of products with several photographs: none of them keeps a product out, and each that is left out is named."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from offline.catalogue_files import CatalogueFiles
from offline.dataset.row import COLUMNS
from offline.dataset.rows import Dataset, open_dataset
from offline.ingest import BatchOutcome, IngestLimits, PhotographedRow, Written
from services.contract.errors import FashionError, InvalidInput, NotFound, Overloaded, Upstream
from tests.unit.offline.test_ingest import LIMITS, Catalogue, prepared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three products; the first has three further photographs, of which one is the first one again."""
    table = [",".join(COLUMNS)]
    (tmp_path / "images").mkdir()
    for number in range(3):
        table.append(f"{number},Men,Apparel,Topwear,Tshirts,Blue,Summer,2016,Casual,n")
        (tmp_path / "images" / f"{number}.jpg").write_bytes(f"photo {number}".encode())
    (tmp_path / "styles.csv").write_text("\n".join(table), encoding="utf-8")
    further = tmp_path / "further" / "0"
    further.mkdir(parents=True)
    for name, content in (("10.png", "tenth"), ("2.jpg", "second"), ("3.jpg", "photo 0"), ("notes.txt", "no picture")):
        (further / name).write_bytes(content.encode())
    return tmp_path


def contents(item: PhotographedRow) -> list[bytes]:
    return [item.photograph, *(each.content for each in item.further)]


@pytest.mark.parametrize("packed", [False, True])
async def test_all_come_in_in_their_order_and_each_once(folder: Path, tmp_path: Path, packed: bool) -> None:
    source = folder
    if packed:
        source = tmp_path / "packed.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in (*folder.glob("styles.csv"), *folder.glob("images/*"), *folder.glob("further/*/*")):
                archive.write(path, Path("shop") / path.relative_to(folder))
    catalogue = Catalogue()
    with open_dataset(source) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert contents(catalogue.known["0"]) == [b"photo 0", b"second", b"tenth"]
    assert contents(catalogue.known["1"]) == [b"photo 1"]
    assert all(item.has_all for item in catalogue.known.values())
    assert (report.created, report.further_photographs, report.photographs_left_out) == (3, 2, ())
    # A call holds at most so many photographs.
    assert all(len(call) <= LIMITS.batch_rows for call in catalogue.calls)
    assert ["0"] in catalogue.calls


class Fails:
    """Reads photographs, but for one of each kind of failure."""

    def __init__(self, dataset: Dataset, errors: dict[str, Exception]) -> None:
        self._read, self._errors = dataset.read, errors
        dataset.read = self.read  # type: ignore[method-assign]

    def read(self, name: str) -> bytes:
        if name in self._errors:
            raise self._errors[name]
        return self._read(name)


@pytest.mark.parametrize(
    ("error", "has_all"),
    [
        (NotFound("The server answers 404.", reason="PHOTOGRAPH_NOT_DOWNLOADED"), True),
        (InvalidInput("It is an HTML page.", reason="PHOTOGRAPH_NOT_DOWNLOADED"), True),
        # It may be there tomorrow: what the catalogue has of it stays.
        (Upstream("The server answers 503.", reason="PHOTOGRAPH_NOT_DOWNLOADED"), False),
        (RuntimeError("odd"), True),
    ],
)
async def test_one_that_cannot_be_read_is_named_and_the_product_comes_in(
    folder: Path, error: Exception, has_all: bool
) -> None:
    catalogue = Catalogue()
    with open_dataset(folder) as dataset:
        Fails(dataset, {"further/0/2.jpg": error})
        report = await prepared(dataset, catalogue).run()
    assert contents(catalogue.known["0"]) == [b"photo 0", b"tenth"]
    assert catalogue.known["0"].has_all is has_all
    assert (report.created, report.failures) == (3, ())
    (left_out,) = report.photographs_left_out
    assert (left_out.id, left_out.name, left_out.line) == ("0", "further/0/2.jpg", 2)
    assert left_out.reason == (error.reason if isinstance(error, FashionError) else "DATASET_FILE_UNREADABLE")
    assert "further/0/2.jpg" in report.to_json()


async def test_one_that_the_server_refuses_is_left_out_and_the_product_comes_in(folder: Path) -> None:
    class Picky(Catalogue):
        busy = True

        async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
            outcome = await super().write(rows)
            results: list[Written | FashionError] = list(outcome.rows)
            for place, item in enumerate(rows):
                sent = contents(item)
                if self.busy and len(sent) == 2:
                    self.busy = False
                    results[place] = Overloaded("Busy.", reason="QUEUE_FULL", metadata={"photograph_index": "1"})
                elif b"second" in sent:
                    metadata = {"photograph_index": str(sent.index(b"second"))}
                    results[place] = InvalidInput("It is broken.", reason="IMAGE_UNREADABLE", metadata=metadata)
                elif sent[0] == b"photo 1":
                    metadata = {"photograph_index": "0"}
                    results[place] = InvalidInput("It is broken.", reason="IMAGE_UNREADABLE", metadata=metadata)
            return BatchOutcome(tuple(results), outcome.index_version)

    catalogue = Picky()
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue).run()
    assert contents(catalogue.known["0"]) == [b"photo 0", b"tenth"]
    assert [(each.id, each.reason) for each in report.failures] == [("1", "IMAGE_UNREADABLE")]
    assert [(each.name, each.reason) for each in report.photographs_left_out] == [
        ("further/0/2.jpg", "IMAGE_UNREADABLE")
    ]
    assert (report.rows_done, report.further_photographs) == (3, 1)


@pytest.mark.parametrize("answer", ["written", "refused"])
async def test_after_an_error_in_a_later_call_only_what_has_no_outcome_is_sent_again(folder: Path, answer: str) -> None:
    class Picky(Catalogue):
        async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
            if len(self.calls) == 1:
                self.whole_batch_errors = [Overloaded("Busy.", reason="QUEUE_FULL")]
            return await super().write(rows)

        def _one(self, item: PhotographedRow) -> Written | FashionError:
            for place, content in enumerate(contents(item)):
                if content in (b"second", b"tenth") and len(self.calls) <= 3:
                    metadata = {"photograph_index": str(place)}
                    return InvalidInput("It is broken.", reason="IMAGE_UNREADABLE", metadata=metadata)
            if item.row.id == "0" and answer == "refused":
                return InvalidInput("It is broken.", reason="IMAGE_UNREADABLE")
            return super()._one(item)

    catalogue = Picky()
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue, IngestLimits(batch_rows=10, in_flight=1, attempts=2)).run()
    assert catalogue.calls == [["0", "1", "2"], ["0"], ["0"], ["0"]]
    left_out = [each.name for each in report.photographs_left_out]
    assert (report.updated, report.unchanged, report.further_photographs) == (0, 0, 0)
    if answer == "written":
        assert (report.created, report.failures) == (3, ())
        assert left_out == ["further/0/2.jpg", "further/0/10.png"]
    else:
        # The product did not come in: its photographs are not left out of it.
        assert report.created == 2 and [each.id for each in report.failures] == ["0"]
        assert left_out == []


async def test_a_later_call_that_is_refused_leaves_the_outcomes_of_the_former_one(folder: Path) -> None:
    class Closing(Catalogue):
        async def write(self, rows: Sequence[PhotographedRow]) -> BatchOutcome:
            if len(self.calls) == 1:
                self.whole_batch_errors = [InvalidInput("The key has ended.", reason="KEY_ENDED")]
            return await super().write(rows)

        def _one(self, item: PhotographedRow) -> Written | FashionError:
            if item.further:
                return InvalidInput("It is broken.", reason="IMAGE_UNREADABLE", metadata={"photograph_index": "1"})
            return super()._one(item)

    with open_dataset(folder) as dataset:
        ingest = prepared(dataset, Closing(), IngestLimits(batch_rows=10, in_flight=1))
        with pytest.raises(InvalidInput, match="ended"):
            await ingest.run()
    assert (ingest.report().created, ingest.report().index_version) == (2, 1)
    assert ingest.report().photographs_left_out == ()


async def test_what_does_not_fit_into_a_call_is_left_out(folder: Path) -> None:
    catalogue = Catalogue()
    (folder / "further" / "0" / "4.jpg").write_bytes(bytes(30_000))
    with open_dataset(folder) as dataset:
        report = await prepared(dataset, catalogue, IngestLimits(batch_bytes=20_000)).run()
    assert contents(catalogue.known["0"]) == [b"photo 0", b"second", b"tenth"]
    assert [(each.name, each.reason) for each in report.photographs_left_out] == [
        ("further/0/4.jpg", "IMAGE_TOO_LARGE")
    ]


def test_an_export_writes_what_an_ingest_reads(tmp_path: Path) -> None:
    cells = {"id": "a", "gender": "Men", "master_category": "A", "sub_category": "B", "article_type": "C"}

    def write(*photographs: tuple[str, bytes]) -> list[bytes]:
        with CatalogueFiles(tmp_path) as files:
            files.write_product(cells)
            files.write_photographs("a", photographs)
            assert files.photographs == len(photographs)
        with open_dataset(tmp_path) as dataset:
            assert dataset.has_further is (len(photographs) > 1)
            return [dataset.photograph("a"), *map(dataset.read, dataset.further_names("a"))]

    assert write(("image/jpeg", b"1"), ("image/png", b"2"), ("image/webp", b"3")) == [b"1", b"2", b"3"]
    # Fewer, and of other types, in the same folder.
    assert write(("image/png", b"2"), ("image/jpeg", b"1")) == [b"2", b"1"]
    assert write(("image/png", b"2")) == [b"2"]
    assert not (tmp_path / "further" / "a").exists()


def test_an_export_writes_over_no_foreign_file(tmp_path: Path) -> None:
    table = tmp_path / "styles.csv"
    table.write_text("the shop's own")
    with pytest.raises(InvalidInput) as refused, CatalogueFiles(tmp_path):
        pass
    assert refused.value.reason == "FOLDER_NOT_EMPTY" and "--yes" in refused.value.message
    assert [each.name for each in tmp_path.iterdir()] == ["styles.csv"] and table.read_text() == "the shop's own"
    with CatalogueFiles(tmp_path, foreign=True):
        pass
    # Now it is an export's, which may go on.
    with CatalogueFiles(tmp_path):
        pass
    assert table.read_text().startswith("id,")
