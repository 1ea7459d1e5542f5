"""How the index on FAISS searches, and from which size on it works otherwise."""

from dataclasses import astuple, dataclass
from typing import Final

# From so many products on, large searches of the whole inventory are approximate, and embeddings are on the disk.
APPROXIMATE_FROM: Final = 200_000


@dataclass(frozen=True, slots=True)
class FaissSettings:
    """The settings of a search.

    Attributes:
        threads: threads of FAISS per search.
        exact_limit: up to this many eligible products, all are compared exactly. Above it, in a search of the whole
            inventory, the reduced index chooses the products to compare (docs/selectivity.md).
        products_per_exact: one more for so many products that there are, as the reduced index looks at all of them.
        components: dimension of the reduced index, and number of further components that refine its choice.
        candidates_per_hit: products that the reduced index chooses at first per product of the answer; more where their
            bound does not exclude all others.
        min_candidates: minimum number of products that it chooses.
        approximate_from: from so many products on, the reduced index looks at the cells alone that are most similar to
            the query (docs/performance.md): such a search may miss a product. Smaller indexes miss none.
        on_disk_from: from so many products on, their embeddings are in a file instead of the memory.
        cells: number of cells.
        near: about how many products it looks at then; of those that a filter lets through, fewer in more cells.
        exact_type_limit: up to this many eligible products of some derived types, all are compared. Of more, the
            reduced index chooses, with a bound for all others, so that none is missed.
        exact_on_disk: the same for embeddings on the disk, in derived types and in the whole inventory.
        exact_bounded: up to this many eligible products of the whole inventory, none is missed at any size.

    Raises:
        ValueError: a setting is below 1.
    """

    threads: int = 1
    exact_limit: int = 800
    products_per_exact: int = 1000
    # With the norm beside them 256 floats, which FAISS compares in 0.78 of the time of the 264 that 257 are padded to.
    components: int = 255
    candidates_per_hit: int = 10
    min_candidates: int = 200
    approximate_from: int = APPROXIMATE_FROM
    on_disk_from: int = APPROXIMATE_FROM
    cells: int = 1024
    near: int = 20_000
    exact_type_limit: int = 10_000
    exact_on_disk: int = 128
    exact_bounded: int = 4000

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1:
            raise ValueError(f"Every setting of the index must be at least 1: {self}.")
