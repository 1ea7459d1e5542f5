"""The command line's entrance: which commands there are, and what becomes of an error."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from services.contract.errors import FashionError

DEBUG_VARIABLE = "FASHION_DEBUG"

_HELP = """Visual recommendation for fashion shops: a product or a photograph in, similar products out.

Start with [bold]fashion demo[/bold]; it needs nothing else running.
"""

# What a person can do, where the error itself cannot know that a person reads it.
_HINTS = {
    "SEARCH_UNAVAILABLE": "start it with `{fashion} serve`, or name another with --server",
    "BUNDLE_NOT_FOUND": "name a model's folder with EMBEDDER_BUNDLE, or run this in the project's folder",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the command line, known by name before its module is imported."""

    name: str
    module: str
    attribute: str
    summary: str


ENTRIES = (
    Entry("demo", "cli.demo.command", "app", "Show the main job on a demo catalogue, or on your own data set."),
    Entry("serve", "cli.commands.serve", "serve_app", "Start the stack (all services on one port), or one service."),
    Entry("stop", "cli.commands.serve", "stop_app", "Stop the stack that `serve --detach` left running."),
    Entry("ingest", "cli.commands.ingest", "app", "Put a data set in Kaggle's layout into the catalogue."),
    Entry("search", "cli.commands.search", "app", "Find products similar to a product or a photograph."),
    Entry("catalogue", "cli.commands.catalogue", "app", "Look into the catalogue: stats, list, get, map, delete."),
    Entry("users", "cli.commands.users", "app", "Colours that a user dislikes: dislike, undislike, list, forget."),
    Entry("dataset", "cli.commands.dataset", "app", "Data sets: download, draw, split, check."),
    Entry("train", "cli.commands.train", "app", "Train a model and write its bundle."),
    Entry("evaluate", "cli.commands.evaluate", "app", "Measure retrieval and classification on any data set."),
    Entry("bench", "cli.commands.bench", "app", "Measure speed and memory, beside the floor and what others use."),
)


class LazyCommand(TyperCommand):
    """A command whose module is imported when it is used, so that `fashion --help` is quick."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hands over to the real command."""
        module = importlib.import_module(self._entry.module)
        command = typer.main.get_command(getattr(module, self._entry.attribute))
        return command.make_context(info_name, args, parent=parent, **extra)


class CommandTable(TyperGroup):
    """The commands whose modules are installed."""

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


@app.callback(
    epilog=(
        "Every command has an example: fashion COMMAND --help\n\n"
        "Exit codes: 0 done · 1 unexpected, or the server failed · 2 bad usage or input · 3 not found · 4 unavailable, "
        "overloaded or out of time: try again · 130 interrupted"
    )
)
def _root() -> None:
    # Typer builds a group only around a callback.
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: those of the process where None.

    Returns:
        The exit code, as `cli.output` lists them.
    """
    # Only errors need these, and they import the protobuf runtime.
    from cli import output

    try:
        app(args=None if arguments is None else list(arguments), prog_name="fashion")
    except SystemExit as exited:
        if isinstance(exited.code, str):
            output.say_error(exited.code)
            return output.EXIT_ERROR
        return exited.code or output.EXIT_OK
    except FashionError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        hint = _HINTS.get(error.reason, "").format(fashion=output.command_name())
        output.say_error(f"{error.message}; {hint}" if hint else error.message, error.reason)
        return output.exit_code(error)
    except KeyboardInterrupt:
        return output.EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        text = " ".join(str(error).split()) or "no further text"
        output.say_error(f"unexpected {type(error).__name__}: {text}; {DEBUG_VARIABLE}=1 shows where")
        return output.EXIT_ERROR
    return output.EXIT_OK


def main() -> None:
    """Runs the command line of this process."""
    # Threads that spin while they wait take the processor from inference. Both are read when numpy is imported, later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run())


if __name__ == "__main__":
    main()
