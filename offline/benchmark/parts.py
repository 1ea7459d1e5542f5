"""The benchmarks on a data set, in the order in which all of them run, each with what it measures."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "floor": "Decoding, inference and FAISS in this process, without services.",
        "ingest": "Ingest of the data set; makes the catalogue in --work that the others need.",
        "start": "Start, import and memory of the stack.",
        "latency": "Queries one at a time, beside their floor.",
        "cost": "Processor time of a query in all processes, under each load, beside its floor.",
        "load": "Queries that arrive at random, beside the rate of the bare embedder.",
        "updates": "Rows of updates a second, beside queries.",
        "precision": "Precisions of the network: their speed, and what they change.",
        "export": "Lists of similar products for the whole catalogue.",
        "peers": "Other ways to the same results.",
        "mosec": "Photographs a second in time, beside mosec with the same network, decoding and FAISS; needs h2load.",
        "subject": "What finding the garment costs; DATASET holds people's photographs.",
        "inventory": "What searching all products costs; DATASET holds people's photographs.",
    }
)
# Those that "all" leaves out, as they measure on photographs that people took.
APART: Final = frozenset({"subject", "inventory"})
