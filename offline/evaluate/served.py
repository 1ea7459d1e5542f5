"""Puts the parts that serve users over a catalogue, and asks them what users would be shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from offline.evaluate.leave_one_out import medoids_without_each
from offline.evaluate.metrics import MISSING
from offline.evaluate.products import ProductTable
from offline.evaluate.reported import Path
from offline.evaluate.retrieval import Served
from services.candidates import compute_candidates
from services.classifier.candidates import CandidateIndex
from services.classifier.recognition import ClassifierModel, classify_batch
from services.contract import CandidateSet, Classification, Gender
from services.search.indexes.base import Eligibility, Index, IndexedProduct
from services.search.products import Product

# Queries that a thread answers before it reports.
_QUERIES_AT_A_TIME = 32
# Embeddings that are classified at a time, and for that in float32.
_ROWS_AT_A_TIME = 1024

Kind = tuple[str, Gender, str]


class LocalService:
    """The index, the candidates and the classifier of one catalogue, as the services put them together.

    A product that is asked about is left out of everything: of the results, and of the candidates too, where it is one
    or where another would be one without it.
    """

    def __init__(self, catalogue: ProductTable, model: ClassifierModel, index: Index, threads: int) -> None:
        """Loads the index and computes the candidates.

        Args:
            catalogue: what is searched.
            model: the classifier's heads.
            index: empty, of the dimension of the embeddings.
            threads: how many queries are answered at once.
        """
        self._model = model
        self._index = index
        self._threads = threads
        self._products = catalogue.products
        # What the catalogue keeps, and thus what the index and the candidates see.
        self._embeddings = catalogue.embeddings.astype(np.float16, copy=False)
        self._row_of = {product.id: row for row, product in enumerate(catalogue.products)}
        index.load(self._batches(), index_version=1)
        self.candidates = compute_candidates(
            model.model_version,
            embeddings=self._embeddings,
            product_ids=[product.id for product in catalogue.products],
            sub_categories=catalogue.sub_categories,
            genders=[product.gender for product in catalogue.products],
            article_types=catalogue.article_types,
        )

    def serve(self, path: Path, queries: ProductTable, k: int, advance: Callable[[int], None]) -> Served:
        """Answers queries as if the query's own product were not in the catalogue.

        Args:
            path: "inventory" searches the whole catalogue; "photograph" the derived type that the classifier finds,
                or the whole catalogue where that has no other product.
            queries: what is searched for.
            k: how many results to return at most.
            advance: told how many more queries are answered.
        """
        types: Sequence[str | None] = [None] * len(queries)
        if path == "photograph":
            types = [found.derived_types[0].label if found.derived_types else None for found in self.classify(queries)]
        vectors = queries.embeddings
        results = np.full((len(queries), k), MISSING, dtype=np.int64)

        def answer(start: int) -> int:
            end = min(start + _QUERIES_AT_A_TIME, len(queries))
            fell_back = 0
            for row in range(start, end):
                found, widened = self._search(unit(vectors[row]), queries.products[row].id, types[row], k)
                results[row, : len(found)] = found
                fell_back += widened
            advance(end - start)
            return fell_back

        with ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="search") as pool:
            fell_back = sum(pool.map(answer, range(0, len(queries), _QUERIES_AT_A_TIME)))
        return Served(results, fell_back + types.count(None) if path == "photograph" else 0)

    def classify(self, queries: ProductTable) -> list[Classification]:
        """Classifies queries as if the query's own product were not in the catalogue."""
        found = self._classify(self.candidates, queries.embeddings)
        own = {self._row_of[product_id]: at for at, product_id in enumerate(queries.ids) if product_id in self._row_of}
        if not own:
            return found
        for (kind, medoid), rows in self._changes().items():
            asked = [own[row] for row in rows if row in own]
            if asked:
                without = self._replaced(kind, medoid)
                for at, classification in zip(asked, self._classify(without, queries.embeddings[asked]), strict=True):
                    found[at] = classification
        return found

    def derived_types_by_centroids(self, queries: ProductTable) -> list[str | None]:
        """The derived type by the service's rule, but with each kind's mean embedding in place of its medoid.

        Args:
            queries: products that the catalogue does not hold.
        """
        sums = {kind: np.zeros(self._embeddings.shape[1]) for kind in _kinds(self.candidates)}
        for product, embedding in zip(self._products, self._embeddings, strict=True):
            sums[_kind(product)] += embedding
        means = np.stack([total / np.linalg.norm(total) for total in sums.values()]).astype(np.float32)
        found = self._classify(replace(self.candidates, embeddings=means), queries.embeddings)
        return [one.derived_types[0].label if one.derived_types else None for one in found]

    def _search(
        self, query: NDArray[np.float32], own_id: str, derived_type: str | None, k: int
    ) -> tuple[list[int], bool]:
        everything = Eligibility(excluded_ids=frozenset({own_id}))
        widened = False
        if derived_type is None:
            answer = self._index.search(query, k, everything)
        else:
            answer = self._index.search(query, k, replace(everything, derived_types=frozenset({derived_type})))
            if not answer.eligible_count:
                widened = True
                answer = self._index.search(query, k, everything)
        return [self._row_of[hit.product.id] for hit in answer.hits], widened

    def _classify(self, candidates: CandidateSet, embeddings: NDArray[np.floating]) -> list[Classification]:
        index = None
        if candidates.product_ids:
            index = CandidateIndex.of(candidates, self._model.sub_category.labels)
        found: list[Classification] = []
        for start in range(0, len(embeddings), _ROWS_AT_A_TIME):
            rows = unit(embeddings[start : start + _ROWS_AT_A_TIME])
            found += classify_batch(self._model, index, rows, top_k=1)
        return found

    def _changes(self) -> Mapping[tuple[Kind, int | None], tuple[int, ...]]:
        kinds = [_kind(product) for product in self._products]
        medoids = {
            kind: self._row_of[product_id]
            for kind, product_id in zip(_kinds(self.candidates), self.candidates.product_ids, strict=True)
        }
        return medoids_without_each(self._embeddings, [product.id for product in self._products], kinds, medoids)

    def _replaced(self, kind: Kind, medoid: int | None) -> CandidateSet:
        """The candidates with another medoid of a kind, or without any of it."""
        place = _kinds(self.candidates).index(kind)
        kept = [at for at in range(len(self.candidates.product_ids)) if at != place or medoid is not None]
        embeddings = self.candidates.embeddings[kept]
        product_ids = list(self.candidates.product_ids)
        if medoid is not None:
            embeddings[place] = unit(self._embeddings[medoid])
            product_ids[place] = self._products[medoid].id
        return CandidateSet(
            version=f"{self.candidates.version} without one",
            model_version=self.candidates.model_version,
            sub_categories=tuple(self.candidates.sub_categories[at] for at in kept),
            genders=tuple(self.candidates.genders[at] for at in kept),
            article_types=tuple(self.candidates.article_types[at] for at in kept),
            product_ids=tuple(product_ids[at] for at in kept),
            embeddings=embeddings,
        )

    def _batches(self) -> Iterator[list[IndexedProduct]]:
        """The catalogue a derived type at a time, as indexes load fastest."""
        rows_of: dict[str, list[int]] = {}
        for row, product in enumerate(self._products):
            rows_of.setdefault(product.derived_type, []).append(row)
        for rows in rows_of.values():
            yield [IndexedProduct(self._products[row], self._embeddings[row]) for row in rows]


def unit(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Embeddings in float32, without what rounding left of their norm: what a search is asked with.

    Args:
        embeddings: float16 or float32, shape (..., dimension).
    """
    rows = embeddings.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows


def _kind(product: Product) -> Kind:
    return product.sub_category, product.gender, product.article_type


def _kinds(candidates: CandidateSet) -> list[Kind]:
    return list(zip(candidates.sub_categories, candidates.genders, candidates.article_types, strict=True))
