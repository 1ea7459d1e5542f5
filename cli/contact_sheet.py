"""Contact sheets: one picture with each query at the left and its results at the right."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

from services.contract.errors import FashionError
from services.contract.values import Box
from services.vision import ImageLimits, decode

# All lengths are pixels.
MARGIN = 32
GAP = 18
RESULTS_PER_LINE = 5
TILE = (168, 212)
QUERY = (252, 320)
CAPTION_LINES = 3

_PAPER = (255, 255, 255)
_INK = (24, 24, 27)
_GREY = (113, 113, 122)
_HAIRLINE = (228, 228, 231)
_ACCENT = (190, 24, 93)
_MARK_COLOURS = {"new": (21, 128, 61), "leaves": (180, 83, 9)}
_TITLE_SIZE, _HEADING_SIZE, _TEXT_SIZE, _SMALL_SIZE = 26, 19, 15, 14
_LINE = 20
# Whatever the server took as a photograph is shown.
_LIMITS = ImageLimits(max_bytes=256 * 1024 * 1024, max_pixels=100_000_000, min_side=1)

Rgb = tuple[int, int, int]
Mark = Literal["new", "leaves"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with its caption.

    Attributes:
        picture: an encoded photograph; None for an empty place.
        caption: the texts below it, the first in darker ink; the last wraps into the lines that are left.
        mark: a tag in the corner: "new" in this list, or "leaves" in the next one.
        region: the part of the photograph to frame.
    """

    picture: bytes | None
    caption: tuple[str, ...]
    mark: Mark | None = None
    region: Box | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One query and its results, with a heading and one line of explanation."""

    heading: str
    note: str
    query: Tile
    results: tuple[Tile, ...]


def draw_contact_sheet(title: str, sections: Sequence[Section]) -> Image.Image:
    """Draws a contact sheet on white.

    Args:
        title: the first line.
        sections: the sections from top to bottom.

    Returns:
        An RGB picture.
    """
    width = MARGIN * 2 + QUERY[0] + GAP * 2 + RESULTS_PER_LINE * TILE[0] + (RESULTS_PER_LINE - 1) * GAP
    heights = [_section_height(section) for section in sections]
    sheet = Image.new("RGB", (width, MARGIN * 2 + 40 + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, MARGIN - 6), title, _TITLE_SIZE, _INK, width - 2 * MARGIN)
    top = MARGIN + 40
    for section, height in zip(sections, heights, strict=True):
        _draw_section(sheet, draw, section, top, width)
        top += height
    return sheet


def write_contact_sheet(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Draws a contact sheet and writes it as PNG into a folder that need not exist.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_contact_sheet(title, sections).save(path, format="PNG", optimize=True)


def _lines_of_tiles(section: Section) -> int:
    return max(1, -(-len(section.results) // RESULTS_PER_LINE))


def _tile_height() -> int:
    return TILE[1] + 6 + CAPTION_LINES * _LINE + GAP


def _section_height(section: Section) -> int:
    query = QUERY[1] + 6 + len(section.query.caption) * _LINE + GAP
    return 66 + max(query, _lines_of_tiles(section) * _tile_height()) + 10


def _draw_section(sheet: Image.Image, draw: ImageDraw.ImageDraw, section: Section, top: int, width: int) -> None:
    inner = width - 2 * MARGIN
    draw.line((MARGIN, top, width - MARGIN, top), fill=_HAIRLINE, width=1)
    _text(draw, (MARGIN, top + 10), section.heading, _HEADING_SIZE, _INK, inner)
    _text(draw, (MARGIN, top + 36), section.note, _SMALL_SIZE, _GREY, inner)
    top += 66
    _draw_tile(sheet, draw, section.query, (MARGIN, top), QUERY, _ACCENT)
    left = MARGIN + QUERY[0] + GAP * 2
    if not section.results:
        _text(draw, (left, top + 8), "No product is eligible.", _TEXT_SIZE, _GREY, inner)
    for at, tile in enumerate(section.results):
        line, column = divmod(at, RESULTS_PER_LINE)
        place = (left + column * (TILE[0] + GAP), top + line * _tile_height())
        _draw_tile(sheet, draw, tile, place, TILE, _HAIRLINE)


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], size: tuple[int, int], frame: Rgb
) -> None:
    left, top = at
    width, height = size
    picture = _open(tile.picture)
    if picture is None:
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=(250, 250, 250))
        _text(draw, (left + 12, top + height // 2 - 8), "no photograph", _SMALL_SIZE, _GREY, width - 24)
    else:
        fitted = ImageOps.contain(picture, (width - 12, height - 12), Image.Resampling.LANCZOS)
        corner = (left + (width - fitted.width) // 2, top + (height - fitted.height) // 2)
        sheet.paste(fitted, corner)
        if tile.region is not None:
            _frame_region(draw, tile.region, corner, fitted.size)
    border = _MARK_COLOURS[tile.mark] if tile.mark else frame
    thick = 2 if tile.mark or frame == _ACCENT else 1
    draw.rectangle((left, top, left + width - 1, top + height - 1), outline=border, width=thick)
    if tile.mark:
        _tag(draw, (left, top), tile.mark, border)
    for number, line in enumerate(_caption(tile, width)):
        size_of, colour = (_TEXT_SIZE, _INK) if number == 0 else (_SMALL_SIZE, _GREY)
        _text(draw, (left, top + height + 6 + number * _LINE), line, size_of, colour, width)


def _caption(tile: Tile, width: int) -> list[str]:
    lines = list(tile.caption)
    if 1 < len(lines) < CAPTION_LINES:
        lines[-1:] = wrap(printable(lines[-1]), _font(_SMALL_SIZE), width, CAPTION_LINES + 1 - len(lines))
    return lines


def _frame_region(draw: ImageDraw.ImageDraw, region: Box, corner: tuple[int, int], size: tuple[int, int]) -> None:
    box = (
        corner[0] + region.left * size[0],
        corner[1] + region.top * size[1],
        corner[0] + region.right * size[0],
        corner[1] + region.bottom * size[1],
    )
    draw.rectangle(box, outline=_ACCENT, width=2)


def _tag(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: Rgb) -> None:
    font = _font(_SMALL_SIZE)
    width = round(font.getlength(text)) + 14
    draw.rectangle((at[0], at[1], at[0] + width, at[1] + 21), fill=colour)
    draw.text((at[0] + 7, at[1] + 2), text, font=font, fill=_PAPER)


def _open(content: bytes | None) -> Image.Image | None:
    """Decodes a photograph upright on white; returns None for one that cannot be decoded."""
    if content is None:
        return None
    try:
        return decode(content, _LIMITS)
    except FashionError:
        # The server judges photographs; a sheet just leaves the place empty.
        return None


def _text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: Rgb, max_width: int) -> None:
    font = _font(size)
    draw.text(at, shorten(printable(text), font, max_width), font=font, fill=colour)


def shorten(text: str, font: ImageFont.FreeTypeFont, max_width: int) -> str:
    """Cuts a text to at most `max_width` pixels, with an ellipsis for what is missing."""
    if font.getlength(text) <= max_width:
        return text
    end = len(text)
    while end and font.getlength(text[:end].rstrip() + "…") > max_width:
        end -= 1
    return text[:end].rstrip() + "…"


def wrap(text: str, font: ImageFont.FreeTypeFont, max_width: int, max_lines: int) -> list[str]:
    """Breaks a text between words into lines of at most `max_width` pixels; the last line holds the rest."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < max_lines - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= max_width:
            count += 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    return [*lines, " ".join(words)] if words else lines


def printable(text: str) -> str:
    """Replaces characters that the bundled font lacks: accents go, other scripts become "?"."""
    return "".join(_glyph(character) for character in text)


@lru_cache(maxsize=4096)
def _glyph(character: str) -> str:
    if _has_glyph(character):
        return character
    if unicodedata.category(character) == "Pd":
        return "-"
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if part.isascii() and part.isprintable())
    return plain or ("" if unicodedata.combining(character) else "?")


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    font = _font(_TEXT_SIZE)
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "Contact sheets need FreeType, and this Pillow was built without it: install Pillow from PyPI."
        )
    return font
