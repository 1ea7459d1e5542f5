"""`fashion bench`: measures the product, its floor, and other ways to the same results; a command per benchmark."""

import typer

from cli.commands.bench import checks, speed
from cli.commands.bench.milvus import milvus, milvus_indexes
from cli.commands.bench.scale import scale
from cli.commands.bench.selectivity import selectivity

app = typer.Typer(
    help="Measure speed and memory beside the floor and other ways, and check what must never go wrong.",
    epilog=(
        "Examples:\n\nfashion bench all fashion-product-images-small.zip\n\n"
        "fashion bench latency fashion-product-images-small.zip --rounds 9\n\n"
        "fashion bench correctness --queries 100000\n\n"
        "Each command writes its figures as JSON into --output. Nothing else should run on the machine: SIGSTOP "
        "pauses a training run, and SIGCONT resumes it.\n\n"
        "Exit codes: 0 done, also with a missed target · 1 something was wrong or lost · 2 bad input"
    ),
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)
speed.add_to(app)
app.command()(selectivity)
app.command()(scale)
app.command()(milvus)
app.command()(milvus_indexes)
checks.add_to(app)
