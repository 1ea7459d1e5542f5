"""The products of an evaluation: labels and embeddings of a data set in Kaggle's layout."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from offline.dataset.row import Row
from offline.dataset.rows import Dataset
from offline.evaluate.cache import EmbeddingCache
from services.contract.errors import InvalidInput, NotFound
from services.contract.values import Gender, Photograph, Subject
from services.embedder.encoder import Encoder
from services.embedder.views import Prepared, embed_views, prepare_view
from services.search.catalogue.products import Product, validate_product

# Photographs between two writes to the cache: an interruption loses at most this many embeddings.
_CHUNK = 256
# Pixels per inference, 256 pictures of 80 x 64 or 26 of 224 x 224: their activations fit into half a gigabyte.
_PIXELS_AT_ONCE = 256 * 80 * 64


@dataclass(frozen=True, slots=True)
class DroppedProduct:
    """A product that the evaluation leaves out, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ProductTable:
    """Products and their embeddings, one per row.

    Attributes:
        products: shape (n,).
        embeddings: float32, or float16 as a catalogue stores them, shape (n, dimension), L2-normalised.
        dropped: the products of the data set that the table leaves out.
    """

    products: tuple[Product, ...]
    embeddings: NDArray[np.floating]
    dropped: tuple[DroppedProduct, ...] = ()

    def __len__(self) -> int:
        return len(self.products)

    @property
    def ids(self) -> list[str]:
        """Shape (n,)."""
        return [product.id for product in self.products]

    @property
    def genders(self) -> list[str | None]:
        """Shape (n,), whom each is for where it is known."""
        return [product.gender and product.gender.value for product in self.products]

    @property
    def article_types(self) -> list[str]:
        """Shape (n,)."""
        return [product.article_type for product in self.products]

    @property
    def sub_categories(self) -> list[str]:
        """Shape (n,)."""
        return [product.sub_category for product in self.products]

    @property
    def derived_types(self) -> list[str]:
        """Shape (n,), gender and article type."""
        return [product.derived_type for product in self.products]

    @property
    def colours(self) -> list[str | None]:
        """Shape (n,), the main colour where it is known."""
        return [product.base_colour for product in self.products]

    def holds(self, others: "ProductTable") -> bool:
        """Tells whether all of other products are among these, by id."""
        return set(others.ids) <= set(self.ids)

    def take(self, rows: Sequence[int]) -> Self:
        """Returns some rows, in strictly ascending order; this very table where they are all."""
        if len(rows) == len(self):
            return self
        return type(self)(tuple(self.products[row] for row in rows), self.embeddings[list(rows)], self.dropped)


def product_of(row: Row) -> Product:
    """Makes a product of a row, under the limits that an ingested one is under.

    Raises:
        InvalidInput: the row's id or a label of it is refused.
    """
    values = {each.name: getattr(row, each.name) for each in fields(row)}
    return validate_product(**{**values, "gender": row.gender and Gender(row.gender)})


@dataclass(frozen=True, slots=True)
class _Photograph:
    product: Product
    # Of the file, and of what is looked at.
    digest: bytes
    photograph: Photograph


