"""Data sets as shops export them: what other people's tools make of tables, names and zips is read as it was meant."""

import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.dataset.row import COLUMNS
from offline.dataset.rows import Dataset, open_dataset

HEADER = ",".join(COLUMNS)
DESCRIPTION = "<ul>\n" + "\n".join(f"<li>soft, washable point {n}</li>" for n in range(10)) + "\n</ul>"


def row(product_id: str, *, name: str = "Plain shirt", gender: str = "Men", colour: str = "Blue") -> str:
    return f"{product_id},{gender},Apparel,Topwear,Tshirts,{colour},Summer,2024,Casual,{name}"


SOUND = (row("S1"), row("S2"))


def shop(at: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8", ids: tuple[str, ...] = ()) -> Path:
    """Writes a data set with the two sound rows and others, each with a photograph."""
    (at / "images").mkdir(parents=True)
    table = "\n".join([header, *rows]) + "\n"
    (at / "styles.csv").write_bytes(table.encode(encoding))
    for product_id in ids or [each.split(",")[0] for each in rows]:
        (at / "images" / f"{product_id}.jpg").write_bytes(b"photograph")
    return at


def repaired(dataset: Dataset) -> list[str]:
    return [finding.id for finding in dataset.report.findings if finding.kind == "repaired"]


def test_trailing_cells_that_excel_leaves_out_are_empty(tmp_path: Path) -> None:
    rows = (*SOUND, row("T1").rsplit(",", 1)[0], row("T2").rsplit(",", 2)[0])
    with open_dataset(shop(tmp_path / "set", *rows)) as dataset:
        assert [(each.id, each.usage, each.name) for each in dataset.rows[2:]] == [
            ("T1", "Casual", None),
            ("T2", None, None),
        ]
        assert repaired(dataset) == ["T1", "T2"]


@pytest.mark.parametrize("text", [DESCRIPTION, "long, " + "x" * 150_000], ids=["twelve lines", "150,000 characters"])
@pytest.mark.parametrize("before_the_name", [False, True])
def test_a_long_description_costs_no_row(tmp_path: Path, text: str, before_the_name: bool) -> None:
    header = HEADER.replace(",productDisplayName", ",description,productDisplayName")
    if not before_the_name:
        header = HEADER + ",description"
    rows = []
    for product_id in ("S1", "S2", "T1", "T2"):
        cells = row(product_id).split(",")
        cells.insert(-1 if before_the_name else len(cells), f'"{text}"' if product_id == "T1" else '"short, one line"')
        rows.append(",".join(cells))
    path = shop(tmp_path / "set", *rows, header=header, ids=("S1", "S2", "T1", "T2"))
    with open_dataset(path) as dataset:
        assert (dataset.report.rows_read, dataset.report.rows_dropped) == (4, 0)
        assert {each.name for each in dataset.rows} == {"Plain shirt"}
        assert dataset.report.findings == ()


@pytest.mark.parametrize(
    "separator", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c", "\t", "\x07", "\x00", "\x10", "\x7f"]
)
def test_a_control_character_in_a_name_is_a_space(tmp_path: Path, separator: str) -> None:
    rows = (
        *SOUND,
        row("T1", colour='"Green"', name=f"Linen{separator}shirt with pocket"),
        row("T2", colour=f"Sea{separator}Green", name='"Shirt, with pocket"'),
        row("T3", name=f'"Shirt,{separator} {separator}with pocket{separator}"'),
    )
    with open_dataset(shop(tmp_path / "set", *rows)) as dataset:
        assert [(each.name, each.base_colour) for each in dataset.rows[2:]] == [
            ("Linen shirt with pocket", "Green"),
            ("Shirt, with pocket", "Sea Green"),
            ("Shirt, with pocket", "Blue"),
        ]
        assert repaired(dataset) == ["T1", "T2", "T3"]


def test_a_table_in_cp1252_is_read_and_reported(tmp_path: Path) -> None:
    rows = (*SOUND, row("T1", colour="Rosé", name="Décolletés d'été – légère"), row("T2", colour="Grün", name="“Café”"))
    with open_dataset(shop(tmp_path / "set", *rows, encoding="cp1252")) as dataset:
        assert [(each.base_colour, each.name) for each in dataset.rows[2:]] == [
            ("Rosé", "Décolletés d'été – légère"),
            ("Grün", "“Café”"),
        ]
        assert repaired(dataset) == ["T1", "T2"]
        assert all("cp1252" in finding.reason for finding in dataset.report.findings)
        assert dataset.report.encoding == "utf-8 and cp1252"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")]
)
def test_delimiters_and_encodings_of_spreadsheets(tmp_path: Path, encoding: str, delimiter: str, name: str) -> None:
    rows = [each.replace(",", delimiter) for each in (*SOUND, row("T1", colour="Rosé", name='"Shirt, ""new"""'))]
    path = shop(
        tmp_path / "set", *rows, header=HEADER.replace(",", delimiter), encoding=encoding, ids=("S1", "S2", "T1")
    )
    with open_dataset(path) as dataset:
        wanted = 'Shirt, "new"'.replace(",", delimiter)
        assert [(each.id, each.base_colour) for each in dataset.rows] == [
            ("S1", "Blue"),
            ("S2", "Blue"),
            ("T1", "Rosé"),
        ]
        assert (dataset.rows[2].name, dataset.report.delimiter) == (" ".join(wanted.split()), name)


