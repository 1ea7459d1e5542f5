"""`fashion bench milvus`: searches a second of several processes on one Milvus."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cli.commands.bench.options import FIGURES, Output, say, without_proxies


def milvus(
    target: Annotated[str, typer.Option("--target", metavar="URL", help="Address of Milvus.")],
    token: Annotated[
        str,
        typer.Option("--token", envvar="SEARCH_MILVUS_TOKEN", metavar="TOKEN", help='"user:password", or a key.'),
    ] = "",
    products: Annotated[int, typer.Option(metavar="N", min=1000, help="Number of products.")] = 40_000,
    seconds: Annotated[float, typer.Option(metavar="S", min=1, help="Time per figure.")] = 5.0,
    output: Output = FIGURES,
) -> None:
    """Ask one Milvus with one, two and three processes, and the index in the process beside it."""
    from offline.benchmark.machine import Machine
    from offline.benchmark.milvus_rate import milvus_rates
    from services.search.indexes.milvus.settings import MilvusSettings

    without_proxies()
    machine = Machine.this()
    figures = milvus_rates(MilvusSettings(target, token, timeout_s=30.0), products, seconds, (1, 2, 3), say())
    output.mkdir(parents=True, exist_ok=True)
    file = output / "milvus.json"
    file.write_text(json.dumps({"machine": asdict(machine), **figures}, indent=1) + "\n")
    say()(f"{file}")