@dataclass(frozen=True, slots=True)
class DatasetEmbedder:
    """Embeds the photographs of data sets with the code that serves.

    Attributes:
        encoder: the model.
        cache: the embeddings that are known already; takes each new one as soon as it is computed.
        threads: the number of photographs to decode at once.
    """

    encoder: Encoder
    cache: EmbeddingCache
    threads: int

    def embed(
        self,
        dataset: Dataset,
        rows: Sequence[Row],
        dtype: type[np.float16] | type[np.float32],
        advance: Callable[[int], None],
        alter: Callable[[bytes, str], bytes] | None = None,
        subject: Subject = Subject.WHOLE,
    ) -> ProductTable:
        """Embeds the photographs of a data set, or takes their embeddings from the cache.

        Args:
            dataset: the data set.
            rows: the rows of the data set to take.
            dtype: float16, as a catalogue stores embeddings; float32, as the embedder returns them.
            advance: takes how many more products are done.
            alter: takes a photograph's file and its product's id, and returns the file to embed instead; None for the
                file itself.
            subject: what of the photographs is looked at.

        Returns:
            The products in the order of `rows`, without those that cannot be read or decoded.

        Raises:
            InvalidInput: no product is left, or the cache cannot be used.
        """
        products: list[Product] = []
        vectors = np.empty((len(rows), self.encoder.model.dimension), dtype=dtype)
        findings = dataset.report.findings
        dropped = [DroppedProduct(finding.id, finding.reason) for finding in findings if finding.kind == "dropped"]
        with ThreadPoolExecutor(max_workers=self.threads, thread_name_prefix="decode") as pool:
            for chunk in _chunks(rows):
                photographs, unreadable = _read(dataset, chunk, alter, subject)
                known, refused = _embed(photographs, self.encoder, self.cache, pool)
                dropped += unreadable + refused
                for photograph in photographs:
                    if photograph.digest in known:
                        vectors[len(products)] = known[photograph.digest]
                        products.append(photograph.product)
                advance(len(chunk))
        if not products:
            raise InvalidInput(
                f"{dataset.report.path} has no product with a usable photograph.", reason="DATASET_EMPTY"
            )
        return ProductTable(tuple(products), vectors[: len(products)], tuple(dropped))


def drawn(count: int, limit: int | None, seed: int) -> list[int]:
    """Returns at most `limit` random positions of `count`, in ascending order; all of them for None."""
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, size=limit, replace=False).tolist())


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _read(
    dataset: Dataset, rows: Sequence[Row], alter: Callable[[bytes, str], bytes] | None, subject: Subject
) -> tuple[list[_Photograph], list[DroppedProduct]]:
    photographs: list[_Photograph] = []
    dropped: list[DroppedProduct] = []
    for row in rows:
        try:
            product = product_of(row)
            content = dataset.photograph(row.id)
            content = content if alter is None else alter(content, row.id)
        except (InvalidInput, NotFound) as error:
            dropped.append(DroppedProduct(row.id, error.message))
        else:
            digest = hashlib.sha256(content)
            if subject is not Subject.WHOLE:
                digest.update(subject.value.encode())
            photographs.append(_Photograph(product, digest.digest(), Photograph(content, subject=subject)))
    return photographs, dropped


def _embed(
    photographs: Sequence[_Photograph], encoder: Encoder, cache: EmbeddingCache, pool: ThreadPoolExecutor
) -> tuple[dict[bytes, NDArray[np.float32]], list[DroppedProduct]]:
    known = dict(cache.read(list({photograph.digest for photograph in photographs})))
    unknown = {photograph.digest: photograph for photograph in photographs if photograph.digest not in known}
    if not unknown:
        return known, []
    files = {digest: each.photograph for digest, each in unknown.items()}
    futures = {digest: pool.submit(prepare_view, file, encoder.frame) for digest, file in files.items()}
    prepared: dict[bytes, Prepared] = {}
    reasons: dict[bytes, str] = {}
    for digest, future in futures.items():
        try:
            prepared[digest] = future.result()
        except InvalidInput as error:
            reasons[digest] = error.message
    if prepared:
        readable = [files[digest] for digest in prepared]
        new = dict(zip(prepared, _encode(encoder, readable, list(prepared.values())), strict=True))
        cache.write(new)
        known |= new
    return known, [
        DroppedProduct(photograph.product.id, reasons[photograph.digest])
        for photograph in photographs
        if photograph.digest in reasons
    ]


def _encode(
    encoder: Encoder, photographs: Sequence[Photograph], prepared: Sequence[Prepared]
) -> Iterator[NDArray[np.float32]]:
    size = max(1, _PIXELS_AT_ONCE // (encoder.frame.height * encoder.frame.width))
    for start in range(0, len(prepared), size):
        yield from embed_views(encoder, photographs[start : start + size], prepared[start : start + size])
