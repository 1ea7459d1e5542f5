"""Keeps the candidates up to date: computes those of a derived type again once it has changed enough."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.contract.protocols import EmbeddingSpace
from services.contract.values import CandidateSet
from services.search.candidates.clusters import Candidate, candidate_set, candidates_of
from services.search.candidates.file import CandidateFile, StoredType
from services.search.catalogue.products import Product
from services.search.indexes.base import Index, TypeMembers
from services.search.writes.generation import Change
from services.search.writes.snapshots import Restored


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
        # Held while candidates are computed or stored: meanwhile a type is not due, and has its former candidates.
        self._computing = threading.RLock()
        self._types: dict[str, _Type] = {}
        # The version of the catalogue whose candidates the file has.
        self._file_version: int | None = None

    @property
    def index_version(self) -> int:
        """The current version of the catalogue."""
        return self._index.index_version

    @property
    def due(self) -> bool:
        """Whether any derived type is due."""
        with self._lock:
            return any(each.due for each in self._types.values())

    def begin(self, derived_types: Iterable[str], restored: Restored | None = None) -> None:
        """Forgets everything, and makes these derived types due, unless the file has their candidates.

        Args:
            derived_types: of the catalogue.
            restored: what has changed since an earlier version. Candidates of that version, or of a later one, then
                count as well; the changes are noted.
        """
        version = self.index_version
        since = None if restored is None else restored.index_version
        found = self._file.load(version, since) if self._file is not None else None
        self._file_version, stored = found if found is not None else (None, {})
        changes = restored.since(self._file_version) if restored and self._file_version not in (None, version) else ()
        changed = {product.id for each in changes for product in (each.before, each.after) if product is not None}
        ids = [candidate.product_id for each in stored.values() for candidate in each.candidates]
        present = {each: product.derived_type for each, product in self._index.products(ids).items()}
        with self._lock:
            self._types = {
                # A product may have been of a third type when the candidates were computed.
                label: _Type(
                    each.candidates,
                    each.count,
                    set(each.changed),
                    due=any(
                        candidate.product_id in changed or present.get(candidate.product_id) != label
                        for candidate in each.candidates
                    ),
                )
                for label, each in stored.items()
            } | {label: _Type() for label in derived_types if label not in stored}
        self.note(changes)

    def keep(self) -> None:
        """Stores the candidates for the next start, unless something is due or the file is up to date.

        To be called while no write is under way: one that has not been noted yet would be taken for a noted one.
        """
        with self._computing:
            if not self.due:
                self.keep_as_of(self.index_version)

    def keep_as_of(self, index_version: int) -> None:
        """Stores the candidates that are not due as those of an earlier version, unless the file has later ones.

        A start that knows what has changed since that version notes some changes twice, which does no harm.
        """
        with self._computing:
            if self._file is None or (self._file_version is not None and index_version <= self._file_version):
                return
            with self._lock:
                types = {
                    label: StoredType(known.candidates, known.count, frozenset(known.changed))
                    for label, known in self._types.items()
                    if not known.due
                }
            self._file.save(types, index_version)
            self._file_version = index_version

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
        """Computes the candidates of all derived types that are due, and returns those of all; one call at a time."""
        with self._computing:
            return self._compute()

    def _compute(self) -> CandidateSet:
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
                # Noted while the former candidates stood here.
                known.due = known.due or any(each.product_id in known.changed for each in candidates)
            left = self._left_by_products()
            return candidate_set(
                self._space.model_version,
                self._space.dimension,
                (
                    each
                    for label, known in self._types.items()
                    for each in known.candidates
                    if (label, each.product_id) not in left
                ),
            )

    def _left_by_products(self) -> set[tuple[str, str]]:
        """Returns types and candidates whose product has moved to another type meanwhile; makes these types due."""
        counts = Counter(each.product_id for known in self._types.values() for each in known.candidates)
        doubles = [product_id for product_id, count in counts.items() if count > 1]
        present = {each: product.derived_type for each, product in self._index.products(doubles).items()}
        left = {
            (label, each.product_id)
            for label, known in self._types.items()
            for each in known.candidates
            if counts[each.product_id] > 1 and present.get(each.product_id) != label
        }
        for label, _ in left:
            self._types[label].due = True
        return left

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
