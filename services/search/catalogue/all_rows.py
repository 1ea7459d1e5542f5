"""Reads all products of the catalogue, and knows which of them are damaged."""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

from services.search.catalogue.content import StoredProduct
from services.search.catalogue.database import UNREADABLE
from services.search.catalogue.rows import Read, read_products

_logger = logging.getLogger(__name__)

# Rows that `check` reads at once, while other reads wait.
_ROWS_CHECKED: Final = 64
# Ids of damaged products in one line of the log.
_MAX_IDS_LOGGED: Final = 100

Products = dict[Any, StoredProduct | None]


class AllRows:
    """The rows of a catalogue.

    Attributes:
        damaged: the ids of products whose row was found damaged and has not been written since.
        unchecked: whether rows may be damaged that nobody has read yet.
    """

    def __init__(
        self, reading: Callable[[], AbstractContextManager[Read]], of_live: Callable[[Read, Products], Products]
    ) -> None:
        """Takes what reads one state of the catalogue, and what gives products embeddings of the live generation."""
        self._reading = reading
        self._of_live = of_live
        self.damaged: set[str] = set()
        self.unchecked = False

    def by_derived_type(self) -> Iterator[tuple[StoredProduct, ...]]:
        """See `Catalogue.by_derived_type`."""
        with self._reading() as read:
            rows = read("SELECT rowid, id, gender, article_type FROM products ORDER BY gender, article_type, id")
        self.damaged.clear()
        for _, group in itertools.groupby(rows, key=lambda row: (row["gender"], row["article_type"])):
            yield tuple(self._products([(row["rowid"], row["id"]) for row in group]))
        self._all_checked()

    def check(self, pause: Callable[[], bool]) -> None:
        """See `Catalogue.check`."""
        with self._reading() as read:
            numbers = [(row["rowid"], row["id"]) for row in read("SELECT rowid, id FROM products")]
        for start in range(0, len(numbers), _ROWS_CHECKED):
            deque(self._products(numbers[start : start + _ROWS_CHECKED], written_beside=True), maxlen=0)
            if pause():
                return
        self._all_checked()

    def _all_checked(self) -> None:
        self.unchecked = False
        if self.damaged:
            _logger.error(
                "%d products are damaged and left out; send them again: %s",
                len(self.damaged),
                ", ".join(sorted(self.damaged)[:_MAX_IDS_LOGGED]),
            )

    def _products(self, numbers: Sequence[tuple[int, str]], *, written_beside: bool = False) -> Iterator[StoredProduct]:
        """Yields the sound products of some rows, given as row number and id, in their order.

        Where nothing is written beside, a row that is gone, or of another product, is damaged too.
        """
        products: Products = {}
        try:
            with self._reading() as read:
                products = self._of_live(read, read_products(read, [number for number, _ in numbers], by="rowid"))
        except UNREADABLE:
            # A page cannot be read: others can.
            for number, _ in numbers:
                products[number] = None
                with suppress(*UNREADABLE), self._reading() as read:
                    products |= self._of_live(read, read_products(read, [number], by="rowid"))
        for number, product_id in numbers:
            stored = products.get(number)
            if stored is not None and stored.product.id == product_id:
                yield stored
            elif not written_beside or (number in products and stored is None):
                # Damage may turn a text into a number or bytes, or give two rows one number.
                self.damaged.add(str(product_id))
