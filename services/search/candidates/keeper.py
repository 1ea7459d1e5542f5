"""Keeps the candidates up to date: computes those of a derived type again once it has changed enough."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.contract.protocols import EmbeddingSpace
from services.contract.values import CandidateSet
from services.search.candidates.clusters import Candidate, candidate_set, candidates_of
from services.search.candidates.file import CandidateFile, StoredType
from services.search.catalogue.products import Product
from services.search.indexes.base import Index, TypeMembers
from services.search.writes.writer import Change


@dataclass(slots=True)
class _Type:
    """A derived type's candidates, the number of products they were computed from, and the changed products since."""

    candidates: tuple[Candidate, ...] = ()
    count: int = 0
    changed: set[str] = field(default_factory=set)
    due: bool = True


class CandidateKeeper:
    """The candidates of a catalogue, by derived type; `note` and `compute` may run in different threads."""

    def __init__(
        self, index: Index, space: EmbeddingSpace, changed_share: float, file: CandidateFile | None = None
    ) -> None:
        """Starts without products; `begin` names the derived types of the catalogue.

        Args:
            index: has the products.
            space: the model of the embeddings.
            changed_share: a derived type's candidates are computed again once this share of its products was created,
                changed or deleted. The means of many products hardly move with a few.
            file: stores the candidates between starts; None stores them nowhere.
        """
        self._index = index
        self._file = file
        self._space = space
        self._changed_share = changed_share
        self._lock = threading.Lock()
        self._types: dict[str, _Type] = {}
        # The version of the catalogue whose candidates the file has.
        self._file_version: int | None = None

    @property
    def index_version(self) -> int:
        """The current version of the catalogue."""
        return self._index.facts().index_version

    def begin(self, derived_types: Iterable[str]) -> None:
        """Forgets everything, and makes these derived types due, unless the file has their candidates."""
        labels = list(derived_types)
        version = self.index_version
        stored = self._file.load(version) if self._file is not None else None
        if stored is None or not stored.keys() >= set(labels):
            stored = {}
        else:
            self._file_version = version
        with self._lock:
            self._types = {
                label: _Type(each.candidates, each.count, set(each.changed), due=False)
                for label, each in stored.items()
            } | {label: _Type() for label in labels if label not in stored}

    def keep(self) -> None:
        """Stores the candidates for the next start, unless something is due or the file is up to date.

        To be called while no write is under way: one that has not been noted yet would be taken for a noted one.
        """
        version = self.index_version
        if self._file is None or version == self._file_version:
            return
        with self._lock:
            if any(known.due for known in self._types.values()):
                return
            types = {
                label: StoredType(known.candidates, known.count, frozenset(known.changed))
                for label, known in self._types.items()
            }
        self._file.save(types, version)
        self._file_version = version

    def note(self, changes: Sequence[Change]) -> bool:
        """Notes changes that the index has taken over; returns whether any derived type is due."""
        with self._lock:
            for change in changes:
                for product in {_kind(each): each for each in (change.before, change.after) if each}.values():
                    self._note(product)
            return any(each.due for each in self._types.values())

    def _note(self, product: Product) -> None:
        known = self._types.setdefault(product.derived_type, _Type())
        known.changed.add(product.id)
        known.due = (
            known.due
            or any(product.id == candidate.product_id for candidate in known.candidates)
            or all(product.sub_category != candidate.sub_category for candidate in known.candidates)
            or len(known.changed) >= self._changed_share * known.count
        )

    def compute(self) -> CandidateSet:
        """Computes the candidates of all derived types that are due, and returns those of all."""
        with self._lock:
            due = [label for label, known in self._types.items() if known.due]
            for label in due:
                # Changes from here on count towards the next computation.
                self._types[label].due = False
                self._types[label].changed = set()
        try:
            computed = {label: self._candidates(self._index.members(label)) for label in due}
        except BaseException:
            with self._lock:
                for label in due:
                    self._types[label].due = True
            raise
        with self._lock:
            for label, (candidates, count) in computed.items():
                known = self._types[label]
                known.candidates, known.count = candidates, count
                if not count and not known.due:
                    del self._types[label]
            return candidate_set(
                self._space.model_version,
                self._space.dimension,
                (candidate for known in self._types.values() for candidate in known.candidates),
            )

    def _candidates(self, members: TypeMembers) -> tuple[tuple[Candidate, ...], int]:
        products = members.products
        candidates = candidates_of(
            members.embeddings,
            [product.id for product in products],
            [product.sub_category for product in products],
            [product.gender for product in products],
            [product.article_type for product in products],
        )
        return tuple(candidates), len(products)


def _kind(product: Product) -> tuple[str, str]:
    return product.derived_type, product.sub_category
