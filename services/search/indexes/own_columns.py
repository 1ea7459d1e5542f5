"""The shop's own attributes as columns in memory: one per name and kind of value."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.contract.own_attributes import AttributeValue, Flag, OwnAttributes
from services.search.filters.filter import NO_CODE, NO_FLAG, FlagColumn, LabelSets, NumberColumn, OwnColumn
from services.search.indexes.labels import Labels


class _Column:
    """The values of one kind under one name, one cell per row; `empty` for a product without such a value."""

    def __init__(self, empty: float, dtype: Any, capacity: int) -> None:
        self._empty = empty
        self.cells: NDArray[Any] = np.full(capacity, empty, dtype=dtype)
        self.count = 0

    def put(self, row: int, value: Any) -> None:
        """Gives a row without a value one."""
        self.cells[row] = self._take(value)
        self.count += 1

    def clear(self, row: int) -> None:
        """Takes the value of a row that has one."""
        self._give(self.cells[row])
        self.cells[row] = self._empty
        self.count -= 1

    def move(self, holes: Sequence[int], movers: Sequence[int]) -> None:
        """Moves cells to cleared rows, and clears those that they come from."""
        self.cells[holes] = self.cells[movers]
        self.cells[movers] = self._empty

    def resize(self, kept: int, capacity: int) -> None:
        """Keeps the first cells, and has room for others."""
        cells = np.full(capacity, self._empty, dtype=self.cells.dtype)
        cells[:kept] = self.cells[:kept]
        self.cells = cells

    def _take(self, value: Any) -> Any:
        return value

    def _give(self, cell: Any) -> None:
        pass


class _Numbers(_Column):
    def __init__(self, capacity: int) -> None:
        super().__init__(np.nan, np.float64, capacity)


class _Flags(_Column):
    def __init__(self, capacity: int) -> None:
        super().__init__(NO_FLAG, np.int8, capacity)

    def _take(self, value: Flag) -> int:
        return int(value.value)


class _LabelSets(_Column):
    """A product's labels together are one code, so that a product with several takes no more room."""

    def __init__(self, capacity: int) -> None:
        super().__init__(NO_CODE, np.int32, capacity)
        self.sets: Labels[tuple[str, ...]] = Labels()
        self.holders: dict[str, set[int]] = {}

    def _take(self, value: tuple[str, ...]) -> int:
        new = value not in self.sets.codes
        code = self.sets.take(value)
        if new:
            for label in value:
                self.holders.setdefault(label, set()).add(code)
        return code

    def _give(self, cell: Any) -> None:
        code = int(cell)
        labels = self.sets.label(code)
        self.sets.give(code)
        if labels in self.sets.codes:
            return
        for label in labels:
            self.holders[label].remove(code)
            if not self.holders[label]:
                del self.holders[label]


_KINDS: Final[Mapping[type, Callable[[int], _Column]]] = MappingProxyType(
    {tuple: _LabelSets, float: _Numbers, Flag: _Flags}
)


class OwnColumns:
    """The own attributes of products in rows. Not thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._columns: dict[str, dict[type, _Column]] = {}

    def names(self) -> frozenset[str]:
        """Returns the names that at least one product has a value under."""
        return frozenset(self._columns)

    def column(self, name: str, rows: int) -> OwnColumn | None:
        """Returns the first rows of an attribute; None where no product has it."""
        kinds = self._columns.get(name)
        if kinds is None:
            return None
        labels, numbers, flags = (kinds.get(kind) for kind in (tuple, float, Flag))
        return OwnColumn(
            LabelSets(labels.sets.codes, labels.holders, labels.cells[:rows], labels.sets.end)
            if isinstance(labels, _LabelSets)
            else None,
            None if numbers is None else NumberColumn(numbers.cells[:rows]),
            None if flags is None else FlagColumn(flags.cells[:rows]),
        )

    def write(self, row: int, before: OwnAttributes, after: OwnAttributes) -> None:
        """Replaces the attributes of a product, {} for none."""
        if before is after:
            return
        for name, value in before.items():
            if after.get(name) != value:
                self._clear(row, name, value)
        for name, value in after.items():
            if before.get(name) != value:
                kinds = self._columns.setdefault(name, {})
                if type(value) not in kinds:
                    kinds[type(value)] = _KINDS[type(value)](self._capacity)
                kinds[type(value)].put(row, value)

    def move(self, holes: Sequence[int], movers: Sequence[int]) -> None:
        """Moves rows to rows without attributes."""
        for kinds in self._columns.values():
            for column in kinds.values():
                column.move(holes, movers)

    def resize(self, kept: int, capacity: int) -> None:
        """Keeps the first rows, and has room for others."""
        self._capacity = capacity
        for kinds in self._columns.values():
            for column in kinds.values():
                column.resize(kept, capacity)

    def _clear(self, row: int, name: str, value: AttributeValue) -> None:
        kinds = self._columns[name]
        column = kinds[type(value)]
        column.clear(row)
        if not column.count:
            del kinds[type(value)]
            if not kinds:
                del self._columns[name]