@pytest.mark.parametrize(
    ("written", "gender"),
    [
        *((word, "Men") for word in ("men", "MEN", "male", "Mens", "Men's", "Men ")),
        *((word, "Women") for word in ("WOMEN", "female", "Women’s", "womens")),
        ("unisex", "Unisex"),
        ("boy", "Boys"),
        ("Girl's", "Girls"),
    ],
)
def test_genders_as_feeds_spell_them(tmp_path: Path, written: str, gender: str) -> None:
    with open_dataset(shop(tmp_path / "set", *SOUND, row("T1", gender=written))) as dataset:
        assert dataset.rows[2].gender == gender
        assert repaired(dataset) == ["T1"]
        assert gender in dataset.report.findings[0].reason


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".JPEG", ".Png", ".webp", ".avif"])
def test_suffixes_of_photographs(tmp_path: Path, suffix: str) -> None:
    path = shop(tmp_path / "set", *SOUND, row("T1"))
    (path / "images" / "T1.jpg").rename(path / "images" / f"T1{suffix}")
    with open_dataset(path) as dataset:
        assert len(dataset.rows) == 3


def test_a_photograph_of_another_kind_is_named(tmp_path: Path) -> None:
    path = shop(tmp_path / "set", *SOUND)
    (path / "images" / "S2.jpg").rename(path / "images" / "S2.heic")
    with open_dataset(path) as dataset:
        (finding,) = dataset.report.findings
        assert (finding.id, finding.kind) == ("S2", "dropped")
        assert "images/S2.heic" in finding.reason
        assert dataset.report.dropped_reasons == {"no photograph": 1}


def test_a_name_that_is_not_utf8_is_shown_and_found(tmp_path: Path) -> None:
    path = shop(tmp_path / "set", *SOUND, row("été"), ids=("S1", "S2"))
    images = os.fsencode(path / "images")
    for name in (b"\xe9t\xe9.jpg", b"robe-\xe9.jpg", b"\x1b[31m\n.jpg"):
        Path(os.fsdecode(images + b"/" + name)).write_bytes(b"photograph")
    with open_dataset(path) as dataset:
        assert dataset.photograph("été") == b"photograph"
        assert [finding.reason for finding in dataset.report.findings] == [
            "no row names images/robe-é.jpg",
            "no row names images/\ufffd[31m\ufffd.jpg",
        ]
        dataset.report.to_json().encode()


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_may_be_composed_or_not(tmp_path: Path, table: str, disk: str) -> None:
    written, named = (unicodedata.normalize(form, "GRÖSSE-é") for form in (table, disk))  # type: ignore[arg-type]
    with open_dataset(shop(tmp_path / "set", *SOUND, row(written), ids=("S1", "S2", named))) as dataset:
        assert dataset.rows[2].id == written
        assert dataset.photograph(written) == b"photograph"
        assert dataset.report.findings == ()


