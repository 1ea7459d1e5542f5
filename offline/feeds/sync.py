"""What it takes to bring a catalogue to a feed: products to create, to change and to delete."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offline.dataset.rows import Dataset
from offline.spool import Spool
from services.contract.errors import InvalidInput

DEFAULT_MAX_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What differs between a feed and a catalogue, photographs aside.

    Attributes:
        created: ids of products that the catalogue does not have.
        changed: ids of products with other attributes; a photograph may have changed in any other.
        same: ids of products with the same attributes.
        deleted: ids of products that are not in the feed.
    """

    created: Sequence[str]
    changed: Sequence[str]
    same: Sequence[str]
    deleted: Sequence[str]


def missing_from(dataset: Dataset, known: Iterable[str]) -> Spool[str]:
    """Returns the ids of a catalogue that a feed does not offer, sorted; a faulty row does not take its product away.

    Args:
        dataset: the feed.
        known: the ids of the catalogue.
    """
    missing = Spool(each for each in known if not dataset.offers(each))
    return Spool(missing.in_order(lambda each: each))


def plan(dataset: Dataset, known: Mapping[str, object], rows: Iterable[tuple[str, object]]) -> SyncPlan:
    """Compares a feed with a catalogue.

    Args:
        dataset: the feed.
        known: the attributes of the catalogue's products by id; only compared.
        rows: id and attributes of the feed's products, of the same kind.
    """
    created, changed, same = Spool[str](), Spool[str](), Spool[str]()
    for product_id, attributes in rows:
        if product_id not in known:
            created.append(product_id)
        elif known[product_id] == attributes:
            same.append(product_id)
        else:
            changed.append(product_id)
    return SyncPlan(created, changed, same, missing_from(dataset, known))


def require_few(dataset: Dataset, deleted: int, known: int, max_share: float = DEFAULT_MAX_SHARE) -> None:
    """Refuses to delete a large part of a catalogue, or by a feed without an end.

    Args:
        dataset: the feed.
        deleted: how many products would be deleted.
        known: how many the catalogue has.
        max_share: the largest share that is deleted, in 0..1.

    Raises:
        InvalidInput: SYNC_REFUSED.
    """
    if not deleted:
        return
    if not dataset.report.complete:
        raise InvalidInput(
            f"The feed is cut off, and {deleted:,} products may only be missing from it. Mend it, or say --yes.",
            reason="SYNC_REFUSED",
        )
    if deleted > max_share * known:
        raise InvalidInput(
            f"The feed lacks {deleted:,} of {known:,} products, more than {max_share:.0%}. Look at it with --dry-run, "
            "then say --yes.",
            reason="SYNC_REFUSED",
        )
