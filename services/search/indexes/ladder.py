"""On which rung of a ladder each product is, and which labels lead on from some derived types."""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.attributes import BY_NAME, DERIVED_TYPE, Attribute
from services.search.filters.filter import NO_CODE, has_label
from services.search.indexes.base import Eligibility, Ladder, Rung
from services.search.indexes.columns import Columns

_ATTRIBUTES: Final = {rung: BY_NAME[rung.name.lower()] for rung in Rung}
# Of a product that is on no rung.
_NOWHERE: Final = len(Rung)


def rungs_of(columns: Columns, eligibility: Eligibility) -> NDArray[np.int8]:
    """Returns the lowest rung that each product is on: int8, shape (n,); 4 for one that is on none."""
    assert eligibility.ladder is not None
    rungs = np.full(len(columns), _NOWHERE, dtype=np.int8)
    for rung in reversed(Rung):
        labels = eligibility.ladder.labels(rung) if rung else eligibility.derived_types or ()
        rungs[has_label(columns, _ATTRIBUTES[rung], labels)] = rung
    return rungs


def ladder_from(
    columns: Columns,
    derived_types: Collection[str],
    article_types: Collection[str],
    sub_categories: Collection[str],
) -> Ladder:
    """Returns where a search of derived types can go on; see `Index.ladder`."""
    article_type, sub_category, master_category = (_ATTRIBUTES[rung] for rung in list(Rung)[1:])
    known = {DERIVED_TYPE: frozenset(derived_types)}
    for attribute, given in ((article_type, article_types), (sub_category, sub_categories), (master_category, ())):
        above = [_commonest(columns, attribute, of, labels) for of, labels in known.items()]
        known[attribute] = frozenset(columns.labels(attribute).keys() & given).union(*above)
    return Ladder(known[article_type], known[sub_category], known[master_category])


def _commonest(columns: Columns, attribute: Attribute, of: Attribute, labels: Collection[str]) -> frozenset[str]:
    """Returns the label of an attribute that most products have, for each of some labels of another attribute."""
    names = {code: name for name, code in columns.labels(attribute).items()}
    commonest: set[str] = set()
    for label in labels:
        codes = columns.codes(attribute)[has_label(columns, of, [label])]
        values, counts = np.unique(codes[codes != NO_CODE], return_counts=True)
        if len(values):
            commonest.add(min(names[code] for code in values[counts == counts.max()].tolist()))
    return frozenset(commonest)
