"""`fashion bench milvus` and `milvus-indexes`: several processes on one Milvus, and what its index types find."""

from typing import Annotated

import typer

from cli.commands.bench.options import FIGURES, WORK, CatalogueWork, Output, say, without_proxies, write_figures

_Target = Annotated[str, typer.Option("--target", metavar="URL", help="Address of Milvus.")]
_Token = Annotated[
    str, typer.Option("--token", envvar="SEARCH_MILVUS_TOKEN", metavar="TOKEN", help='"user:password", or a key.')
]


def milvus(
    target: _Target,
    token: _Token = "",
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
    write_figures(file := output / "milvus.json", machine, figures)
    say()(f"{file}")


def milvus_indexes(
    target: _Target,
    token: _Token = "",
    work: CatalogueWork = WORK,
    output: Output = FIGURES,
) -> None:
    """Ask the index types of a Milvus server under filters, as they are: are answers filled, and right."""
    import numpy as np

    from offline.benchmark.machine import Machine
    from offline.benchmark.milvus_indexes import index_figures
    from offline.benchmark.selectivity import stored_types
    from services.search.indexes.milvus.settings import MilvusSettings

    without_proxies()
    machine = Machine.this()
    stored = stored_types(work / "data")
    known = [(kind.derived_type, each) for kind, rows in stored for each in rows if each is not None]
    types, embeddings = [kind for kind, _ in known], np.stack([each for _, each in known])
    figures = index_figures(MilvusSettings(target, token), embeddings, types, say())
    write_figures(file := output / "milvus-indexes.json", machine, figures)
    say()(f"{file}")
