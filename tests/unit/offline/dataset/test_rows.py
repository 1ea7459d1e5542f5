"""Reading a data set: what is repaired, what is dropped, what is refused."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offline.dataset.amounts import price_of
from offline.dataset.cells import cell_of
from offline.dataset.report import Finding
from offline.dataset.row import COLUMNS
from offline.dataset.rows import Dataset, open_dataset
from services.contract.errors import InvalidInput, NotFound
from services.search.catalogue.products import Price

HEADER = ",".join(COLUMNS)
SHIRT = "1,Men,Apparel,Topwear,Shirts,Blue,Summer,2012,Casual,Harbour Men Blue Shirt"


def folder(at: Path, *lines: str | bytes, photographs: tuple[str, ...] = ("1.jpg",), end: bytes = b"\n") -> Path:
    (at / "images").mkdir(parents=True, exist_ok=True)
    for name in photographs:
        (at / "images" / name).write_bytes(b"photograph " + name.encode())
    table = [line if isinstance(line, bytes) else line.encode() for line in (HEADER, *lines)]
    (at / "styles.csv").write_bytes(end.join(table) + end)
    return at


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def only_finding(dataset: Dataset) -> Finding:
    (finding,) = dataset.report.findings
    return finding


def test_a_clean_row_becomes_a_product(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, SHIRT)) as dataset:
        (row,) = dataset.rows
        assert row.derived_type == "Men Shirts"
        assert (row.base_colour, row.season, row.year, row.usage) == ("Blue", "Summer", 2012, "Casual")
        assert dataset.photograph("1") == b"photograph 1.jpg"
        assert dataset.photograph_name("1") == "images/1.jpg"
        assert dataset.report.findings == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (SHIRT + ", Slim, Long", "Harbour Men Blue Shirt, Slim, Long"),
        (SHIRT + ",,", "Harbour Men Blue Shirt"),
        (SHIRT.encode() + b" caf\xe9", "Harbour Men Blue Shirt café"),
        (SHIRT.replace("Harbour Men", '"Harbour Men'), '"Harbour Men Blue Shirt'),
    ],
    ids=["unquoted commas", "empty fields too many", "not UTF-8", "a quote never closed"],
)
def test_a_row_that_can_be_repaired_is_kept_and_named(tmp_path: Path, line: str | bytes, name: str) -> None:
    with open_dataset(folder(tmp_path, line)) as dataset:
        assert [row.name for row in dataset.rows] == [name]
        finding = only_finding(dataset)
        assert (finding.line, finding.id, finding.kind) == (2, "1", "repaired")
        assert dataset.report.rows_repaired == 1


@pytest.mark.parametrize("year", ["twelve", "99", "20122", "2012.5", "²⁰12"])
def test_an_unreadable_year_is_left_out_and_named(tmp_path: Path, year: str) -> None:
    with open_dataset(folder(tmp_path, SHIRT.replace("2012", year))) as dataset:
        assert dataset.rows[0].year is None
        assert year in only_finding(dataset).reason


def test_a_year_from_a_table_with_empty_ones_is_read(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, SHIRT.replace("2012", "2012.0"))) as dataset:
        assert dataset.rows[0].year == 2012
        assert dataset.report.findings == ()


def test_what_is_empty_or_na_is_absent_and_counted(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, "1,Men,Apparel,Topwear,Shirts,NA,,NA, ,")) as dataset:
        row = dataset.rows[0]
        assert (row.base_colour, row.season, row.year, row.usage, row.name) == (None, None, None, None, None)
        assert set(dataset.report.missing) == {"baseColour", "season", "year", "usage", "productDisplayName"}
        assert dataset.report.rows_repaired == 0


def test_the_row_within_which_the_table_is_cut_off_is_dropped(tmp_path: Path) -> None:
    path = folder(tmp_path, photographs=("1.jpg", "2.jpg"))
    (path / "styles.csv").write_text("\n".join([HEADER, SHIRT, f"2{SHIRT[1:].partition('Blue')[0]}"]))
    with open_dataset(path) as dataset:
        assert [row.id for row in dataset.rows] == ["1"] and not dataset.report.complete
        assert {(each.line, each.id, each.kind) for each in dataset.report.findings} == {
            (3, "2", "dropped"),
            (3, "", "note"),
        }


def test_a_brand_is_taken_where_the_table_has_one(tmp_path: Path) -> None:
    lines = [f"brand,{HEADER}", f"Harbour,{SHIRT}", f",2{SHIRT[1:]}"]
    path = folder(tmp_path, photographs=("1.jpg", "2.jpg"))
    (path / "styles.csv").write_text("\n".join(lines))
    with open_dataset(path) as dataset:
        assert [row.brand for row in dataset.rows] == ["Harbour", None]
        assert dataset.report.missing == {"brand": 1}


@pytest.mark.parametrize(
    ("line", "product_id", "reason"),
    [
        (SHIRT.replace("1,", ",", 1), "", "no id"),
        (SHIRT.replace("Apparel", ""), "1", "no masterCategory"),
        (SHIRT.replace("Topwear", ""), "1", "no subCategory"),
        (SHIRT.replace("Shirts", ""), "1", "no articleType"),
        (SHIRT.replace("1,", "2,", 1), "2", "no photograph"),
        ("1,Men,Apparel", "1", "too few fields"),
    ],
)
def test_a_row_that_cannot_be_a_product_is_dropped_and_named(
    tmp_path: Path, line: str, product_id: str, reason: str
) -> None:
    path = folder(tmp_path, "9" + SHIRT[1:], line, photographs=("1.jpg", "9.jpg"))
    with open_dataset(path) as dataset:
        assert [row.id for row in dataset.rows] == ["9"]
        (finding,) = [finding for finding in dataset.report.findings if finding.kind == "dropped"]
        assert (finding.line, finding.id) == (3, product_id)
        assert finding.reason.startswith(reason)
        assert dataset.report.dropped_reasons == {reason: 1}
        assert dataset.report.rows_read == dataset.report.rows_kept + dataset.report.rows_dropped


@pytest.mark.parametrize("cell", ["", "NA"])
def test_a_gender_may_be_unknown(tmp_path: Path, cell: str) -> None:
    with open_dataset(folder(tmp_path, SHIRT.replace("Men,", f"{cell},", 1))) as dataset:
        (row,) = dataset.rows
        assert (row.gender, row.derived_type) == (None, row.article_type)
        assert not dataset.report.findings


@pytest.mark.parametrize("cell", ["Kids", "?", "Männer & Frauen", "x" * 200])
def test_a_gender_that_is_none_is_repaired_to_unknown(tmp_path: Path, cell: str) -> None:
    with open_dataset(folder(tmp_path, SHIRT.replace("Men,", f"{cell},", 1))) as dataset:
        (row,) = dataset.rows
        assert (row.gender, row.derived_type) == (None, row.article_type)
        (finding,) = dataset.report.findings
        assert (finding.id, finding.kind) == ("1", "repaired")
        assert "gender" in finding.reason and "left out" in finding.reason
        assert (dataset.report.rows_repaired, dataset.report.rows_dropped) == (1, 0)
        assert dataset.report.missing["gender"] == 1


@pytest.mark.parametrize(
    ("cell", "price"),
    [
        ("19.99 EUR", Price("EUR", 19, 990_000_000)),
        ("19,99 €", Price("EUR", 19, 990_000_000)),
        ("USD 1,299.00", Price("USD", 1299)),
        ("1.2990 EUR", Price("EUR", 1, 299_000_000)),
        ("0.000000001 EUR", Price("EUR", 0, 1)),
        ("1.299 KWD", Price("KWD", 1, 299_000_000)),
        ("19.99", None),
        ("cheap", None),
    ],
)
def test_prices_are_read_as_in_feeds(tmp_path: Path, cell: str, price: Price | None) -> None:
    path = folder(tmp_path)
    (path / "styles.csv").write_text(f'{HEADER},price\n{SHIRT},"{cell}"\n', encoding="utf-8")
    with open_dataset(path) as dataset:
        assert dataset.rows[0].price == price == price_of(cell)
        assert bool(dataset.report.findings) == (price is None)


@pytest.mark.parametrize("nanos", [0, 990_000_000, 299_000_000, 299_900_000, 1, 999_999_999])
@pytest.mark.parametrize("units", [0, 1, 19, 1_299, 1_000_000_000])
def test_a_price_that_is_written_is_read_again(units: int, nanos: int) -> None:
    for currency in ("EUR", "KWD", "JPY"):
        assert price_of(cell_of(Price(currency, units, nanos))) == Price(currency, units, nanos)


def test_of_two_rows_with_an_id_the_first_good_one_is_kept(tmp_path: Path) -> None:
    path = folder(tmp_path, SHIRT.replace("Topwear", ""), SHIRT, SHIRT.replace("Blue Shirt", "Other Shirt"))
    with open_dataset(path) as dataset:
        assert [row.name for row in dataset.rows] == ["Harbour Men Blue Shirt"]
        assert dataset.report.dropped_reasons == {"no subCategory": 1, "duplicate id": 1}


def test_quotes_bom_crlf_and_blank_lines_are_no_fault(tmp_path: Path) -> None:
    quoted = SHIRT.replace("Harbour Men Blue Shirt", '"Harbour ""Men"", Blue\r\nShirt"')
    inches = "2" + SHIRT[1:].replace("Blue Shirt", '3.5" Shirt')
    path = folder(tmp_path, quoted, "", inches, photographs=("1.jpg", "2.jpg"), end=b"\r\n")
    table = path / "styles.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    with open_dataset(path) as dataset:
        assert [row.name for row in dataset.rows] == ['Harbour "Men", Blue Shirt', 'Harbour Men 3.5" Shirt']
        assert dataset.report.findings == ()


def test_a_stray_quote_costs_no_other_row(tmp_path: Path) -> None:
    lines = [SHIRT.replace("1,", f"{n},", 1) for n in range(1, 40)]
    lines[3] = lines[3].replace("Harbour", '"Harbour')
    path = folder(tmp_path, *lines, photographs=tuple(f"{n}.jpg" for n in range(1, 40)))
    with open_dataset(path) as dataset:
        assert dataset.report.rows_kept == 39
        assert only_finding(dataset).line == 5


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = folder(tmp_path)
    names = ["productDisplayName", *[name for name in COLUMNS if name != "productDisplayName"], "price"]
    line = "A Shirt, Long,1,Men,Apparel,Topwear,Shirts,Blue,Summer,2012,Casual,9"
    (path / "styles.csv").write_text(f"{','.join(names)}\n{line}\n")
    with open_dataset(path) as dataset:
        assert (dataset.rows[0].name, dataset.rows[0].usage) == ("A Shirt, Long", "Casual")


def test_photographs_that_no_row_names_are_counted_and_named(tmp_path: Path) -> None:
    path = folder(tmp_path, SHIRT, photographs=("1.jpg", "7.png", "notes.txt", "._1.jpg"))
    with open_dataset(path) as dataset:
        assert dataset.report.photographs == 2
        assert dataset.report.photographs_without_row == 1
        assert only_finding(dataset) == Finding(0, "7", "note", "no row names images/7.png")


def test_of_several_photographs_of_an_id_one_is_used_and_the_others_named(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, SHIRT, photographs=("1.webp", "1.JPEG"))) as dataset:
        assert dataset.photograph("1") == b"photograph 1.JPEG"
        assert "images/1.webp" in only_finding(dataset).reason


@pytest.mark.parametrize("root", ["", "myntradataset/"])
def test_a_zip_may_hold_the_data_set_one_folder_down(tmp_path: Path, root: str) -> None:
    members = {
        f"{root}styles.csv": f"{HEADER}\n{SHIRT}\n".encode(),
        f"{root}images/1.png": b"png",
        "__MACOSX/styles.csv": b"",
    }
    with open_dataset(zipped(tmp_path / "set.zip", members)) as dataset:
        assert dataset.photograph("1") == b"png"
        assert dataset.photograph_name("1") == "images/1.png"


def test_the_root_of_a_zip_comes_before_a_copy_one_folder_down(tmp_path: Path) -> None:
    table = f"{HEADER}\n{SHIRT}\n".encode()
    members = {"styles.csv": table, "images/1.jpg": b"top", "copy/styles.csv": table, "copy/images/1.jpg": b"copy"}
    with open_dataset(zipped(tmp_path / "set.zip", members)) as dataset:
        assert dataset.photograph("1") == b"top"


def test_a_folder_may_hold_the_data_set_one_folder_down(tmp_path: Path) -> None:
    folder(tmp_path / "inner", SHIRT)
    with open_dataset(tmp_path) as dataset:
        assert dataset.photograph("1") == b"photograph 1.jpg"


def test_an_id_that_looks_like_a_path_reaches_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = folder(tmp_path / "set", SHIRT.replace("1,", "../../secret,", 1))
    with open_dataset(path) as dataset:
        assert dataset.rows == ()
        with pytest.raises(NotFound):
            dataset.photograph("../../secret")


def _refusal(path: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        open_dataset(path)
    assert str(path) in refused.value.message
    assert "\n" not in refused.value.message
    return refused.value


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "nowhere").reason == "DATASET_NOT_FOUND"
    (tmp_path / "empty").mkdir()
    assert _refusal(tmp_path / "empty").reason == "DATASET_STYLES_MISSING"
    (tmp_path / "empty" / "styles.csv").write_text(HEADER)
    assert _refusal(tmp_path / "empty").reason == "DATASET_PHOTOGRAPHS_MISSING"
    table = HEADER.encode()
    assert _refusal(zipped(tmp_path / "a.zip", {"images/1.jpg": b""})).reason == "DATASET_STYLES_MISSING"
    assert _refusal(zipped(tmp_path / "b.zip", {"styles.csv": table})).reason == "DATASET_PHOTOGRAPHS_MISSING"
    two = {"a/styles.csv": table, "b/styles.csv": table}
    assert _refusal(zipped(tmp_path / "c.zip", two)).reason == "DATASET_AMBIGUOUS"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "styles.csv").write_text("id,gender,masterCategory,subCategory,baseColour,season,year,usage\n")
    refused = _refusal(path)
    assert refused.reason == "DATASET_COLUMNS_MISSING"
    assert refused.metadata["columns"] == "articleType,productDisplayName"
    (path / "styles.csv").write_bytes(b"")
    assert _refusal(path).reason == "DATASET_COLUMNS_MISSING"


def test_a_broken_zip_is_refused(tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip", {"styles.csv": HEADER.encode(), "images/1.jpg": b"x" * 100})
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[:-30])
    assert _refusal(tmp_path / "cut.zip").reason == "DATASET_ZIP_BROKEN"
    (tmp_path / "text.zip").write_text("not a zip")
    assert _refusal(tmp_path / "text.zip").reason == "DATASET_ZIP_BROKEN"


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/etc/evil.jpg", "images/../../evil.jpg", "C:/evil.jpg", "..\\evil.jpg"]
)
def test_a_zip_that_reaches_outside_itself_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "set.zip", {"styles.csv": HEADER.encode(), "images/1.jpg": b"", name: b""})
    assert _refusal(path).reason == "DATASET_ZIP_UNSAFE"


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("images/1.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("styles.csv", HEADER)
        archive.writestr(link, "/etc/passwd")
    assert _refusal(tmp_path / "set.zip").reason == "DATASET_ZIP_UNSAFE"


def test_a_damaged_photograph_is_refused_when_it_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"styles.csv": f"{HEADER}\n{SHIRT}".encode(), "images/1.jpg": b"intact bytes"})
    path.write_bytes(path.read_bytes().replace(b"intact bytes", b"broken bytes"))
    with open_dataset(path) as dataset, pytest.raises(InvalidInput) as refused:
        dataset.photograph("1")
    assert refused.value.reason == "DATASET_FILE_UNREADABLE"


def test_an_unknown_product_has_no_photograph(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, SHIRT)) as dataset, pytest.raises(NotFound):
        dataset.photograph("2")


def test_photographs_of_a_zip_can_be_read_from_many_threads(tmp_path: Path) -> None:
    ids = [str(n) for n in range(200)]
    lines = "\n".join(SHIRT.replace("1,", f"{n},", 1) for n in ids)
    members = {"styles.csv": f"{HEADER}\n{lines}\n".encode()}
    members |= {f"images/{n}.jpg": n.encode() * 500 for n in ids}
    with open_dataset(zipped(tmp_path / "set.zip", members)) as dataset, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(dataset.photograph, ids * 5)) == [n.encode() * 500 for n in ids] * 5


def test_the_report_as_json_holds_everything(tmp_path: Path) -> None:
    with open_dataset(folder(tmp_path, SHIRT + ",é", "2" + SHIRT[1:])) as dataset:
        document = json.loads(dataset.report.to_json())
    assert document["rows_read"] == 2
    assert [finding["kind"] for finding in document["findings"]] == ["repaired", "dropped"]


def test_the_real_data_set_is_read_as_it_is_known_to_be(fashion_dataset: Path) -> None:
    with open_dataset(fashion_dataset) as dataset:
        report = dataset.report
        kinds = [finding.kind for finding in report.findings]
        if report.rows_read != 39_897:
            pytest.skip("FASHION_DATASET is another data set than the one whose counts are known")
        assert (report.photographs, report.rows_kept, report.photographs_without_row) == (39_892, 39_892, 0)
        assert (kinds.count("repaired"), kinds.count("dropped")) == (18, 5)
        assert report.dropped_reasons == {"no photograph": 5}
        (row,) = [row for row in dataset.rows if row.id == "23127"]
        assert row.name == "Converse Unisex Green Live, Life, Laugh Flip Flops"
        assert dataset.photograph(row.id).startswith(b"\xff\xd8")
