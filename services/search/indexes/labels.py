"""The labels that products have, and a number for each, so that a column of labels is an array."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from services.search.filters.filter import NO_CODE

LabelT = TypeVar("LabelT", bound=Hashable)


class Labels(Generic[LabelT]):
    """The labels of one attribute that at least one product has, and a code for each."""

    def __init__(self) -> None:
        self.codes: dict[LabelT, int] = {}
        self._labels: list[LabelT] = []
        self._counts: list[int] = []
        self._free: list[int] = []

    def take(self, label: LabelT | None) -> int:
        """Adds a product to those with a label, and returns the label's code."""
        if label is None:
            return NO_CODE
        code = self.codes.get(label)
        if code is None:
            if self._free:
                code = self._free.pop()
                self._labels[code] = label
            else:
                code = len(self._labels)
                self._labels.append(label)
                self._counts.append(0)
            self.codes[label] = code
        self._counts[code] += 1
        return code

    def take_all(self, labels: Sequence[Hashable], label_of: Callable[[Any], LabelT | None]) -> list[int]:
        """Adds many products, faster than one by one.

        Args:
            labels: of the products.
            label_of: makes a label, or None, of what stands for it.

        Returns:
            The code of each.
        """
        codes: dict[Hashable, int] = {}
        for each, count in Counter(labels).items():
            codes[each] = code = self.take(label_of(each))
            if code != NO_CODE:
                self._counts[code] += count - 1
        return [codes[each] for each in labels]

    def give(self, code: int) -> None:
        """Removes a product from those with a label. The code of a label without products is used again."""
        if code == NO_CODE:
            return
        self._counts[code] -= 1
        if self._counts[code] == 0:
            del self.codes[self._labels[code]]
            self._free.append(code)

    def label(self, code: int) -> LabelT:
        """Returns the label of a code that products have."""
        return self._labels[code]

    def count(self, code: int) -> int:
        """Returns how many products have the label of a code."""
        return self._counts[code]

    @property
    def end(self) -> int:
        """A number above every code."""
        return len(self._labels)
