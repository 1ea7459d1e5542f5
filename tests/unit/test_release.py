"""What a release says of itself: one version everywhere, and every package that it holds with its licence."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.markers import Marker

from tools import audit, release

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def locked(lock: str) -> dict[tuple[str, str], str]:
    """Returns the packages of a lock file, each with its marker."""
    lines = re.findall(r"^([\w.-]+)==([\w.]+)(?: ; ([^\\]+?))? \\$", (ROOT / lock).read_text(), re.MULTILINE)
    return {(name, version): marker for name, version, marker in lines}


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    return release.sbom(ROOT / release.LOCKS["images"])


@pytest.mark.parametrize("name", release.LOCKS)
def test_an_sbom_names_every_locked_package_with_its_hashes(images: dict[str, Any], name: str) -> None:
    lock = release.LOCKS[name]
    document = images if name == "images" else release.sbom(ROOT / lock)
    named = {(release.canonical(each["name"]), each["version"]) for each in document["components"]}
    assert named == locked(lock).keys() and len(named) == len(document["components"])
    hashes = {
        each["content"]
        for component in document["components"]
        for reference in component["externalReferences"]
        for each in reference["hashes"]
    }
    assert hashes == set(re.findall(r"--hash=sha256:(\w+)", (ROOT / lock).read_text()))
    assert all(each["purl"].startswith("pkg:pypi/") for each in document["components"])


def test_an_sbom_is_one_of_cyclonedx(images: dict[str, Any]) -> None:
    version = SchemaVersion.from_version(images["specVersion"])
    assert JsonStrictValidator(version).validate_str(release.as_json(images)) is None
    assert images["metadata"]["component"]["version"] == release.version()


def test_the_report_names_every_package_of_the_images_with_its_licence(images: dict[str, Any]) -> None:
    lock = release.LOCKS["images"]
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w.]+) \| (.+) \|$", release.licence_report(images), re.MULTILINE)
    listed = {(name, version): licence for name, version, licence in rows if name != "package"}
    assert listed.keys() == locked(lock).keys()
    for package, marker in locked(lock).items():
        if not marker or Marker(marker).evaluate():
            assert listed[package] != release.NOT_INSTALLED, package


def test_every_place_says_the_same_version() -> None:
    version = release.version()
    chart = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "Chart.yaml").read_text())
    kubernetes = ROOT / "deploy" / "kubernetes"
    folders = [*kubernetes.glob("overlays/*/kustomization.yaml"), kubernetes / "backup" / "kustomization.yaml"]
    images = {each.parent.name: yaml.safe_load(each.read_text()).get("images", ()) for each in folders}
    stubs = tomllib.loads((ROOT / "stubs" / "pyproject.toml").read_text())["project"]["version"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-build"]["args"]
    assert (chart["version"], chart["appVersion"], stubs) == (version,) * 3
    assert {name for name, its in images.items() if its} == {"dev", "production", "milvus", "backup"}
    assert {each["newTag"] for its in images.values() for each in its} == {version}
    loaded = (ROOT / "deploy/kubernetes/overlays/dev/kustomization.yaml").read_text()
    assert {*re.findall(r"VERSION=(\S+)|fashion-\w+:(\S+)", loaded)} == {(version, ""), ("", version)}
    assert f"ARG VERSION={version}\n" in DOCKERFILE and compose["VERSION"] == f"${{VERSION:-{version}}}"
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert compose["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{base}}}"
    assert re.search(rf"^## {re.escape(version)} \(", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def stage(name: str) -> str:
    """Returns the lines of the Dockerfile that make an image, and of the stage that its packages come from."""
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
    (packages,) = re.findall(r"^COPY --from=(\S+) /opt/venv /opt/venv$", stages[name], re.MULTILINE)
    return str(stages[packages] + stages[name])


@pytest.mark.parametrize("name", ["embedder", "classifier", "search", "gateway"])
def test_a_service_starts_without_the_packages_that_its_image_lacks(name: str) -> None:
    (left_out,) = re.findall(r"pip uninstall --yes (.+)$", stage(name), re.MULTILINE)
    packages = {release.canonical(each) for each in left_out.split()}
    assert ("openvino" in packages) is (name != "embedder") and ("faiss-cpu" in packages) is (name != "search")
    modules = [
        module
        for module, holders in packages_distributions().items()
        if {release.canonical(each) for each in holders} <= packages
    ]
    assert modules
    program = f"import sys\nfor each in {modules}: sys.modules[each] = None\n"
    program += f"import services.{name}.__main__\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
    # Nor later, in a function.
    sources = (ROOT / "services" / name).rglob("*.py")
    imported = {line.split()[1].split(".")[0] for each in sources for line in imports(each)}
    assert imported.isdisjoint(modules)


def imports(source: Path) -> list[str]:
    return re.findall(r"^\s*(?:from|import) [\w.]+", source.read_text(), re.MULTILINE)


WEAK = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "weak", "text"),
    [
        ([UNKNOWN], False, "lock: skipped, since pip-audit reaches no data on weaknesses from here."),
        ([], False, "lock: skipped, since pip-audit reaches no data on weaknesses from here."),
        ([{**WEAK, "vulns": []}], False, "lock: 1 packages looked at, 0 unknown to the data."),
        ([WEAK, UNKNOWN], True, "1 unknown to the data.\n  pillow 1.0: CVE-1, mended in 1.1."),
    ],
)
def test_an_audit_says_what_is_weak_and_what_it_could_not_ask(
    packages: list[dict[str, Any]], weak: bool, text: str
) -> None:
    said, found = audit.summary("lock", packages)
    assert found is weak and text in said
