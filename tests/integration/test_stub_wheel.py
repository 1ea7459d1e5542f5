"""Backend teams cannot choose our packages: the stubs work with protobuf 6 and 7, and with grpcio from 1.66 on."""

import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import python_example
from tests.support.one_product import one_product

ROOT = Path(__file__).resolve().parents[2]
CALLER = """
import sys
import google.protobuf
import grpc
from fashion.v1 import search_pb2, search_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    search = search_pb2_grpc.SearchServiceStub(channel)
    answer = search.FindSimilar(search_pb2.FindSimilarRequest(product_id="1001", top_k=5), timeout=10)
    try:
        search.FindSimilar(search_pb2.FindSimilarRequest(), timeout=10)
    except grpc.RpcError as caught:
        error = caught
for found in answer.products:
    print(google.protobuf.__version__, found.product.id, f"{found.similarity:.2f}")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    subprocess.run(["cp", "-r", f"{ROOT}/stubs/.", f"{ROOT}/fashion", str(source)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture
def target() -> Iterator[str]:
    with one_product() as address:
        yield address


def called(wheel: str, packages: list[str], program: str, target: str, folder: Path) -> list[str]:
    """Installs the wheel beside given packages, runs a program in that environment, and returns its lines."""
    venv.create(folder)
    python = str(folder / "bin" / "python")
    # With the pip of the tests: one of its own takes longer to install than the rest.
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, wheel, *packages], check=True, timeout=250)
    call = subprocess.run([python, "-c", program, target], check=True, timeout=60, capture_output=True, text=True)
    return call.stdout.splitlines()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("major", [6, 7])
def test_stubs_work_with_protobuf(major: int, wheel: Path, target: str, tmp_path: Path) -> None:
    program = CALLER + python_example("docs/api.md", "rpc_status")
    answer, info = called(f"{wheel}[errors]", [f"protobuf=={major}.*"], program, target, tmp_path)
    version, product, similarity = answer.split()
    assert version.startswith(f"{major}.")
    assert (product, similarity) == ("1001", "0.50")
    assert info == "PRODUCT_NOT_FOUND {'id': ''}"


@pytest.mark.timeout(300)
def test_stubs_work_with_the_oldest_packages_that_they_allow(wheel: Path, target: str, tmp_path: Path) -> None:
    wanted = tomllib.loads((ROOT / "stubs" / "pyproject.toml").read_text())["project"]["dependencies"]
    oldest = [re.sub(r">=([\d.]+).*", r"==\1", each) for each in wanted]
    assert "grpcio==1.66" in oldest
    (answer,) = called(str(wheel), oldest, f"{CALLER}assert grpc.__version__ == '1.66.0'\n", target, tmp_path)
    assert answer.split()[1:] == ["1001", "0.50"]
