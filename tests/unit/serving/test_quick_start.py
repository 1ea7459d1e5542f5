"""What a service imports as it starts: nothing that is heavy and of no use to it."""

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.support.processes import ROOT

# A service has use for none of these.
HEAVY = (
    *("pandas", "pyarrow", "scipy", "sklearn", "matplotlib", "tensorflow", "keras", "torch", "jax"),
    *("typer", "click", "rich", "pygments", "jsonschema", "requests", "httpx", "psutil", "pymilvus"),
    *("opentelemetry.sdk", "opentelemetry.exporter", "cli", "offline", "tests"),
)
# Runtimes and servers, which a process imports once its settings ask for them.
LATER = ("openvino", "fastapi", "starlette", "uvicorn")
WITHOUT = {
    "embedder": (*LATER, "faiss", "redis", "opentelemetry", "sqlite3"),
    "classifier": (*LATER, "faiss", "sqlite3"),
    "search": (*LATER, "PIL"),
    "gateway": ("openvino", "faiss", "redis", "sqlite3"),
    "stack": LATER,
}


def imported(service: str) -> Collection[str]:
    script = f"import sys, services.{service}.__main__; print(*(name for name in sys.modules if sys.modules[name]))"
    return subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).split()


@pytest.mark.parametrize("service", WITHOUT)
def test_a_service_imports_nothing_heavy_that_it_has_no_use_for(service: str) -> None:
    unwanted = (*HEAVY, *WITHOUT[service])
    # Uvicorn imports click, whatever it is told.
    allowed = ("click",) if service == "gateway" else ()
    found = {
        each
        for name in imported(service)
        for each in unwanted
        if (name == each or name.startswith(f"{each}.")) and each not in allowed
    }
    assert not found


def test_what_was_kept_away_from_libraries_can_be_imported_once_the_process_runs() -> None:
    script = (
        "import sys, services.stack.__main__; from services.serving import quick_start; quick_start.imported(); "
        "import rich.traceback, opentelemetry.sdk.metrics; print('both')"
    )
    assert subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True) == "both\n"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux lists the threads of a process")
@pytest.mark.parametrize(("given", "expected"), [({}, "1 PASSIVE 1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2 PASSIVE 2")])
@pytest.mark.parametrize("service", ["embedder", "search", "stack"])
def test_no_thread_spins_unless_told_to(service: str, given: dict[str, str], expected: str) -> None:
    script = (
        f"import os, services.{service}.__main__, numpy; numpy.ones((900, 900)) @ numpy.ones((900, 900)); "
        "print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'], len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))}
    found = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True, env={**environment, **given})
    assert found.split() == expected.split()
