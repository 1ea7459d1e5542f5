"""The demo catalogue: which products it holds, their photographs, and the folder they are written to."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from PIL import Image, ImageChops, ImageFilter

from offline.dataset.cells import cell_of
from offline.dataset.files import PHOTOGRAPHS_FOLDER, STYLES_FILE
from offline.dataset.row import COLUMNS
from offline.drawn.assortment import ARTISTS, LINES, Line
from offline.drawn.offer import attributes_of, price_of
from offline.drawn.spec import ProductSpec
from services.contract.errors import InvalidInput

DEFAULT_SEED = 7
DEFAULT_PRODUCTS = 480
MAX_PRODUCTS = 5000
_FIRST_ID = 10001
_JPEG_QUALITY = 90

# Invented: no shop of these names is meant.
_BRANDS = (
    "Harbour",
    "Alderbrook",
    "Fjordline",
    "Lumenwear",
    "Copperleaf",
    "Marlowe Lane",
    "Junipero",
    "Saltmarsh",
    "Quillstone",
    "Northbeam",
    "Pebble & Pine",
    "Tansyfield",
    "Orchard Nine",
    "Velora",
    "Brightwater",
    "Wrenfield",
)
_SEASONS = ("Summer", "Fall", "Winter", "Spring")
_PLAIN = frozenset({"Solid"})


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A drawn photograph of something that is in no catalogue, with what it truly shows.

    Attributes:
        name: a file name without suffix, such as "yellow-shirt".
        spec: its labels.
        photograph: JPEG.
    """

    name: str
    spec: ProductSpec
    photograph: bytes


def draw_product(spec: ProductSpec) -> Image.Image:
    """Draw a product as a shop photographs it.

    Args:
        spec: the product.

    Returns:
        RGB, 360 x 480 (width x height), on white.

    Raises:
        InvalidInput: the article type is not one that can be drawn.
    """
    try:
        artist = ARTISTS[spec.article_type]
    except KeyError:
        raise InvalidInput(
            f"There is no drawing of article type {spec.article_type!r}; known are {', '.join(ARTISTS)}.",
            reason="ARTICLE_TYPE_UNKNOWN",
        ) from None
    return artist(spec, Random(f"{spec.seed} {spec.gender} {spec.article_type} {spec.cut}"))


def draw_upload(spec: ProductSpec, *, seed: int = DEFAULT_SEED) -> Image.Image:
    """Draw a product as a shopper photographs it: a little askew and off centre, in uneven, warm light.

    Args:
        spec: the product.
        seed: decides light and framing.

    Returns:
        RGB, 540 x 720 (width x height).

    Raises:
        InvalidInput: the article type is not one that can be drawn.
    """
    draw = Random(f"upload {seed} {spec.seed}")
    picture = draw_product(spec).resize((540, 720), Image.Resampling.LANCZOS)
    move = (
        1.0,
        draw.uniform(-0.02, 0.02),
        draw.uniform(-12, 12),
        draw.uniform(-0.02, 0.02),
        1.0,
        draw.uniform(-12, 12),
    )
    picture = picture.transform(
        picture.size, Image.Transform.AFFINE, move, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255)
    )
    light = Image.radial_gradient("L").resize((1080, 1440), Image.Resampling.BICUBIC)
    x, y = round(draw.uniform(180, 360)), round(draw.uniform(160, 320))
    light = light.crop((x, y, x + 540, y + 720))
    warm = Image.merge(
        "RGB",
        tuple(
            light.point([round(top - v * fall) for v in range(256)])
            for top, fall in ((254, 0.1), (251, 0.11), (244, 0.13))
        ),
    )
    return ImageChops.multiply(picture, warm).filter(ImageFilter.GaussianBlur(0.6))


def catalogue_specs(seed: int = DEFAULT_SEED, products: int = DEFAULT_PRODUCTS) -> tuple[ProductSpec, ...]:
    """The products of a catalogue, in the order of their ids.

    Args:
        seed: another seed gives other products.
        products: how many, in [1, 5000].

    Raises:
        InvalidInput: `products` is out of range.
    """
    if not 1 <= products <= MAX_PRODUCTS:
        raise InvalidInput(
            f"The number of products must be 1 to {MAX_PRODUCTS}, not {products}.", reason="PRODUCTS_OUT_OF_RANGE"
        )
    draw = Random(f"catalogue {seed}")
    taken: set[tuple[str, str]] = set()
    specs: list[ProductSpec] = []
    for line, count in zip(LINES, _counts(products), strict=True):
        families = _families(line, draw, taken)
        found: list[ProductSpec] = []
        while len(found) < count:
            found += next(families)
        specs += found[:count]
    draw.shuffle(specs)
    return tuple(replace(spec, id=str(_FIRST_ID + at)) for at, spec in enumerate(specs))


def _counts(products: int) -> list[int]:
    """How many products of each line, in its share; largest remainders are rounded up."""
    total = sum(line.share for line in LINES)
    exact = [line.share * products / total for line in LINES]
    counts = [int(count) for count in exact]
    order = sorted(range(len(LINES)), key=lambda at: (counts[at] - exact[at], at))
    for at in order[: products - sum(counts)]:
        counts[at] += 1
    return counts


