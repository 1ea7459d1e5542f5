"""Groups of products that take one place in an answer: known families, and designs derived from names and looks."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.search.filters.designs import design_name
from services.search.indexes.columns import Columns

# Products of one design are at least so similar from one to the next. Measured, see docs/decisions/0019.
MIN_SIMILARITY: Final = 0.75
# Two products of one name and colour that are less similar than this are different designs: the name is no design's.
MIN_SAME_COLOUR_SIMILARITY: Final = 0.95
# A name that more products share is no design's, such as "Dress".
MAX_SAME_NAME: Final = 200

# Products to look at before others may go on.
_AT_ONCE: Final = 256

# Returns the embeddings of rows: float16, shape (n, dimension), L2-normalised.
Embeddings: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float16]]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The group of each product.

    Attributes:
        codes: int32, shape (n,), one per row.
        derived: whether the group of each code is derived from names and looks: bool, shape (codes,).
    """

    codes: NDArray[np.int32]
    derived: NDArray[np.bool_]

    def holding(self, codes: Collection[int], rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.bool_]:
        """Returns whether each of some rows, n of them, is in one of some groups: bool, shape (n,)."""
        chosen = np.zeros_like(self.derived)
        chosen[list(codes)] = True
        return chosen[self.codes[rows]]


class Designs:
    """The designs among the products without a known family. Writes need the index's lock, reads do not.

    Only what a write has touched is looked at again: a product, its name, and the products of that name. Nothing is
    known, and nothing done for writes, before somebody asks for the first time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: Groups | None = None
        # The products to be looked at; None before anybody has asked. Then the names whose designs are to be found.
        self._changed: set[str] | None = None
        self._unsettled: set[Hashable] = set()
        # The name of each product that may be of a design, and its products and designs by name, as ids.
        self._names: dict[str, Hashable] = {}
        self._members: dict[Hashable, set[str]] = {}
        self._designs: dict[Hashable, tuple[tuple[str, ...], ...]] = {}
        # The parent of each product that has one, and how many a parent has: that one is not alone in its family.
        self._parents: dict[str, str] = {}
        self._children: Counter[str] = Counter()

    @property
    def in_use(self) -> bool:
        """Whether anything is known that a write may change."""
        return self._changed is not None

    def change(self, product_ids: Iterable[str]) -> None:
        """Takes note of products that a write changes."""
        if self._changed is not None:
            self._groups = None
            self._changed.update(product_ids)

    def advance(self, columns: Columns, embeddings: Embeddings) -> bool:
        """Looks at some products that have changed, so that `groups` finds less to do.

        Args:
            columns: the products.
            embeddings: as for `groups`.

        Returns:
            Whether none is left.
        """
        with self._lock:
            return self._advance(columns, embeddings)

    def groups(self, columns: Columns, embeddings: Embeddings) -> Groups:
        """Returns the group of each product: its family, or its design where no family is known.

        Args:
            columns: the products.
            embeddings: returns those of rows: float16, shape (n, dimension), L2-normalised.
        """
        with self._lock:
            if self._groups is None:
                while not self._advance(columns, embeddings):
                    pass
                self._groups = self._grouped(columns)
            return self._groups

    def _advance(self, columns: Columns, embeddings: Embeddings) -> bool:
        if self._changed is None:
            self._changed = {columns.product(row).id for row in range(len(columns))}
        for _ in range(_AT_ONCE):
            if not self._changed:
                break
            self._look_at(self._changed.pop(), self._changed, columns)
        else:
            return False
        some: list[Hashable] = []
        count = 0
        for name in self._unsettled:
            some.append(name)
            count += len(self._members.get(name, ()))
            if count >= _AT_ONCE:
                break
        self._settle(some, columns, embeddings)
        # They stay where the embeddings cannot be read.
        self._unsettled.difference_update(some)
        return not self._unsettled

    def _look_at(self, product_id: str, changed: set[str], columns: Columns) -> None:
        """Finds the name of a product; its parent, before and now, is to be looked at where it became alone or not."""
        row = columns.row_of(product_id)
        product = None if row is None else columns.product(row)
        parent = None if product is None else product.parent_id
        before = self._parents.pop(product_id, None)
        if parent is not None:
            self._parents[product_id] = parent
        if parent != before:
            for each, more in ((before, -1), (parent, 1)):
                if each is not None:
                    self._children[each] += more
                    if self._children[each] == max(more, 0):
                        changed.add(each)
                    if not self._children[each]:
                        del self._children[each]
        alone = row is not None and product_id not in self._children and bool(columns.searchable()[row])
        name = design_name(product) if product is not None and alone else None
        former = self._names.pop(product_id, None)
        if former is not None:
            self._unsettled.add(former)
            self._members[former].discard(product_id)
            if not self._members[former]:
                del self._members[former]
        if name is not None:
            self._unsettled.add(name)
            self._names[product_id] = name
            self._members.setdefault(name, set()).add(product_id)

    def _settle(self, names: Sequence[Hashable], columns: Columns, embeddings: Embeddings) -> None:
        """Finds the designs among the products of each of some names."""
        ids = {name: sorted(self._members.get(name, ())) for name in names}
        ids = {name: each if 2 <= len(each) <= MAX_SAME_NAME else [] for name, each in ids.items()}
        rows = [row for each in ids.values() for id in each if (row := columns.row_of(id)) is not None]
        vectors = embeddings(np.array(rows)).astype(np.float32) if rows else np.empty((0, 0), dtype=np.float32)
        colours = [columns.product(row).base_colour for row in rows]
        start = 0
        for name, its in ids.items():
            end = start + len(its)
            own = vectors[start:end]
            parts = designs_of(colours[start:end], own @ own.T) if its else []
            self._designs.pop(name, None)
            if parts:
                self._designs[name] = tuple(tuple(its[place] for place in part) for part in parts)
            start = end

    def _grouped(self, columns: Columns) -> Groups:
        families = columns.families()
        codes = families.copy()
        derived = np.zeros(max(len(columns.of_families(())), int(families.max(initial=-1)) + 1), dtype=np.bool_)
        designs = [design for found in self._designs.values() for design in found]
        if designs:
            ids = (each for design in designs for each in design)
            rows = np.array([row for each in ids if (row := columns.row_of(each)) is not None], dtype=np.int64)
            sizes = np.array([len(design) for design in designs])
            first = codes[rows[np.cumsum(sizes) - sizes]]
            codes[rows] = np.repeat(first, sizes)
            derived[first] = True
        return Groups(codes, derived)


def designs_of(colours: Sequence[str | None], similarities: NDArray[np.float32]) -> list[list[int]]:
    """Returns the designs of two or more among products of one name, as their positions in ascending order.

    Args:
        colours: the main colour of each product.
        similarities: of each pair: float32, shape (n, n).
    """
    codes = np.unique([colour or "" for colour in colours], return_inverse=True)[1]
    if (similarities[codes[:, np.newaxis] == codes] < MIN_SAME_COLOUR_SIMILARITY).any():
        return []
    linked = similarities >= MIN_SIMILARITY
    left = np.ones(len(codes), dtype=np.bool_)
    parts: list[list[int]] = []
    for first in range(len(codes)):
        if not left[first]:
            continue
        part = np.zeros_like(left)
        part[first] = True
        while (reached := linked[part].any(axis=0) | part).sum() > part.sum():
            part = reached
        left &= ~part
        if part.sum() > 1:
            parts.append(np.flatnonzero(part).tolist())
    return parts
