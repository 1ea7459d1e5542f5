"""A map of the catalogue in two dimensions, where similar products lie together: `map.json`, for the browser.

The document is {"products": [{"id", "x", "y", "name", "gender", "article_type", "sub_category", "base_colour",
"derived_type", "photograph_absent"}, …], "attributes": ["gender", …], "model_version", "catalogue_size", "sampled"}.
`x` and `y` are in 0..1 and keep the aspect; `name` and `base_colour` are null where they are unknown. `attributes` are
those that can colour the map. `photograph_absent` is true where there is no picture to show. `catalogue_size` counts
the products of the catalogue, `sampled` those in the document.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from offline.whole_file import whole_file
from services.contract.errors import FashionError, NotFound
from services.contract.values import Gender
from services.search.catalogue.content import StoredProduct
from services.search.catalogue.database import SqlValue, connect_read_only
from services.search.catalogue.generations import live_model, of_model
from services.search.catalogue.products import Product
from services.search.catalogue.rows import Read, read_products
from services.search.catalogue.store import DATABASE_FILE

ATTRIBUTES: Final = ("gender", "article_type", "sub_category", "base_colour", "derived_type")
MAX_PRODUCTS: Final = 5000
MAP_FILE: Final = Path("map") / "map.json"

# The authors of t-SNE advise it for many dimensions: "this suppresses some noise and speeds up the computation".
_COMPONENTS: Final = 50
_PERPLEXITY: Final = 30.0
# For fewer products neighbourhoods mean nothing, and principal components show everything.
_MIN_TSNE_PRODUCTS: Final = 10
_DECIMALS: Final = 4
_AT_ONCE: Final = 500
# Embeddings of the live model may lie beside the rows, during a change of the model.
_OF_MODEL: Final = (
    "SELECT id, gender, article_type FROM products WHERE model_version = ? OR photograph_sha256 IN"
    " (SELECT photograph_sha256 FROM embeddings WHERE model_version = ?) ORDER BY id"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Products of a catalogue with their embeddings.

    Attributes:
        products: ordered by id.
        embeddings: float32, shape (n, dimension), L2-normalised, all of one model.
        model_version: the version of that model.
        catalogue_size: the number of products in the catalogue, with those of other models.
    """

    products: tuple[Product, ...]
    embeddings: NDArray[np.float32]
    model_version: str
    catalogue_size: int


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueMap:
    """The places of a sample's products on the map.

    Attributes:
        sample: the products.
        places: float32, shape (n, 2), in 0..1: x, and y upwards.
    """

    sample: Sample
    places: NDArray[np.float32]

    def document(self) -> dict[str, Any]:
        """Returns the document that the module describes."""
        return {
            "products": [
                {
                    "id": product.id,
                    "x": round(float(x), _DECIMALS),
                    "y": round(float(y), _DECIMALS),
                    "name": product.name,
                    **{attribute: attribute_of(product, attribute) for attribute in ATTRIBUTES},
                    "photograph_absent": product.photograph_absent,
                }
                for product, (x, y) in zip(self.sample.products, self.places, strict=True)
            ],
            "attributes": list(ATTRIBUTES),
            "model_version": self.sample.model_version,
            "catalogue_size": self.sample.catalogue_size,
            "sampled": len(self.sample.products),
        }


def attribute_of(product: Product, attribute: str) -> str | None:
    """Returns one of `ATTRIBUTES` of a product as people read it; None where it is unknown."""
    value = getattr(product, attribute)
    return None if value is None else str(value.value if isinstance(value, Gender) else value)


