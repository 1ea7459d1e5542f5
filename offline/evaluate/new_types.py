"""What becomes of derived types that a network never learned from: recognised by candidates, and found by search."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import TOP_K, all_right
from services.contract.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class NewTypesRow:
    """One network, whose head knows the new types or does not; all figures are shares in [0, 1].

    Attributes:
        model: the network's name.
        model_version: of it.
        learned: whether the network learned from the new types.
        head_knows: whether its head may answer with them; where it may not, candidates find them.
        new: of queries of the new types, those whose derived type is found.
        new_top_10: of these queries, those whose first ten results are all of their derived type.
        new_precision: of the first ten results of these queries, those of their derived type, in the mean.
        others: of all other queries, those whose derived type is found.
        others_top_10: as for the new types.
        taken_for_new: of the other queries, those that are taken for one of a new type.
    """

    model: str
    model_version: str
    learned: bool
    head_knows: bool
    new: float
    new_top_10: float
    new_precision: float
    others: float
    others_top_10: float
    taken_for_new: float


def new_types(catalogue: Collection[str], head_without: Collection[str], head_with: Collection[str]) -> frozenset[str]:
    """The catalogue's derived types that one head knows and the other does not.

    Raises:
        InvalidInput: there are none, or nothing else.
    """
    known = set(catalogue) & set(head_with)
    found = frozenset(known - set(head_without))
    if not found or found == known:
        raise InvalidInput(
            "the network learned from all of the catalogue's derived types, or from none; train one with --leave-out",
            reason="NO_NEW_TYPES",
        )
    return found


def measure_new_types(
    queries: ProductTable,
    service: LocalService,
    new: Collection[str],
    known: Collection[str],
    *,
    learned: bool,
    model: tuple[str, str],
    advance: Callable[[int], None],
) -> NewTypesRow:
    """Asks for products of the new types, and for all others.

    Args:
        queries: products that the catalogue does not hold, of both kinds.
        service: of a network over the catalogue, which holds both kinds.
        new: the types that count as new.
        known: those that the head may answer with.
        learned: whether the network learned from the new types.
        model: its name and version.
        advance: told how many more queries are answered.

    Raises:
        InvalidInput: no query is of a new type, or all are.
    """
    truth = np.array(queries.derived_types, dtype=object)
    of_new = np.array([label in new for label in truth])
    if not of_new.any() or of_new.all():
        raise InvalidInput("the queries are all of new types, or none is", reason="NO_NEW_TYPES")
    found = np.array(service.derived_types(queries, trained=known), dtype=object)
    results = service.serve("inventory", queries, TOP_K, advance).results
    right = service.types_of(results) == truth[:, None]
    everything = all_right(right, results)
    return NewTypesRow(
        model=model[0],
        model_version=model[1],
        learned=learned,
        head_knows=bool(set(new) & set(known)),
        new=float((found == truth)[of_new].mean()),
        new_top_10=float(everything[of_new].mean()),
        new_precision=float(right[of_new].mean()),
        others=float((found == truth)[~of_new].mean()),
        others_top_10=float(everything[~of_new].mean()),
        taken_for_new=float(np.array([label in new for label in found])[~of_new].mean()),
    )
