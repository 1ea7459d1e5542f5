"""Drawn products to mix into training, so that the demo's drawings are recognised as well as photographs are."""

from pathlib import Path
from typing import Final

from offline.dataset.files import PHOTOGRAPHS_FOLDER, STYLES_FILE
from offline.dataset.row import Row
from offline.dataset.split import styles_csv
from offline.drawn import catalogue_specs, draw_catalogue, draw_upload

# Never the demo's own (`offline.drawn.DEFAULT_SEED`), which shows what happens with products that are new.
_CATALOGUE_SEEDS: Final = (101, 102)
_UPLOAD_SEED: Final = 104
_UPLOAD_SHARE: Final = 0.2
_JPEG_QUALITY: Final = 90


def draw_for_training(folder: Path, products: int) -> tuple[Path, ...]:
    """Draws data sets of catalogue pictures and of shoppers' photographs, unless they are drawn already.

    Args:
        folder: their folder; each data set has one in it, named by its seed.
        products: number of products in all, at least 10.

    Returns:
        The data sets, in Kaggle's layout.
    """
    uploads = round(products * _UPLOAD_SHARE)
    each = (products - uploads) // len(_CATALOGUE_SEEDS)
    drawn = []
    for seed in _CATALOGUE_SEEDS:
        place = folder / str(seed)
        if not (place / STYLES_FILE).exists():
            draw_catalogue(place, seed=seed, products=each)
        drawn.append(place)
    place = folder / f"{_UPLOAD_SEED}-uploads"
    if not (place / STYLES_FILE).exists():
        _draw_uploads(place, uploads)
    return (*drawn, place)


def _draw_uploads(folder: Path, products: int) -> None:
    photographs = folder / PHOTOGRAPHS_FOLDER
    photographs.mkdir(parents=True, exist_ok=True)
    rows = []
    for spec in catalogue_specs(_UPLOAD_SEED, products):
        picture = draw_upload(spec, seed=_UPLOAD_SEED)
        picture.save(photographs / f"{spec.id}.jpg", "JPEG", quality=_JPEG_QUALITY)
        rows.append(
            Row(
                id=spec.id,
                gender=spec.gender,
                master_category=spec.master_category,
                sub_category=spec.sub_category,
                article_type=spec.article_type,
                base_colour=spec.base_colour,
                season=spec.season,
                year=spec.year,
                usage=spec.usage,
                name=spec.name,
            )
        )
    # Last, as the catalogue's table is: without it the folder is no data set.
    (folder / STYLES_FILE).write_bytes(styles_csv(rows))
