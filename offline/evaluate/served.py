"""The parts that serve users, over one catalogue in this process."""

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
from services.contract.values import CandidateSet, Classification, Embedding, Gender
from services.search.candidates.clusters import compute_candidates
from services.search.candidates.doubt import Doubt, measured, sample
from services.search.catalogue.products import Product
from services.search.filters.filter import Filter
from services.search.indexes.base import Eligibility, Index, IndexedProduct
from services.search.query.find_similar import MAX_UNSURE_TYPES
from services.search.query.recognition import recognised

# Queries that a thread answers between two reports.
_QUERIES_AT_ONCE = 32
# Derived types that the classifier returns, as many as to search (`SearchSettings.classifier_top_k`).
_PREDICTIONS = 5
# Embeddings per batch of the classifier, which takes them in float32.
_ROWS_AT_ONCE = 1024

Kind = tuple[str, Gender | None, str]


class LocalService:
    """The index, the candidates and the classifier of one catalogue, as the services put them together.

    A query that is a product of the catalogue is left out of the results, and of the candidates.
    """

    def __init__(self, catalogue: ProductTable, model: ClassifierModel, index: Index, threads: int) -> None:
        """Loads the index and computes the candidates.

        Args:
            catalogue: the products to search.
            model: the classifier's heads.
            index: an empty index of the dimension of the embeddings.
            threads: the number of queries at once.
        """
        self._model = model
        self._index = index
        self._threads = threads
        self._products = catalogue.products
        # A catalogue stores float16, so that is what index and candidates see.
        self._embeddings = catalogue.embeddings.astype(np.float16, copy=False)
        self._row_of = {product.id: row for row, product in enumerate(catalogue.products)}
        self._doubt: Doubt | None = None
        index.load(self._batches(), index_version=1)
        self.candidates = compute_candidates(
            model.model_version,
            embeddings=self._embeddings,
            product_ids=[product.id for product in catalogue.products],
            sub_categories=catalogue.sub_categories,
            genders=[product.gender for product in catalogue.products],
            article_types=catalogue.article_types,
        )

    def serve(
        self,
        path: Path,
        queries: ProductTable,
        k: int,
        advance: Callable[[int], None],
        apart: Sequence[Collection[str]] | None = None,
    ) -> Served:
        """Answers queries as if the query's own product were not in the catalogue.

        Args:
            path: "inventory" searches the whole catalogue; "photograph" the derived type that is recognised, the two
                likeliest ones if that is doubtful, or the whole catalogue where they have no other product.
            queries: the products to ask for.
            k: results per query at most.
            advance: takes how many more queries have an answer.
            apart: per query, the ids of other products that its answer leaves out; None for no others.
        """
        nowhere: frozenset[str] = frozenset()
        types = [nowhere] * len(queries)
        if path == "photograph":
            types = [frozenset(self.searched_types(answer)) for answer in self.classify(queries)]
        results, fell_back = self._served(types, queries, k, advance, apart)
        return Served(results, fell_back + types.count(nowhere) if path == "photograph" else 0)

    def search_types(
        self, types: Sequence[frozenset[str]], queries: ProductTable, k: int, advance: Callable[[int], None]
    ) -> NDArray[np.int64]:
        """Returns what the derived types of each query hold, as rows of the catalogue: int64, shape (n, k)."""
        return self._served(types, queries, k, advance)[0]

    def top_similarities(
        self, queries: ProductTable, filters: Sequence[Filter], advance: Callable[[int], None]
    ) -> NDArray[np.float64]:
        """Returns the similarity of the product most similar to each query under its filter: float64, shape (n,)."""
        similarities = []
        for vector, filter in zip(queries.embeddings, filters, strict=True):
            hits = self._index.search(unit(vector), 1, Eligibility(filter=filter)).hits
            similarities.append(hits[0].similarity if hits else -1.0)
            advance(1)
        return np.array(similarities)

    def _served(
        self,
        types: Sequence[frozenset[str]],
        queries: ProductTable,
        k: int,
        advance: Callable[[int], None],
        apart: Sequence[Collection[str]] | None = None,
    ) -> tuple[NDArray[np.int64], int]:
        """Returns results, int64, shape (n, k), and how many queries searched everything instead of their types."""
        vectors = queries.embeddings
        results = np.full((len(queries), k), MISSING, dtype=np.int64)

        def answer(start: int) -> int:
            end = min(start + _QUERIES_AT_ONCE, len(queries))
            fell_back = 0
            for row in range(start, end):
                left_out = frozenset({queries.products[row].id, *(apart[row] if apart is not None else ())})
                rows, widened = self._search(unit(vectors[row]), left_out, types[row], k)
                results[row, : len(rows)] = rows
                fell_back += widened
            advance(end - start)
            return fell_back

        with ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="search") as pool:
            fell_back = sum(pool.map(answer, range(0, len(queries), _QUERIES_AT_ONCE)))
        return results, fell_back

    def classify(self, queries: ProductTable) -> list[Classification]:
        """Recognises queries as if the query's own product were not in the catalogue."""
        answers = self._classify(self.candidates, queries.embeddings)
        if not self.candidates.product_ids:
            return answers
        index = self.candidate_index()
        counts = Counter(map(_kind, self._products))
        for at, product_id in enumerate(queries.ids):
            row = self._row_of.get(product_id)
            # One product matters only where candidates decide, or where it is the only one of its kind.
            if row is not None and (index.unknown or counts[_kind(self._products[row])] == 1):
                rest = self._without(row)
                others = self._model.index(rest, index.unknown) if rest.product_ids else None
                answers[at : at + 1] = classify_batch(
                    self._model, others, unit(queries.embeddings[[at]]), top_k=_PREDICTIONS
                )
        return self._recognised(answers, queries)

    def searched_types(self, answer: Classification) -> list[str]:
        """Returns the derived types that are searched for a photograph; several if it is doubtful what it shows."""
        labels = [each.label for each in answer.derived_types]
        return labels[: MAX_UNSURE_TYPES if self.is_unsure(answer) else 1]

    def is_unsure(self, answer: Classification) -> bool:
        """Tells whether it is doubtful what a query shows."""
        doubt = self.doubt
        return answer.confidence is not None and doubt is not None and answer.confidence < doubt.unsure_below

    @property
    def doubt(self) -> Doubt | None:
        """What is usual in the catalogue, measured when first asked for; None in an empty one."""
        if self._doubt is None:
            products, stored = zip(*sample(self._index), strict=True) if self._products else ((), ())
            rows = unit(np.array(stored).reshape(len(products), -1))
            answers = self._classify(self.candidates, rows)
            measurements = [
                measured(self._index, product, Embedding(row, self._model.model_version), answer)
                for product, row, answer in zip(products, rows, answers, strict=True)
            ]
            self._doubt = Doubt.of(
                np.array([confidence for confidence, _ in measurements if confidence is not None]),
                np.array([similarity for _, similarity in measurements if similarity is not None]),
            )
        return self._doubt

    def candidate_index(self) -> CandidateIndex:
        """Returns an index of the candidates, of which there must be one."""
        return self._model.index(self.candidates)

    def derived_types(self, queries: ProductTable, trained: Collection[str]) -> list[str | None]:
        """Returns the derived types as a head that knows only some types would find them; without any, by candidates.

        Args:
            queries: products that the catalogue does not hold.
            trained: the labels that the head keeps.
        """
        head, kinds = self._model.derived_type, self._model.kinds
        places = [at for at, label in enumerate(head.labels) if label in trained]
        model = replace(self._model, derived_type=head.only(places), kinds=tuple(kinds[at] for at in places))
        answers = self._classify(self.candidates, queries.embeddings, model)
        if trained:
            answers = self._recognised(answers, queries)
        return [answer.derived_types[0].label if answer.derived_types else None for answer in answers]

    def types_of(self, results: NDArray[np.int64]) -> NDArray[np.object_]:
        """Returns the derived types of results, int64 of any shape; None for MISSING."""
        types = np.array([*(product.derived_type for product in self._products), None], dtype=object)
        of_results: NDArray[np.object_] = types[results]
        return of_results

    def _search(
        self, query: NDArray[np.float32], left_out: frozenset[str], types: frozenset[str], k: int
    ) -> tuple[list[int], bool]:
        everything = Eligibility(excluded_ids=left_out)
        widened = False
        answer = self._index.search(query, k, replace(everything, derived_types=types) if types else everything)
        if types and not answer.eligible_count:
            widened = True
            answer = self._index.search(query, k, everything)
        return [self._row_of[hit.product.id] for hit in answer.hits], widened

    def _recognised(self, answers: Sequence[Classification], queries: ProductTable) -> list[Classification]:
        """Lets the nearest products decide where only candidates knew the type."""
        return [
            recognised(
                answer,
                unit(vector),
                self._index,
                _PREDICTIONS,
                Eligibility(excluded_ids=(product_id,), include_out_of_stock=True),
            )
            for answer, vector, product_id in zip(answers, queries.embeddings, queries.ids, strict=True)
        ]

    def _classify(
        self, candidates: CandidateSet, embeddings: NDArray[np.floating], model: ClassifierModel | None = None
    ) -> list[Classification]:
        model = model or self._model
        index = model.index(candidates) if candidates.product_ids else None
        answers: list[Classification] = []
        for start in range(0, len(embeddings), _ROWS_AT_ONCE):
            rows = unit(embeddings[start : start + _ROWS_AT_ONCE])
            answers += classify_batch(model, index, rows, top_k=_PREDICTIONS)
        return answers

    def _without(self, row: int) -> CandidateSet:
        """Returns the candidates without one product: computes those of its kind again."""
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
        others = [at for at, other in enumerate(_kinds(self.candidates)) if other != kind]
        sets = [(self.candidates, others), (again, range(len(again.product_ids)))]
        return CandidateSet(
            version=f"{self.candidates.version} without one",
            model_version=self.candidates.model_version,
            sub_categories=tuple(one.sub_categories[at] for one, places in sets for at in places),
            genders=tuple(one.genders[at] for one, places in sets for at in places),
            article_types=tuple(one.article_types[at] for one, places in sets for at in places),
            product_ids=tuple(one.product_ids[at] for one, places in sets for at in places),
            embeddings=np.concatenate([self.candidates.embeddings[others], again.embeddings]),
        )

    def _batches(self) -> Iterator[list[IndexedProduct]]:
        """Yields the catalogue by derived type, which loads fastest."""
        rows_of: dict[str, list[int]] = {}
        for row, product in enumerate(self._products):
            rows_of.setdefault(product.derived_type, []).append(row)
        for rows in rows_of.values():
            yield [IndexedProduct(self._products[row], self._embeddings[row]) for row in rows]


def unit(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns embeddings in float32 with norm 1, which float16 had rounded away: the queries of a search.

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
