"""Hands thousands of mutated files to their readers: each is read, or refused with a sentence, in time and memory."""

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any, Final

from offline.benchmark.hostile_files import material
from offline.benchmark.hostile_files.bombs import bombs
from offline.benchmark.hostile_files.mutants import READ, Mutant, Mutants
from offline.benchmark.machine import Machine
from services.contract.errors import NotReady

Say = Callable[[str], None]

# Of the processor.
MAX_SECONDS: Final = 20.0
MAX_GROWTH_MIB: Final = 512.0
# What takes so long has hung, on the busiest machine.
_HUNG_S: Final = 300.0
_MAX_PROBLEMS: Final = 40


def sources() -> dict[str, dict[str, material.Files]]:
    """Returns sound files by kind and name."""
    return {
        "feed": material.feeds(),
        "mapping": {"mapping": material.mapping()},
        "data set": {"Kaggle": material.data_set()},
        "bundle": {"bundle": material.bundle()},
        "backup": material.backups(),
    }


def files(count: int, seed: int, say: Say = lambda text: None) -> dict[str, Any]:
    """Hands mutants to their readers, after files that were made to do harm.

    Args:
        count: how many mutants.
        seed: of all that is random.
        say: takes a line now and then.

    Returns:
        The figures; `problems` is empty where each mutant was read with every row counted, or refused with a sentence.
    """
    began, machine = time.monotonic(), Machine.this()
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    problems: list[str] = []
    slowest, largest = 0.0, 0.0
    with TemporaryDirectory() as place:
        folder, canary = Path(place) / "work", Path(place) / "canary"
        folder.mkdir()
        canary.write_text("opened")
        sound = sources()
        known = [Mutant(kind, name, content) for kind, named in sound.items() for name, content in named.items()]
        with _worker(folder, canary, known) as worker:

            def judge(mutant: Mutant, expected: str = "") -> None:
                nonlocal slowest, largest
                answer = worker.judge(mutant)
                outcome, problem = answer["outcome"], answer["problem"]
                outcomes[mutant.kind][outcome] += 1
                slowest, largest = max(slowest, answer["seconds"]), max(largest, answer["grown_mib"])
                if answer["seconds"] > MAX_SECONDS:
                    problem += f" It takes {answer['seconds']:.0f} s."
                if answer["grown_mib"] > MAX_GROWTH_MIB:
                    problem += f" It takes {answer['grown_mib']:.0f} MiB."
                if expected and outcome != expected:
                    problem += f" Expected was {expected}."
                if problem:
                    problems.append(f"{mutant.kind}, {mutant.name}: {outcome}. {problem}")

            for bomb, expected in bombs(
                sound["bundle"]["bundle"], sound["backup"]["backup"], sound["data set"]["Kaggle"], str(canary)
            ):
                judge(bomb, expected)
            say(f"{sum(map(Counter.total, outcomes.values()))} bombs, {len(problems)} wrong")
            for number, mutant in enumerate(islice(Mutants(sound, seed, str(canary)), count), 1):
                judge(mutant)
                if number % 1000 == 0:
                    say(f"{number:,} files, {len(problems)} wrong")
    return {
        "load_at_begin": machine.load,
        "files": sum(map(Counter.total, outcomes.values())),
        "outcomes": {kind: dict(counted.most_common()) for kind, counted in outcomes.items()},
        "wrong": len(problems),
        "slowest_s": round(slowest, 2),
        "largest_growth_mib": round(largest),
        "problems": problems[:_MAX_PROBLEMS],
        "seconds": round(time.monotonic() - began),
    }


class _Worker:
    """A process that judges one mutant after the other; one that dies or hangs is begun again."""

    def __init__(self, folder: Path, canary: Path, sound: Sequence[Mutant]) -> None:
        self._folder, self._canary, self._sound = folder, canary, sound
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def judge(self, mutant: Mutant, *, watched: bool = True) -> dict[str, Any]:
        """Returns what the worker says of a mutant."""
        place = self._folder / "mutant"
        rmtree(place, ignore_errors=True)
        for name, content in mutant.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        if self._process is None:
            self._start()
            for each in self._sound:
                # With them the readers import what they need.
                found = self.judge(each, watched=False)
                if found["outcome"] != READ or found["problem"]:
                    raise NotReady(f"The sound file {each.name} is not read: {found}", reason="SERVER_NOT_READY")
            return self.judge(mutant, watched=watched)
        assert self._process is not None and self._process.stdin is not None
        began = time.monotonic()
        # One that has died meanwhile has ended its answers too.
        with suppress(BrokenPipeError):
            order = {"kind": mutant.kind, "folder": str(place), "watched": watched}
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=_HUNG_S)
        except queue.Empty:
            outcome, problem = "hung", f"It has not answered for {_HUNG_S:.0f} s."
        else:
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            # Its answers end a moment before it does.
            outcome, problem = "died", f"It ended with {self._process.wait(_HUNG_S)}."
        self.end()
        return {"outcome": outcome, "problem": problem, "seconds": time.monotonic() - began, "grown_mib": 0.0}

    def _start(self) -> None:
        command = [sys.executable, "-m", f"{__package__}.worker", str(self._folder), str(self._canary)]
        environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(self._folder), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[3],
        )
        self._process, self._answers = process, queue.Queue()
        threading.Thread(target=_pass_on, args=(process.stdout, self._answers), daemon=True).start()

    def end(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _pass_on(lines: Iterable[str], answers: "queue.Queue[str]") -> None:
    for line in lines:
        answers.put(line)
    # It has ended.
    answers.put("")


@contextmanager
def _worker(folder: Path, canary: Path, sound: Sequence[Mutant]) -> Iterator[_Worker]:
    worker = _Worker(folder, canary, sound)
    try:
        yield worker
    finally:
        worker.end()
