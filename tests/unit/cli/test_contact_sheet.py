"""Contact sheets: what is where, and that nothing a catalogue may hold breaks them."""

import io
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from cli.contact_sheet import (
    MARGIN,
    QUERY,
    TILE,
    Section,
    Tile,
    _font,
    draw_contact_sheet,
    printable,
    shorten,
    wrap,
    write_contact_sheet,
)
from services.contract.values import Box

RED, GREEN, BLUE = (220, 20, 30), (10, 160, 40), (20, 40, 200)


def picture(colour: tuple[int, ...], size: tuple[int, int] = (60, 80), mode: str = "RGB", form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(buffer, form)
    return buffer.getvalue()


def section(results: int, query: bytes | None = None) -> Section:
    tile = Tile(picture(GREEN), ("0.900", "a name", "Green"))
    return Section("heading", "note", Tile(query or picture(RED), ("query",)), (tile,) * results)


def area_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    difference = ImageChops.difference(sheet, Image.new("RGB", sheet.size, colour)).convert("L")
    return difference.point(lambda value: 255 if value < 12 else 0).getbbox()


def runs(of: list[bool]) -> int:
    return sum(now and not before for before, now in pairwise([False, *of]))


def test_the_query_stands_left_of_the_results_and_larger() -> None:
    sheet = draw_contact_sheet("title", [section(3)])
    query, results = area_of(sheet, RED), area_of(sheet, GREEN)
    assert query is not None and results is not None
    assert query[2] < results[0]
    assert query[3] - query[1] > results[3] - results[1]
    assert query[1] == pytest.approx(results[1], abs=8)


@pytest.mark.parametrize(("results", "lines"), [(0, 1), (1, 1), (5, 1), (6, 2), (10, 2), (100, 20)])
def test_results_break_into_lines_of_five_and_the_sheet_is_high_enough(results: int, lines: int) -> None:
    sheet = draw_contact_sheet("title", [section(results)])
    assert sheet.height >= lines * TILE[1]
    if results:
        found = area_of(sheet, GREEN)
        assert found is not None
        assert found[2] <= sheet.width - MARGIN and found[3] <= sheet.height - MARGIN
        down = [sheet.getpixel((found[0] + 20, y)) == GREEN for y in range(sheet.height)]
        across = [sheet.getpixel((x, found[1] + 20)) == GREEN for x in range(sheet.width)]
        assert runs(down) == lines
        assert runs(across) == min(results, 5)


def test_several_queries_follow_one_another_downwards() -> None:
    one = draw_contact_sheet("title", [section(5)])
    two = draw_contact_sheet("title", [section(5), section(5, picture(BLUE))])
    first, second = area_of(two, RED), area_of(two, BLUE)
    assert first is not None and second is not None and first[3] < second[1]
    assert two.height > one.height * 1.5


def test_nothing_eligible_is_said() -> None:
    empty, full = draw_contact_sheet("t", [section(0)]), draw_contact_sheet("t", [section(1)])
    right = (MARGIN + QUERY[0] + 20, 0, empty.width, empty.height)
    assert area_of(empty, GREEN) is None
    assert ImageChops.difference(empty.crop(right), Image.new("RGB", empty.crop(right).size, "white")).getbbox()
    assert area_of(full, GREEN) is not None


def test_a_mark_frames_its_tile_and_no_other() -> None:
    plain = Tile(picture(GREEN), ("0.9",))
    marked = Tile(picture(GREEN), ("0.9",), mark="new")
    sheet = draw_contact_sheet("t", [Section("h", "n", Tile(None, ()), (plain, marked))])
    frame = area_of(sheet, (21, 128, 61))
    first = area_of(draw_contact_sheet("t", [Section("h", "n", Tile(None, ()), (plain,))]), GREEN)
    assert frame is not None and first is not None
    assert frame[0] > first[2]
    assert frame[2] - frame[0] >= TILE[0] - 1


def test_a_region_is_framed_within_the_query() -> None:
    query = Tile(picture(RED), ("q",), region=Box(0.25, 0.25, 0.75, 0.5))
    sheet = draw_contact_sheet("t", [Section("h", "n", query, ())])
    without = draw_contact_sheet("t", [Section("h", "n", Tile(picture(RED), ("q",)), ())])
    box = ImageChops.difference(sheet, without).getbbox()
    whole = area_of(without, RED)
    assert box is not None and whole is not None
    width, height = whole[2] - whole[0], whole[3] - whole[1]
    assert (box[0] - whole[0]) / width == pytest.approx(0.25, abs=0.03)
    assert (box[3] - whole[1]) / height == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image",
        picture(GREEN, form="JPEG")[:200],
        picture((120,), mode="L"),
        picture((0, 0, 0, 0), mode="CMYK", form="JPEG"),
        picture((*GREEN, 0), mode="RGBA"),
        picture((30000,), mode="I;16"),
        picture((0,), mode="P"),
        picture(GREEN, size=(1, 1)),
        picture(GREEN, size=(4000, 3)),
        None,
    ],
)
def test_no_photograph_breaks_a_sheet(content: bytes | None) -> None:
    sheet = draw_contact_sheet("t", [Section("h", "n", Tile(content, ("q",)), (Tile(content, ("1", "2", "3")),))])
    assert sheet.mode == "RGB"
    assert sheet.getpixel((2, 2)) == (255, 255, 255)


def test_transparency_is_laid_on_white() -> None:
    sheet = draw_contact_sheet("t", [Section("h", "n", Tile(picture((*RED, 0), mode="RGBA"), ("q",)), ())])
    assert area_of(sheet, RED) is None


def test_texts_are_cut_to_their_width_with_an_ellipsis() -> None:
    font = _font(14)
    assert shorten("short", font, 200) == "short"
    cut = shorten("a name that is far too long for its picture", font, 120)
    assert cut.endswith("…") and font.getlength(cut) <= 120
    assert shorten("anything", font, 0) == "…"


def test_long_names_are_wrapped_between_words_and_lose_none() -> None:
    font = _font(14)
    name = "Puma Men Striped Blue Polo T-shirt"
    lines = wrap(name, font, 120, 3)
    assert " ".join(lines) == name
    assert len(lines) == 2
    assert all(font.getlength(line) <= 120 for line in lines)
    assert wrap("short", font, 120, 2) == ["short"]
    assert wrap("", font, 120, 2) == []
    assert wrap("a b c d e f", font, 1, 2) == ["a", "b c d e f"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Puma T-shirt", "Puma T-shirt"),
        ("Crème brûlée", "Creme brulee"),
        ("a – b", "a - b"),
        ("上衣", "??"),
        ("½", "12"),
    ],
)
def test_what_the_font_lacks_is_written_without_boxes(text: str, shown: str) -> None:
    assert printable(text).replace("⁄", "") == shown


def test_the_file_is_a_png_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    write_contact_sheet(path, "title", [section(2)])
    with Image.open(path) as written:
        assert written.format == "PNG"
        assert written.size == draw_contact_sheet("title", [section(2)]).size
