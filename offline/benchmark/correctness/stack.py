"""A stack that asks the reduced index from 300 products on, so that a small catalogue shows whether it is right."""

from services.search.indexes.faiss_settings import FaissSettings
from services.search.settings import SearchSettings
from services.serving.run import run_process
from services.stack.__main__ import main

_INDEX = FaissSettings(exact_limit=300, components=128, min_candidates=10, candidates_per_hit=1)


if __name__ == "__main__":
    # By the method's own name: another one would be set in silence. Settings are frozen.
    setattr(SearchSettings, SearchSettings.faiss.__name__, lambda _: _INDEX)
    run_process("stack", main)
