"""A stack that asks the reduced index from 300 products on, so that a small catalogue shows whether it is right."""

from dataclasses import replace

from services.search.indexes.faiss_settings import APPROXIMATE_FROM, FaissSettings
from services.search.settings import SearchSettings
from services.serving.run import run_process
from services.stack.__main__ import main

_INDEX = FaissSettings(exact_limit=300, components=128, min_candidates=10, candidates_per_hit=1)
# All that is eligible in the cells is compared, so that each answer has to be right.
_EVERYTHING = 100_000


def index_settings(settings: SearchSettings) -> FaissSettings:
    """Returns how the index searches; as with very many products where these are said to begin early."""
    begins = settings.approximate_from
    if begins == APPROXIMATE_FROM:
        return _INDEX
    return replace(
        _INDEX,
        approximate_from=begins,
        on_disk_from=begins,
        cells=16,
        near=_EVERYTHING,
        min_candidates=_EVERYTHING,
        exact_type_limit=50,
    )


if __name__ == "__main__":
    # By the method's own name: another one would be set in silence. Settings are frozen.
    setattr(SearchSettings, SearchSettings.faiss.__name__, index_settings)
    run_process("stack", main)
