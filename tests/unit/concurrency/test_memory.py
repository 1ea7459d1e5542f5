"""Threads of a service take memory from few places of the C library."""

import os
import platform
import subprocess
import sys

import pytest

# Threads that are there at the same time ask the C library for memory, and it tells its places.
_PROGRAM = """
import asyncio, ctypes, os, threading
from services.serving.run import run_process

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
libc, together = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype = ctypes.c_void_p

def take():
    together.wait()
    libc.malloc(100_000)
    together.wait()

async def main():
    threads = [threading.Thread(target=take) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        await asyncio.to_thread(each.join)
    libc.malloc_stats()

run_process("test", main)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library alone has several")
@pytest.mark.parametrize(("asked", "few"), [({}, True), ({"MALLOC_ARENA_MAX": "64"}, False)])
def test_two_processors_share_one_arena_unless_told_otherwise(asked: dict[str, str], few: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | asked
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (done.stderr.count("Arena ") == 1) == few