class _MacInfo(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the flag that says so, as macOS writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(), self.flag_bits


@given(
    ids=st.lists(st.sampled_from(["S1", "GRÖSSE-é", "商品", "a.b", "x y", "É", "7#"]), min_size=1, unique=True),
    form=st.sampled_from(["NFC", "NFD"]),
    separator=st.sampled_from(["/", "\\"]),
    prefix=st.sampled_from(["", "./", ".\\", "shop/", "./shop/", "shop\\"]),
    kind=st.sampled_from([zipfile.ZipInfo, _MacInfo]),
)
def test_names_within_zips(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    form: str,
    separator: str,
    prefix: str,
    kind: type[zipfile.ZipInfo],
) -> None:
    path = tmp_path_factory.mktemp("zip") / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(kind(f"{prefix}styles.csv"), "\n".join([HEADER, *(row(each) for each in ids)]))
        archive.writestr(kind(f"{prefix}images{separator}"), b"")
        for each in ids:
            name = unicodedata.normalize(form, f"{prefix}images{separator}{each}.jpg")  # type: ignore[arg-type]
            archive.writestr(kind(name), each.encode())
    with open_dataset(path) as dataset:
        assert [each.id for each in dataset.rows] == ids
        assert [dataset.photograph(each) for each in ids] == [each.encode() for each in ids]
        assert dataset.report.findings == ()


class _FlaggedInfo(zipfile.ZipInfo):
    """A member whose name says that it is UTF-8, and is Latin-1."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode("latin-1"), self.flag_bits | 0x800


def test_a_zip_with_a_name_that_is_not_the_utf8_it_says_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("styles.csv", "\n".join([HEADER, row("S1"), row("GRÖSSE")]))
        archive.writestr(_FlaggedInfo("images/robe-\xe9t\xe9.jpg"), b"odd")
        archive.writestr("images/GRÖSSE.jpg", b"composed")
        archive.writestr("images/S1.jpg", b"photograph")
    with open_dataset(tmp_path / "set.zip") as dataset:
        assert [dataset.photograph(each.id) for each in dataset.rows] == [b"photograph", b"composed"]
        (finding,) = dataset.report.findings
        assert finding.kind == "note"
        dataset.report.to_json().encode()


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_every_row_is_kept_or_dropped_by_name(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = shop(tmp_path_factory.mktemp("any") / "set", *SOUND)
    with (path / "styles.csv").open("ab") as table:
        table.write(b"\n".join([*lines, row("S1").encode()]))
    with open_dataset(path) as dataset:
        report = dataset.report
        assert [each.id for each in dataset.rows[:2]] == ["S1", "S2"]
        assert report.rows_read == report.rows_kept + report.rows_dropped
        dropped = [finding for finding in report.findings if finding.kind == "dropped"]
        assert len(dropped) == report.rows_dropped == sum(report.dropped_reasons.values())
        report.to_json().encode()


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        ({"name": "x" * 1_000_000}, "repaired"),
        ({"colour": "x" * 129}, "repaired"),
        ({"colour": "x" * 1_000_000}, "repaired"),
        ({"gender": "x" * 1_000_000}, "repaired"),
    ],
)
def test_a_cell_of_any_length_ends_no_run(tmp_path: Path, cells: dict[str, str], outcome: str) -> None:
    with open_dataset(shop(tmp_path / "set", *SOUND, row("T1", **cells))) as dataset:
        (finding,) = dataset.report.findings
        assert (finding.id, finding.kind) == ("T1", outcome)
        assert all(len(each.name or "") <= 512 and len(each.base_colour or "") <= 128 for each in dataset.rows)


@pytest.mark.parametrize("year", ["9" * 5000, "02024", "2024.00", "-2024"])
def test_an_odd_year_is_left_out(tmp_path: Path, year: str) -> None:
    with open_dataset(shop(tmp_path / "set", *SOUND, row("T1").replace("2024", year))) as dataset:
        assert dataset.rows[2].year is None
        assert len(dataset.report.findings[0].reason) < 250


@pytest.mark.parametrize("product_id", ["A\x00B", "A\x1b[31m", "x" * 129])
def test_an_id_that_nothing_can_name_is_dropped(tmp_path: Path, product_id: str) -> None:
    with open_dataset(shop(tmp_path / "set", *SOUND, row(product_id), ids=("S1", "S2"))) as dataset:
        assert dataset.report.dropped_reasons == {"unusable id": 1}
        assert "\x1b" not in dataset.report.findings[0].id


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    with open_dataset(shop(tmp_path / "set", f"{SOUND[0]},Red", header=f"{HEADER},basecolour", ids=("S1",))) as dataset:
        assert dataset.rows[0].base_colour == "Blue"
        assert "baseColour" in dataset.report.findings[0].reason
