"""Generates the Python stubs in fashion/v1 from protos/, or checks that they are up to date.

python tools/generate_stubs.py [--check]
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("fashion/v1")
# What is written runs with this grpcio (tests/integration/test_stub_wheel.py), though the generator demands its own.
OLDEST_GRPCIO = "1.66.0"


def generate(out: Path) -> None:
    """Writes the stubs of every proto file below `out`."""
    protos = sorted((ROOT / "protos" / PACKAGE).glob("*.proto"))
    includes = [f"-I{ROOT / 'protos'}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}"
    messages = [f"--python_out={out}", f"--pyi_out={out}"]
    services = [plugin, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    for proto in protos:
        outputs = messages + (services if "\nservice " in proto.read_text() else [])
        if protoc.main(["protoc", *includes, *outputs, str(proto)]):
            sys.exit(f"protoc failed on {proto.relative_to(ROOT)}: its message is above.")
    for stub in (out / PACKAGE).glob("*_pb2_grpc.py"):
        text, count = re.subn(r"(?<=^GRPC_GENERATED_VERSION = ')[\d.]+", OLDEST_GRPCIO, stub.read_text(), flags=re.M)
        if count != 1:
            sys.exit(f"{stub.name} does not say which grpcio it needs: adapt tools/generate_stubs.py.")
        stub.write_text(text)


def generated(folder: Path) -> Mapping[str, bytes]:
    """Returns the generated files in `folder` by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*_pb2*.py*")}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a stub is out of date")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh, committed = generated(Path(scratch) / PACKAGE), generated(ROOT / PACKAGE)
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if check and stale:
        sys.exit(f"These stubs are out of date: {', '.join(stale)}. Run make protos.")
    for name in stale:
        target = ROOT / PACKAGE / name
        if name in fresh:
            target.write_bytes(fresh[name])
        else:
            target.unlink()
    sys.stdout.write("The stubs are up to date.\n" if not stale else f"Wrote {', '.join(stale)}.\n")


if __name__ == "__main__":
    main()