def draw_sample(data_dir: Path, limit: int = MAX_PRODUCTS, seed: int = 1) -> Sample:
    """Reads random products, of every derived type its share, without disturbing a server on the same catalogue.

    Only products of the live model count, as embeddings of two models cannot be compared. Where none is known to be
    live, it is the most frequent one.

    Args:
        data_dir: the data directory of the catalogue.
        limit: the number of products at most.
        seed: seeds the choice.

    Raises:
        CatalogueUnusable: there is no catalogue, or it cannot be read.
        NotFound: CATALOGUE_EMPTY.
    """
    with closing(connect_read_only(data_dir / DATABASE_FILE)) as connection:
        # A transaction sees one state of the catalogue, whatever a server writes meanwhile.
        connection.execute("BEGIN")
        versions = connection.execute(
            "SELECT model_version, count(*) FROM products GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        if not versions:
            raise NotFound(f"The catalogue in {data_dir} is empty: ingest products first.", reason="CATALOGUE_EMPTY")

        def read(query: str, *parameters: SqlValue) -> list[sqlite3.Row]:
            return connection.execute(query, parameters).fetchall()

        model_version = live_model(read) or str(versions[0][0])
        strata: dict[tuple[str, str], list[str]] = {}
        for product_id, *key in read(_OF_MODEL, model_version, model_version):
            strata.setdefault((key[0], key[1]), []).append(product_id)
        chosen = stratified(strata, limit, np.random.default_rng(seed))
        found = _products(read, sorted(chosen), model_version)
    return Sample(
        products=tuple(each.product for each in found),
        embeddings=np.stack([each.embedding for each in found]).astype(np.float32),
        model_version=model_version,
        catalogue_size=sum(count for _, count in versions),
    )


def stratified(strata: Mapping[tuple[str, str], Sequence[str]], limit: int, random: np.random.Generator) -> list[str]:
    """Chooses at most `limit` of all ids, of each stratum its share, by largest remainders.

    Args:
        strata: the ids of each derived type.
        limit: the number of ids at most.
        random: chooses within a stratum.
    """
    keys = sorted(strata)
    sizes = np.array([len(strata[key]) for key in keys])
    total = int(sizes.sum())
    if total <= limit:
        return [product_id for key in keys for product_id in strata[key]]
    shares = sizes * limit / total
    counts = shares.astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: limit - int(counts.sum())]] += 1
    return [
        strata[key][at]
        for key, count in zip(keys, counts, strict=True)
        for at in random.choice(len(strata[key]), count, replace=False)
    ]


def lay_out(sample: Sample, seed: int = 1, say: Say = lambda stage: None) -> CatalogueMap:
    """Finds the place of each product: 50 principal components, then t-SNE (van der Maaten and Hinton, 2008).

    Args:
        sample: the products to lay out.
        seed: seeds t-SNE; the same sample and seed give the same map on one machine.
        say: takes the name of each stage as it begins.

    Raises:
        FashionError: EXTRA_MISSING; scikit-learn is not installed.
    """
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise missing_extra("A map", "scikit-learn") from error
    count, dimension = sample.embeddings.shape
    if count == 1:
        return CatalogueMap(sample, np.full((1, 2), 0.5, np.float32))
    say(f"principal components of {count:,} products")
    components = min(_COMPONENTS, count, dimension)
    reduced = PCA(components, random_state=seed).fit_transform(sample.embeddings)
    if count >= _MIN_TSNE_PRODUCTS:
        say(f"t-SNE of {count:,} products")
        perplexity = min(_PERPLEXITY, (count - 1) / 3)
        reduced = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
    places = np.zeros((count, 2), np.float32)
    places[:, : reduced.shape[1]] = reduced[:, :2]
    return CatalogueMap(sample, to_unit_square(places))


def to_unit_square(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales points into 0..1, both axes by one factor, and centres the shorter axis: float32, shape (n, 2)."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = float((high - low).max()) or 1.0
    moved: NDArray[np.float32] = np.clip((places - (low + high) / 2) / span + 0.5, 0.0, 1.0).astype(np.float32)
    return moved


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Writes a map so that a reader sees the old one or the new one, but never a part."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, separators=(",", ":"))


def missing_extra(what: str, library: str) -> FashionError:
    """Describes that a library of the extra `train` is not installed."""
    return FashionError(
        f"{what} needs {library}, which is not installed: run pip install 'fashion-recommender[train]'.",
        reason="EXTRA_MISSING",
    )


def _products(read: Read, product_ids: Sequence[str], model_version: str) -> list[StoredProduct]:
    found: list[StoredProduct] = []
    for at in range(0, len(product_ids), _AT_ONCE):
        some = of_model(read, read_products(read, product_ids[at : at + _AT_ONCE]), model_version)
        found += [each for _, each in sorted(some.items()) if each and each.content.model_version == model_version]
    return found
