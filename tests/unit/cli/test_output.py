import io

import pytest
from rich.console import Console

from cli import output


@pytest.mark.parametrize("terminal", [False, True])
def test_what_goes_on_is_shown_also_where_nothing_can_turn(terminal: bool) -> None:
    shown = io.StringIO()
    with output.status(Console(file=shown, force_terminal=terminal, width=40), "Drawing a [demo] catalogue …"):
        pass
    assert (shown.getvalue() == "Drawing a [demo] catalogue …\n") is not terminal
    assert "Drawing a" in shown.getvalue()