def _families(line: Line, draw: Random, taken: set[tuple[str, str]]) -> Iterator[list[ProductSpec]]:
    """Products of one line without end; a family is one product, or one product in several colourways."""
    colours = _shuffled_for_ever(line.colours, draw)
    cuts = _shuffled_for_ever(line.cuts, draw)
    patterns = _shuffled_for_ever(line.patterns, draw)
    while True:
        cut, pattern = next(cuts), next(patterns)
        if line.article_type == "Skirts" and cut == "denim":
            pattern = "Solid"
        ways = draw.choice((2, 3)) if draw.random() < 0.22 else 1
        family: dict[str, None] = {}
        while len(family) < min(ways, len(set(line.colours))):
            family[next(colours)] = None
        if pattern in _PLAIN and len(family) > 1:
            family.pop("Multi", None)
        seed, season, usage = draw.randrange(1 << 30), draw.choice(_SEASONS), draw.choice(line.usages)
        year = draw.choice((2016, 2017, 2018))
        name = _name(line, cut, pattern, list(family), draw, taken)
        yield [
            ProductSpec(
                id="",
                gender=line.gender,
                master_category=line.master_category,
                sub_category=line.sub_category,
                article_type=line.article_type,
                base_colour=colour,
                season=season,
                year=year,
                usage=usage,
                name=name,
                pattern=pattern,
                cut=cut,
                seed=seed,
            )
            for colour in family
        ]


def _name(line: Line, cut: str, pattern: str, colours: list[str], draw: Random, taken: set[tuple[str, str]]) -> str:
    """A name of its own; colourways share theirs, so it leaves out the colour."""
    words = [line.gender]
    if pattern not in _PLAIN:
        words.append(pattern)
    if len(colours) == 1:
        words.append(colours[0])
    style = {"polo": "Polo", "v-neck": "V-Neck", "hightop": "High-Top", "loafer": "Loafer"}.get(cut)
    words += [style, line.noun] if style else [line.noun]
    brands = list(_BRANDS)
    draw.shuffle(brands)
    number = 1
    while True:
        for brand in brands:
            name = " ".join([brand, *words]) + (f" {number}" if number > 1 else "")
            if not any((name, colour) in taken for colour in colours):
                taken.update((name, colour) for colour in colours)
                return name
        number += 1


def _shuffled_for_ever(choices: tuple[str, ...], draw: Random) -> Iterator[str]:
    """All choices in random order, again and again, so that each comes up equally often."""
    while True:
        order = list(choices)
        draw.shuffle(order)
        yield from order


def draw_catalogue(folder: Path, *, seed: int = DEFAULT_SEED, products: int = DEFAULT_PRODUCTS) -> None:
    """Draw a catalogue into a folder in Kaggle's layout; the same seed and Pillow give the same bytes.

    Args:
        folder: created if missing; must be empty.
        seed: another seed gives other products.
        products: how many, in [1, 5000].

    Raises:
        InvalidInput: `products` is out of range, or `folder` is a file or not empty.
    """
    specs = catalogue_specs(seed, products)
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file, not a folder: name a folder.", reason="NOT_A_FOLDER")
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"The folder {folder} is not empty: name a new one.", reason="FOLDER_NOT_EMPTY")
    photographs = folder / PHOTOGRAPHS_FOLDER
    photographs.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        (photographs / f"{spec.id}.jpg").write_bytes(_jpeg(draw_product(spec)))
    # Last: a folder without its table is no data set, so a drawing that was broken off is not taken for one.
    (folder / STYLES_FILE).write_bytes(_table(specs))


def held_out_photographs(seed: int = DEFAULT_SEED) -> tuple[HeldOut, ...]:
    """Drawn photographs of products that no catalogue holds, for showing what a search by photograph does."""
    wanted = (
        ("yellow-shirt", "Men", "Shirts", "Yellow", "Checked", "long"),
        ("red-handbag", "Women", "Handbags", "Red", "Solid", "satchel"),
        ("blue-sports-shoe", "Men", "Sports Shoes", "Blue", "Solid", "running"),
        ("pink-dress", "Women", "Dresses", "Pink", "Floral", "flare"),
        ("boys-green-tshirt", "Boys", "Tshirts", "Green", "Printed", "crew"),
        ("silver-watch", "Women", "Watches", "Silver", "Solid", "round"),
    )
    draw = Random(f"held out {seed}")
    found = []
    for name, gender, article_type, colour, pattern, cut in wanted:
        line = next(li for li in LINES if (li.gender, li.article_type) == (gender, article_type))
        spec = ProductSpec(
            id=name,
            gender=gender,
            master_category=line.master_category,
            sub_category=line.sub_category,
            article_type=article_type,
            base_colour=colour,
            season="Summer",
            year=2018,
            usage=line.usages[0],
            name=f"{gender} {colour} {line.noun}",
            pattern=pattern,
            cut=cut,
            # Catalogues draw theirs below 2**30, so none can hold this product.
            seed=(1 << 30) + draw.randrange(1 << 30),
        )
        found.append(HeldOut(name, spec, _jpeg(draw_upload(spec, seed=seed))))
    return tuple(found)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _table(specs: tuple[ProductSpec, ...]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "brand", "price", "attributes"))
    for spec in specs:
        labels = (
            spec.id,
            spec.gender,
            spec.master_category,
            spec.sub_category,
            spec.article_type,
            spec.base_colour,
        )
        # Every name of the catalogue begins with its brand.
        brand = next(each for each in _BRANDS if spec.name.startswith(each))
        offer = (cell_of(price_of(spec)), cell_of(attributes_of(spec)))
        writer.writerow((*labels, spec.season, spec.year, spec.usage, spec.name, brand, *offer))
    return text.getvalue().encode()
