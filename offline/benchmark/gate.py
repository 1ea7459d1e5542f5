"""What the gate of a reindex says of models that differ: good ones pass, broken ones do not."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import numpy as np

from fashion.v1 import reindex_pb2, reindex_pb2_grpc, search_pb2, search_pb2_grpc, types_pb2
from offline.benchmark.altered_bundles import ALTERATIONS, altered_bundle
from offline.benchmark.machine import Machine
from offline.benchmark.processes import running
from offline.dataset.rows import Dataset, open_dataset
from services.contract.errors import DeadlineExceeded, InvalidInput

Say = Callable[[str], None]

# What the gate has to let pass; all other alterations are broken models.
GOOD: Final = ("the same weights", "weights rounded to 8 bits")
_CANARIES: Final = 40
# Photographs that are tried as canaries.
_TRIED: Final = 100
_TIMEOUT_S: Final = 60.0
_LONGEST_S: Final = 1800.0
_POLL_S: Final = 0.5


def gate(
    dataset: Path,
    products: int,
    others: Sequence[Path],
    say: Say = lambda text: None,
    bundle: Path = Path("models/fashion-resnet50"),
) -> dict[str, Any]:
    """Has a stack compare each altered bundle, and others, with the live one, by the default gate.

    Args:
        dataset: a folder or zip in Kaggle's layout; its first products become the catalogue.
        products: how many.
        others: further bundles.
        say: takes a line now and then.
        bundle: the live one.

    Returns:
        The figures; `problems` is empty where the gate has let the good ones pass, and none of the broken ones.

    Raises:
        InvalidInput: DATASET_TOO_SMALL; it has no products beyond those of the catalogue.
        CalledProcessError: the catalogue could not be filled; the reason stands in standard error.
        DeadlineExceeded: a bundle was not judged in time.
    """
    began, machine = time.monotonic(), Machine.this()
    with TemporaryDirectory() as folder, open_dataset(dataset) as opened:
        if len(opened.rows) <= products:
            raise InvalidInput(
                f"{dataset} has {len(opened.rows):,} products: take fewer into the catalogue by --products, so that "
                "there are others to ask with.",
                reason="DATASET_TOO_SMALL",
            )
        data, log = Path(folder) / "data", Path(folder) / "stack.log"
        settings = {"SEARCH_DATA_DIR": str(data), "EMBEDDER_BUNDLE": str(bundle.absolute()), "GATEWAY_ENABLED": "false"}
        with running("services.stack", settings, log) as stack, grpc.insecure_channel(stack.target) as channel:
            command = ["-m", "cli", "ingest", str(dataset), "--server", stack.target, "--limit", str(products)]
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            operator = reindex_pb2_grpc.ReindexServiceStub(channel)
            canaries = _canaries(search_pb2_grpc.SearchServiceStub(channel), opened, products)
            outcomes: dict[str, dict[str, Any]] = {}
            for name, alteration in ALTERATIONS.items():
                path = Path(folder) / name.replace(" ", "-")
                altered_bundle(bundle, path, alteration)
                outcomes[name] = outcome(operator, path, canaries)
                say(f"{name}: {outcomes[name]}")
            for path in others:
                outcomes[str(path)] = outcome(operator, path.absolute(), canaries)
                say(f"{path}: {outcomes[str(path)]}")
    problems = [
        f"The gate {'lets pass' if each['passed'] else 'refuses'} {name}."
        for name, each in outcomes.items()
        if name in ALTERATIONS and each["passed"] != (name in GOOD)
    ]
    return {
        "machine": asdict(machine),
        "products": products,
        "canaries": len(canaries),
        "models": outcomes,
        "problems": problems,
        "seconds": round(time.monotonic() - began),
    }


def outcome(operator: Any, bundle: Path, canaries: Sequence[reindex_pb2.Canary]) -> dict[str, Any]:
    """Returns what the gate says of a bundle, and gives it up.

    Args:
        operator: a stub of ReindexService.
        bundle: its folder.
        canaries: queries with a known answer.

    Raises:
        DeadlineExceeded: it was not judged in time.
    """
    request = reindex_pb2.StartReindexRequest(bundle=str(bundle), canaries=canaries, hold=True)
    operator.StartReindex(request, timeout=_TIMEOUT_S)
    until, judged = time.monotonic() + _LONGEST_S, None
    while judged is None:
        state = operator.GetReindex(reindex_pb2.GetReindexRequest(), timeout=_TIMEOUT_S).reindex
        if state.other.status != reindex_pb2.GENERATION_STATUS_BUILDING:
            judged = state.comparison
        elif time.monotonic() > until:
            raise DeadlineExceeded(
                f"The gate has not judged {bundle} within {_LONGEST_S:.0f} s: {state.trouble or 'it still builds.'}",
                reason="DEADLINE_EXCEEDED",
            )
        else:
            time.sleep(_POLL_S)
    operator.EndReindex(reindex_pb2.EndReindexRequest(), timeout=_TIMEOUT_S)
    return {
        "passed": not judged.reasons,
        "overlap": round(judged.overlap, 3),
        "live_label_agreement": round(judged.live_label_agreement, 3),
        "next_label_agreement": round(judged.next_label_agreement, 3),
        "live_canaries": sum(each.live_passed for each in judged.canaries),
        "next_canaries": sum(each.next_passed for each in judged.canaries),
        "lost": judged.lost_count,
        "reasons": [*judged.reasons],
    }


def _canaries(search: Any, dataset: Dataset, products: int) -> list[reindex_pb2.Canary]:
    """Returns photographs of products that are not in the catalogue, and whose kind the live model finds clearly."""
    known = {row.derived_type for row in dataset.rows[:products]}
    rows = [row for row in dataset.rows[products:] if row.derived_type in known]
    canaries: list[reindex_pb2.Canary] = []
    for at in np.linspace(0, len(rows) - 1, min(_TRIED, len(rows))).astype(int):
        types = [rows[at].derived_type, rows[at].article_type]
        image = types_pb2.Image(content=dataset.photograph(rows[at].id))
        answer = search.FindSimilar(search_pb2.FindSimilarRequest(image=image), timeout=_TIMEOUT_S)
        found = [{each.product.derived_type, each.product.article_type} for each in answer.products]
        if found and all(each & {*types} for each in found):
            canaries.append(reindex_pb2.Canary(name=rows[at].id, image=image, expected_types=types))
    return canaries[:_CANARIES]
