"""How much a model still finds where photographs are altered as shoppers' uploads are."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from offline.dataset.rows import Dataset
from offline.evaluate.alterations import ALTERATIONS, Alteration
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import TOP_K, all_right, right_results
from services.embedder.encoder import Encoder
from services.vision import decode, prepare

UNALTERED = "unaltered"
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class RobustnessRow:
    """The answers to photographs that are altered in one way.

    Attributes:
        alteration: its name; `UNALTERED` for the original photographs.
        description: the alteration in words.
        sub_category: the share of queries whose subCategory is recognised.
        derived_type: the share of queries whose derived type is recognised.
        inventory: the share of queries whose results in the whole inventory are all of the derived type.
        photograph: the same within the predicted derived type, as the services answer a photograph.
    """

    alteration: str
    description: str
    sub_category: float
    derived_type: float
    inventory: float
    photograph: float


def evaluate_robustness(
    dataset: Dataset,
    queries: ProductTable,
    catalogue: ProductTable,
    service: LocalService,
    encoder: Encoder,
    seed: int,
    advance: Callable[[int], None],
) -> list[RobustnessRow]:
    """Alters the queries' photographs in every way, embeds them, and asks as users would.

    Args:
        dataset: the photographs.
        queries: the products to ask for, with the embeddings of the original photographs.
        catalogue: the products of `service`.
        service: the services over the catalogue.
        encoder: computes the embeddings.
        seed: seeds the alterations; the same seed alters a photograph in the same way.
        advance: takes how many more photographs are done.
    """
    rows = [_row(UNALTERED, "as they are", queries, catalogue, service)]
    for name, alteration in ALTERATIONS.items():
        altered = _altered(dataset, queries, encoder, name, alteration, seed, advance)
        description = (alteration.__doc__ or "").rstrip(".")
        rows.append(_row(name, description, altered, catalogue, service))
    return rows


def alter(content: bytes, name: str, alteration: Alteration, product_id: str, seed: int) -> bytes:
    """Returns an altered photograph as PNG; seed, alteration and product decide all randomness."""
    digest = hashlib.sha256(f"{seed} {name} {product_id}".encode()).digest()
    random = np.random.default_rng(list(digest))
    file = io.BytesIO()
    alteration(decode(content), random).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _altered(
    dataset: Dataset,
    queries: ProductTable,
    encoder: Encoder,
    name: str,
    alteration: Alteration,
    seed: int,
    advance: Callable[[int], None],
) -> ProductTable:
    embeddings = []
    for start in range(0, len(queries), _PICTURES_AT_ONCE):
        ids = queries.ids[start : start + _PICTURES_AT_ONCE]
        pixels = [prepare(alter(dataset.photograph(one), name, alteration, one, seed), encoder.frame) for one in ids]
        embeddings.append(encoder.encode(np.stack(pixels)))
        advance(len(ids))
    return replace(queries, embeddings=np.concatenate(embeddings))


def _row(
    name: str, description: str, queries: ProductTable, catalogue: ProductTable, service: LocalService
) -> RobustnessRow:
    answers = service.classify(queries)
    sub_categories = [answer.sub_categories[0].label if answer.sub_categories else None for answer in answers]
    derived_types = [answer.derived_types[0].label if answer.derived_types else None for answer in answers]
    shares = []
    for path in ("inventory", "photograph"):
        results = service.serve(path, queries, TOP_K, lambda steps: None).results
        right, _ = right_results(queries.derived_types, catalogue.derived_types, results)
        shares.append(float(all_right(right, results).mean()))
    return RobustnessRow(
        name,
        description,
        _share(sub_categories, queries.sub_categories),
        _share(derived_types, queries.derived_types),
        *shares,
    )


def _share(answers: Sequence[str | None], truth: Sequence[str]) -> float:
    return float(np.mean([answer == label for answer, label in zip(answers, truth, strict=True)]))


def robustness_sheet(dataset: Dataset, product_ids: Sequence[str], seed: int, scale: int = 2) -> Image.Image:
    """Draws a row of altered photographs per product, the original first."""
    columns = [None, *ALTERATIONS.items()]
    rows = []
    for one in product_ids:
        content = dataset.photograph(one)
        rows.append([decode(content if c is None else alter(content, *c, one, seed)) for c in columns])
    width, height = 60 * scale, 80 * scale
    sheet = Image.new("RGB", (width * len(columns), height * len(rows)), (255, 255, 255))
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            picture.thumbnail((width, height))
            picture = picture.resize((width, round(picture.height * width / picture.width)))
            sheet.paste(picture.crop((0, 0, width, height)), (across * width, down * height))
    return sheet
