"""Derived types that a network never learned from: recognised by candidates, and found by search."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import TOP_K, all_right
from services.contract.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class NewTypesRow:
    """The figures of one network; all are shares in [0, 1].

    Attributes:
        model: the name of the network.
        model_version: its version.
        learned: whether the network learned from the new types.
        head_knows: whether its head may answer with them; otherwise candidates find them.
        new: of the queries of new types, those whose derived type is found.
        new_top_10: of these queries, those whose ten results are all of their derived type.
        new_precision: of the ten results of these queries, those of the query's derived type.
        others: of all other queries, those whose derived type is found.
        others_top_10: of the other queries, those whose ten results are all of their derived type.
        taken_for_new: of the other queries, those that get a new type as answer.
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
    """Returns the derived types of the catalogue that one head knows and the other does not.

    Raises:
        InvalidInput: there are none, or no others.
    """
    known = set(catalogue) & set(head_with)
    new = frozenset(known - set(head_without))
    if not new or new == known:
        raise InvalidInput(
            "The network learned from all derived types of the catalogue, or from none: train one with --leave-out.",
            reason="NO_NEW_TYPES",
        )
    return new


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
    """Measures a network on queries of the new types, and on all others.

    Args:
        queries: products that the catalogue does not hold, of new and of other types.
        service: the services of the network over the catalogue, which holds both kinds.
        new: the types that count as new.
        known: the types that the head may answer with.
        learned: whether the network learned from the new types.
        model: the network's name and version.
        advance: takes how many more queries have an answer.

    Raises:
        InvalidInput: no query is of a new type, or all are.
    """
    truth = np.array(queries.derived_types, dtype=object)
    of_new = np.array([label in new for label in truth])
    if not of_new.any() or of_new.all():
        raise InvalidInput("All queries are of new types, or none is: ask for both.", reason="NO_NEW_TYPES")
    answers = np.array(service.derived_types(queries, trained=known), dtype=object)
    results = service.serve("inventory", queries, TOP_K, advance).results
    right = service.types_of(results) == truth[:, None]
    everything = all_right(right, results)
    return NewTypesRow(
        model=model[0],
        model_version=model[1],
        learned=learned,
        head_knows=bool(set(new) & set(known)),
        new=float((answers == truth)[of_new].mean()),
        new_top_10=float(everything[of_new].mean()),
        new_precision=float(right[of_new].mean()),
        others=float((answers == truth)[~of_new].mean()),
        others_top_10=float(everything[~of_new].mean()),
        taken_for_new=float(np.array([label in new for label in answers])[~of_new].mean()),
    )
