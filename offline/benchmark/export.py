"""The nightly list of similar products: its time, its memory, and that it says what single queries say."""

import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import grpc

from fashion.v1 import search_pb2, search_pb2_grpc
from offline.benchmark.processes import ServerProcess

_TOP_K: Final = 20


def measure_export(stack: ServerProcess, product_ids: Sequence[str], file: Path) -> dict[str, Any]:
    """Exports the similar products of a whole catalogue, and compares some lists with single queries.

    Args:
        stack: the running stack.
        product_ids: the products whose lists are compared.
        file: the file to write.

    Returns:
        Seconds of wall clock and of processors (of stack and client together), memory in MiB, the numbers of products
        and rows, and how many of the compared lists are the same.
    """
    with grpc.insecure_channel(stack.target) as channel:
        search: Any = search_pb2_grpc.SearchServiceStub(channel)
        expected = {}
        began = time.monotonic()
        for product_id in product_ids:
            request = search_pb2.FindSimilarRequest(product_id=product_id, top_k=_TOP_K)
            answer = search.FindSimilar(request, timeout=60)
            expected[product_id] = [each.product.id for each in answer.products]
        single_s = (time.monotonic() - began) / len(product_ids)
    resident_mib = stack.resident_mib()
    stack.reset_peak()
    processor_s = stack.processor_s() + _children_s()
    command = ["export", "similar", str(file), "--top", str(_TOP_K), "--server", stack.target, "--json"]
    done = subprocess.run([sys.executable, "-m", "cli", *command], check=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    processor_s = stack.processor_s() + _children_s() - processor_s
    with file.open(newline="") as text:
        rows = ((row["product_id"], row["similar_product_id"]) for row in csv.DictReader(text))
        lists = {product_id: [each for _, each in pairs] for product_id, pairs in groupby(rows, itemgetter(0))}
    return {
        "seconds": report["seconds"],
        "processor_seconds": processor_s,
        "single_query_seconds": single_s,
        "rows": report["rows"],
        "exported": report["products"],
        "resident_before_mib": resident_mib,
        "peak_mib": stack.peak_mib(),
        "client_peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "compared": len(expected),
        "same": sum(lists.get(product_id, []) == ids for product_id, ids in expected.items()),
    }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
