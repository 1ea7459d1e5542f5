"""Puts the parts that serve users over a catalogue, and asks them what users would be shown."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from offline.evaluate.products import ProductTable
from offline.evaluate.reported import Path
from offline.evaluate.retrieval import Served
from offline.measure.metrics import MISSING
from services.classifier.candidate_index import CandidateIndex
from services.classifier.recognition import ClassifierModel, classify_batch
from services.contract.values import CandidateSet, Classification, Gender
from services.search.candidates.clusters import compute_candidates
from services.search.catalogue.products import Product
from services.search.indexes.base import Eligibility, Index, IndexedProduct

# Queries that a thread answers before it reports.
_QUERIES_AT_A_TIME = 32
# Embeddings that are classified at a time, and for that in float32.
_ROWS_AT_A_TIME = 1024

Kind = tuple[str, Gender, str]


class LocalService:
    """The index, the candidates and the classifier of one catalogue, as the services put them together.

    A product that is asked about is left out of everything: of the results, and of the candidates too.
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
        counts = Counter(map(_kind, self._products))
        unknown = {*self.candidate_index().unknown} if self.candidates.product_ids else set()
        for at, product_id in enumerate(queries.ids):
            row = self._row_of.get(product_id)
            # The head ranks the catalogue's types; only where candidates are asked, or a kind goes, does one count.
            if row is not None and (unknown or counts[_kind(self._products[row])] == 1):
                (found[at],) = self._classify(self._without(row), queries.embeddings[[at]])
        return found

    def candidate_index(self) -> CandidateIndex:
        """The candidates, ready to be compared with; there has to be one."""
        return self._model.index(self.candidates)

    def derived_types(self, queries: ProductTable, trained: Collection[str]) -> list[str | None]:
        """The derived type as it would be found if the head knew these types alone; if it knew none, by candidates.

        Args:
            queries: products that the catalogue does not hold.
            trained: those of the head's labels that it keeps.
        """
        head, kinds = self._model.derived_type, self._model.kinds
        kept = [at for at, label in enumerate(head.labels) if label in trained]
        model = replace(self._model, derived_type=head.only(kept), kinds=tuple(kinds[at] for at in kept))
        found = self._classify(self.candidates, queries.embeddings, model)
        return [one.derived_types[0].label if one.derived_types else None for one in found]

    def types_of(self, results: NDArray[np.int64]) -> NDArray[np.object_]:
        """The derived types of results, int64 of any shape; None where there are fewer."""
        types = np.array([*(product.derived_type for product in self._products), None], dtype=object)
        found: NDArray[np.object_] = types[results]
        return found

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

    def _classify(
        self, candidates: CandidateSet, embeddings: NDArray[np.floating], model: ClassifierModel | None = None
    ) -> list[Classification]:
        model = model or self._model
        index = model.index(candidates) if candidates.product_ids else None
        found: list[Classification] = []
        for start in range(0, len(embeddings), _ROWS_AT_A_TIME):
            rows = unit(embeddings[start : start + _ROWS_AT_A_TIME])
            found += classify_batch(model, index, rows, top_k=1)
        return found

    def _without(self, row: int) -> CandidateSet:
        """The candidates as they would be without one product: those of its kind computed again."""
        kind = _kind(self._products[row])
        rest = [at for at, product in enumerate(self._products) if at != row and _kind(product) == kind]
        again = compute_candidates(
            self._model.model_version,
            embeddings=self._embeddings[rest],
            product_ids=[self._products[at].id for at in rest],
            sub_categories=[kind[0]] * len(rest),
            genders=[kind[1]] * len(rest),
            article_types=[kind[2]] * len(rest),
        )
        kept = [at for at, other in enumerate(_kinds(self.candidates)) if other != kind]
        sets = [(self.candidates, kept), (again, range(len(again.product_ids)))]
        return CandidateSet(
            version=f"{self.candidates.version} without one",
            model_version=self.candidates.model_version,
            sub_categories=tuple(one.sub_categories[at] for one, places in sets for at in places),
            genders=tuple(one.genders[at] for one, places in sets for at in places),
            article_types=tuple(one.article_types[at] for one, places in sets for at in places),
            product_ids=tuple(one.product_ids[at] for one, places in sets for at in places),
            embeddings=np.concatenate([self.candidates.embeddings[kept], again.embeddings]),
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
