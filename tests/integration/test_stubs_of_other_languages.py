"""The templates in stubs/ generate code that compiles: TypeScript, which also makes a call, Go and Java."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.one_product import one_product

ROOT = Path(__file__).resolve().parents[2]
# Where Debian's libraries of Go and Java lie; elsewhere for packages that are unpacked and not installed.
SHARE = Path(os.environ.get("FASHION_DEBIAN_ROOT", "/")) / "usr" / "share"


def need(*programs: str, libraries: Path | None = None) -> None:
    """Skips where a program or a folder of libraries is missing."""
    missing = [each for each in programs if shutil.which(each) is None]
    if libraries is not None and not libraries.exists():
        missing.append(str(libraries))
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed (npm, or Debian's packages)")


def run(*command: str | Path, folder: Path = ROOT, path: Path | None = None, **variables: str) -> str:
    environment = {**os.environ, **variables}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def generate(language: str, out: Path, path: Path | None = None) -> None:
    template = ROOT / "stubs" / language / "buf.gen.yaml"
    run(Path(sys.executable).parent / "buf", "generate", "--template", template, "--output", out, path=path)


@pytest.mark.timeout(300)
def test_the_stubs_of_typescript_compile_and_call(tmp_path: Path) -> None:
    need("npm", "node")
    folder = tmp_path / "stubs" / "typescript"
    shutil.copytree(ROOT / "stubs" / "typescript", folder)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    if subprocess.run(install, cwd=folder, capture_output=True, check=False, timeout=200).returncode:
        pytest.skip("npm's registry is not reachable")
    programs = folder / "node_modules" / ".bin"
    generate("typescript", tmp_path, programs)
    run(programs / "tsc", folder=folder)
    with one_product() as target:
        said = run("node", "build/example.js", f"http://{target}", "1001", folder=folder)
    assert said.split()[:2] == ["0.500", "1001"]


# Go compiles its own library first.
@pytest.mark.timeout(600)
def test_the_stubs_of_go_compile(tmp_path: Path) -> None:
    need("go", "protoc-gen-go", "protoc-gen-go-grpc", libraries=SHARE / "gocode")
    generate("go", tmp_path / "src")
    package = tmp_path / "src" / "fashion" / "v1"
    variables = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{SHARE / 'gocode'}", "GOCACHE": str(tmp_path / "cache")}
    run("go", "vet", ".", folder=package, **variables)


@pytest.mark.timeout(300)
def test_the_stubs_of_java_compile(tmp_path: Path) -> None:
    need("javac", "protoc", "grpc_java_plugin", libraries=SHARE / "java" / "grpc-stub.jar")
    # Debian calls the plugin by another name than its makers.
    (tmp_path / "protoc-gen-grpc-java").symlink_to(str(shutil.which("grpc_java_plugin")))
    generate("java", tmp_path, tmp_path)
    sources = [str(each) for each in (tmp_path / "src").rglob("*.java")]
    assert any(each.endswith("SearchServiceGrpc.java") for each in sources)
    run("javac", "-nowarn", "-proc:none", "-d", tmp_path / "classes", "-cp", f"{SHARE / 'java'}/*", *sources)
