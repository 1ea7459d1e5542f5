"""Options that several commands share: declared once, added to a command by a decorator."""

import functools
import inspect
from collections.abc import Callable, Sequence

Command = Callable[..., None]


def shared_options(
    parameter: str, build: Callable[..., object], options: Sequence[inspect.Parameter] | None = None
) -> Callable[[Command], Command]:
    """Gives a command options whose values arrive as one argument.

    Typer reads options from a command's signature. In that signature the decorator puts the options where `parameter`
    stood; the command itself receives what `build` makes of their values.

    Args:
        parameter: a keyword-only parameter of the command.
        build: makes its value; called with the options' values by name.
        options: parameters with Typer's annotations. Default: those of `build`.
    """
    added = list(inspect.signature(build).parameters.values()) if options is None else options

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_options(**values: object) -> None:
            own = {option.name: values.pop(option.name) for option in added}
            command(**values, **{parameter: build(**own)})

        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(command).parameters.values():
            parameters += added if each.name == parameter else [each]
        shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        with_options.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in shown}
        return with_options

    return decorate
