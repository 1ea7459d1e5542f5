"""Judges mutants in a process of its own, which may die of them, and watches what their readers do meanwhile.

It reads lines of JSON with the kind and the folder of a mutant, and writes one line for each.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final

# What no reader of a file has to do: start programs, load code, unpickle, reach out.
_FORBIDDEN: Final = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.symlink", "os.link", "subprocess.Popen",
    "pickle.find_class", "marshal.loads", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo", "socket.bind",
    "code.__new__", "function.__new__", "webbrowser.open", "shutil.unpack_archive",
)  # fmt: skip
# Beside the memory that the sound files take, so that a mutant fills no machine.
_SPARE_BYTES: Final = 3 << 30


class Watch:
    """What readers of mutants did that they must not do."""

    def __init__(self, folder: Path, canary: Path) -> None:
        """Takes the only folder where files may be written, and the file that nothing may open."""
        self._folder, self._canary = str(folder), str(canary)
        self._code = (sys.prefix, sys.base_prefix, *(path for path in sys.path if path), "<frozen")
        self.active = False
        self.events: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Takes an event of the interpreter (PEP 578)."""
        if not self.active:
            return
        if event == "marshal.loads" and sys._getframe(1).f_code.co_filename.startswith("<frozen"):
            # Python's own import of a module.
            return
        if event in _FORBIDDEN:
            self.events.append(f"{event} {arguments!r}"[:200])
        elif event == "exec":
            # Modules that a reader needs come from files of ours and of Python; code of a mutant would not.
            source = getattr(arguments[0], "co_filename", "")
            if not source.startswith(self._code):
                self.events.append(f"exec of {source!r}")
        elif event == "open":
            path, flags = str(arguments[0]), arguments[2]
            writes = isinstance(flags, int) and flags & 0o3
            if path == self._canary or (writes and not self._may_be_written(path)):
                self.events.append(f"open {path!r} with {flags:o}")

    def _may_be_written(self, path: str) -> bool:
        return path.isdecimal() or path.startswith((self._folder, "/dev/null"))


def main() -> None:
    """Judges until its input ends; the arguments are a folder, and the file that nothing may open."""
    folder, canary = map(Path, sys.argv[1:3])
    warnings.simplefilter("ignore")
    # What readers print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    from offline.benchmark.hostile_files.judge import judge

    watch = Watch(folder, canary)
    sys.addaudithook(watch)
    limited = False
    for line in sys.stdin:
        order = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")
        before, began = _memory("VmRSS"), time.process_time()
        watch.active = order["watched"]
        if order["watched"] and not limited:
            limited = True
            most = _memory("VmSize") + _SPARE_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            outcome, problem = judge(order["kind"], Path(order["folder"]))
        except BaseException as error:
            outcome, problem = "raised", f"{type(error).__name__}: {error}"[:400] + _where(error)
        watch.active = False
        if watch.events:
            problem = f"{problem} {'; '.join(watch.events[:3])}".strip()
            watch.events.clear()
        answer = {
            "outcome": outcome,
            "problem": problem,
            "seconds": round(time.process_time() - began, 3),
            "grown_mib": round((_memory("VmHWM") - before) / 2**20, 1),
        }
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _where(error: BaseException) -> str:
    """Returns the last place of ours that an error went through."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/site-packages/" not in file and "/lib/python" not in file:
            place = f" at {Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _memory(name: str) -> int:
    """Returns a figure of this process's memory in bytes; only on Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
