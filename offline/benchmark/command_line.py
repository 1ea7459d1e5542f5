"""Measures the processor time of commands: `python -m offline.benchmark.command_line SERVER PRODUCT_ID [ROUNDS]`.

Every round runs each command once, in a process of its own, so that a busy machine slows all of them alike. The floor
is a program of the same libraries (Typer, Rich) that does nothing.
"""

import os
import statistics
import subprocess
import sys
from typing import Final

_ROUNDS: Final = 9
_FLOOR: Final = """
import typer
app = typer.Typer(rich_markup_mode="rich", add_completion=False)
@app.command()
def nothing(word: str = "", number: int = 1) -> None: ...
app()
"""


def processor_time_s(command: list[str]) -> float:
    """Runs a command to its end, and returns the processor time that it took, in seconds."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def commands(server: str, product_id: str) -> dict[str, list[str]]:
    """Returns the commands to measure, by name."""
    fashion = [sys.executable, "-m", "cli"]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "floor": [sys.executable, "-c", _FLOOR],
        "floor --help": [sys.executable, "-c", _FLOOR, "--help"],
        "fashion --help": [*fashion, "--help"],
        "fashion search --help": [*fashion, "search", "--help"],
        "fashion search ID": [*fashion, "search", product_id, "--server", server],
        "fashion search ID --json": [*fashion, "search", product_id, "--json", "--server", server],
    }


def main() -> None:
    """Prints the median and the range of each command, in seconds."""
    if not 3 <= len(sys.argv) <= 4:
        sys.exit("usage: python -m offline.benchmark.command_line SERVER PRODUCT_ID [ROUNDS]")
    measured = commands(*sys.argv[1:3])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else _ROUNDS
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, command in measured.items():
            times[name].append(processor_time_s(command))
    for name, each in times.items():
        print(f"{name:26} {statistics.median(each):.2f}  ({min(each):.2f} to {max(each):.2f})")  # noqa: T201


if __name__ == "__main__":
    main()
