"""Puts into dist/ what a release has beside its images: SBOMs, licences, the chart, the API, and the checksums of all.

python -m tools.release
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
# What each SBOM describes, by its name.
LOCKS = {
    "images": "requirements-serve.lock",
    "milvus": "requirements-milvus.lock",
    "development": "requirements.lock",
}

NOT_INSTALLED = "not for the platform of this report"


def version() -> str:
    """Returns the version that is released."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def canonical(name: str) -> str:
    """Returns the name of a package as lock files have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sbom(lock: Path) -> dict[str, Any]:
    """Describes the packages of a lock file, with hashes and licences, as an SBOM of CycloneDX.

    A package for other platforms, which is not installed here, has no licence.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--output-reproducible", "--of", "JSON"]
    document = dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for component in document["components"]:
        # What it is says more than its line in the file.
        component["bom-ref"] = component["purl"]
        del component["description"]
        if licence := _licence(component["name"]):
            component["licenses"] = [licence]
    document["dependencies"] = [{"ref": each["purl"]} for each in document["components"]]
    document["metadata"]["component"] = {
        "type": "application",
        "bom-ref": "fashion-recommender",
        "name": "fashion-recommender",
        "version": version(),
    }
    return document


def licence_report(document: dict[str, Any]) -> str:
    """Returns a table of the packages of an SBOM with their licences."""
    lines = [
        f"# Licences of the packages in the images of {version()}",
        "",
        "Each package brings its licence's text along, in its folder `*.dist-info`.",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    for component in document["components"]:
        (entry,) = component.get("licenses", [{"expression": NOT_INSTALLED}])
        text = entry.get("expression") or entry["license"]["name"]
        lines.append(f"| {component['name']} | {component['version']} | {text} |")
    return "\n".join([*lines, ""])


def as_json(document: dict[str, Any]) -> str:
    """Returns an SBOM as it stands in its file."""
    return json.dumps(document, indent=2) + "\n"


def release(out: Path) -> list[Path]:
    """Writes the files of a release, and returns them; the wheels are there already."""
    out.mkdir(exist_ok=True)
    for name, lock in LOCKS.items():
        document = sbom(ROOT / lock)
        (out / f"sbom-{name}.cdx.json").write_text(as_json(document))
        if name == "images":
            (out / "licences.md").write_text(licence_report(document))
    _chart(out)
    _buf("build", "--output", str(out / "fashion.v1.binpb"))
    files = sorted(path for path in out.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums))
    return [*files, out / "SHA256SUMS"]


def _chart(out: Path) -> None:
    import helm_python

    folder = ROOT / "deploy" / "kubernetes"
    chart = yaml.safe_load((folder / "Chart.yaml").read_text())
    if chart["version"] != version() or chart["appVersion"] != version():
        sys.exit(
            f"deploy/kubernetes/Chart.yaml is of another version than pyproject.toml, {version()}. Change it first."
        )
    helm_python.package(str(folder), destination=str(out))


def _licence(package: str) -> dict[str, Any] | None:
    """Returns what an installed package says of its licence, in CycloneDX's form; None where it is not installed."""
    try:
        said = metadata(package)
    except PackageNotFoundError:
        return None
    if expression := said.get("License-Expression"):
        return {"expression": expression}
    classifiers = [each for each in said.get_all("Classifier", []) if each.startswith("License ::")]
    names = [each.rpartition(" :: ")[2] for each in classifiers]
    # Some give the whole text in its place.
    text = str(said.get("License", "")).strip().splitlines()[:1]
    return {"license": {"name": "; ".join(names or text) or "see its text"}}


def _buf(*arguments: str) -> None:
    subprocess.run([Path(sys.executable).parent / "buf", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Runs the command line."""
    for path in release(DIST):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    # What `make check` compares with from now on.
    _buf("build", "--exclude-source-info", "--output", "protos/released.binpb")
    sys.stdout.write("protos/released.binpb is this release: commit it with the tag.\n")


if __name__ == "__main__":
    main()
