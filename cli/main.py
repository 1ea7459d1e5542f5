"""The entrance of the command line: its commands, and what it does with an error."""

import importlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from services.concurrency.spinning import wait_passively
from services.contract.errors import FashionError

DEBUG_VARIABLE = "FASHION_DEBUG"

# --color is another spelling of --colour, in every command.
_AMERICAN = re.compile(r"^(--(?:\w+-)*)color(?=$|[-=])")

_HELP = """Find similar products in a fashion shop, for a product or a photograph.

Start with [bold]fashion demo[/bold], which needs nothing else.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command whose name and summary are known before its module is imported."""

    name: str
    module: str
    attribute: str
    summary: str


ENTRIES = (
    Entry("demo", "cli.demo.command", "app", "Show what it does, on a demo catalogue or on your own data set."),
    Entry("serve", "cli.commands.serve", "serve_app", "Start the stack (all services on one port), or one service."),
    Entry("stop", "cli.commands.serve", "stop_app", "Stop the stack that `serve --detach` left running."),
    Entry("ingest", "cli.commands.ingest", "app", "Put the products of a data set into the catalogue."),
    Entry("search", "cli.commands.search", "app", "Find products similar to a product or a photograph."),
    Entry(
        "catalogue", "cli.commands.catalogue", "app", "Look into the catalogue, draw a map of it, or delete products."
    ),
    Entry("export", "cli.commands.export", "app", "Write lists of similar products, or the whole catalogue, to files."),
    Entry("reindex", "cli.commands.reindex", "app", "Change the model of a running search, without a pause."),
    Entry("backup", "cli.commands.backup", "backup_app", "Copy a data directory into a file, while the stack runs."),
    Entry("restore", "cli.commands.backup", "restore_app", "Make a data directory of a backup."),
    Entry("verify", "cli.commands.backup", "verify_app", "Check every product and photograph of a data directory."),
    Entry("doctor", "cli.commands.doctor", "app", "Ask a running deployment how it is, and what to do."),
    Entry("users", "cli.commands.users", "app", "Change and show the colours that a user dislikes."),
    Entry("shoppers", "cli.commands.shoppers", "app", "Hand over or erase what is kept about one shopper."),
    Entry("keys", "cli.commands.keys", "app", "Make, list and revoke the keys that callers need."),
    Entry("index", "cli.commands.index", "app", "Check a Milvus before search uses it."),
    Entry("certificates", "cli.commands.certificates", "app", "Make certificates of the services, for trials."),
    Entry("dataset", "cli.commands.dataset", "app", "Download, draw, split or check a data set."),
    Entry("train", "cli.commands.train", "app", "Train a model and write its bundle."),
    Entry("garments", "cli.commands.garments", "app", "Train the heads that find garments in photographs."),
    Entry("evaluate", "cli.commands.evaluate", "app", "Measure how good search and recognition are, on any data set."),
    Entry("bench", "cli.commands.bench", "app", "Measure speed and memory, and compare with other ways."),
)


class LazyCommand(TyperCommand):
    """A command that imports its module when it runs, so that `fashion --help` is quick."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Returns the context of the real command."""
        end = args.index("--") if "--" in args else len(args)
        args = [_AMERICAN.sub(r"\1colour", each) for each in args[:end]] + args[end:]
        module = importlib.import_module(self._entry.module)
        command = typer.main.get_command(getattr(module, self._entry.attribute))
        return command.make_context(info_name, args, parent=parent, **extra)


class CommandTable(TyperGroup):
    """The group of all commands whose modules are installed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry in ENTRIES:
            if importlib.util.find_spec(entry.module) is not None:
                self.add_command(LazyCommand(entry))


app = typer.Typer(
    cls=CommandTable,
    help=_HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib import metadata

    typer.echo(f"fashion {metadata.version('fashion-recommender')}")
    raise typer.Exit


@app.callback(
    epilog=(
        "fashion COMMAND --help explains a command, with examples.\n\n"
        "Exit codes: 0 done · 1 unexpected, or the server failed · 2 bad usage or input · 3 not found · 4 server "
        "unavailable, overloaded or too slow: try again · 130 interrupted"
    )
)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    # Typer makes a group only of a callback.
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the arguments; None for those of the process.

    Returns:
        One of the exit codes of `cli.output`.
    """
    # Only errors need it.
    from cli import output

    try:
        app(args=None if arguments is None else list(arguments), prog_name="fashion")
    except SystemExit as exited:
        if isinstance(exited.code, str):
            output.print_error(exited.code)
            return output.EXIT_ERROR
        return exited.code or output.EXIT_OK
    except FashionError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        output.print_error(f"{error.message} {output.hint(error)}", error.reason)
        return output.exit_code(error)
    except KeyboardInterrupt:
        return output.EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        # Needed here alone, and slow to import.
        from services.serving.settings import SettingsError

        if isinstance(error, SettingsError):
            output.print_error(str(error), "SETTINGS_INVALID")
            return output.EXIT_BAD_INPUT
        text = " ".join(str(error).split()) or "no further text"
        output.print_error(f"Unexpected {type(error).__name__}: {text}. Set {DEBUG_VARIABLE}=1 to see where.")
        return output.EXIT_ERROR
    return output.EXIT_OK


def main() -> None:
    """Runs the command line of this process."""
    wait_passively()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the encoding of a stream lacks is replaced, and ends nothing.
            stream.reconfigure(errors="replace")
    sys.exit(run())


if __name__ == "__main__":
    main()
