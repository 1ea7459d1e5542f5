"""What kustomize makes of an overlay."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import run

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
# The oldest version that is still patched by its makers, and the newest that the schemas know.
VERSIONS = ("1.34", "1.37")
OURS = ("embedder", "classifier", "search", "gateway")


def overlay_manifests(overlay: str, scratch: Path) -> list[dict[str, Any]]:
    """Renders an overlay as `kustomized` does."""
    return kustomized(f"overlays/{overlay}", scratch)


def kustomized(folder: str, scratch: Path) -> list[dict[str, Any]]:
    """Renders a folder, with certificates for the one that has them in files; skips where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (Debian: kubernetes-client)")
    copy = scratch / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    assert run(["certificates", "create", str(copy / "overlays" / "dev" / "certificates")]) == 0
    command = [kubectl, "kustomize", str(copy / folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "must be a file" in ended.stderr:
        # Before kubectl 1.21, folders were named in a list of their own.
        for file in copy.glob("overlays/*/kustomization.yaml"):
            settings = yaml.safe_load(file.read_text())
            folders = [each for each in settings["resources"] if not each.endswith(".yaml")]
            settings["resources"] = [each for each in settings["resources"] if each.endswith(".yaml")]
            file.write_text(yaml.safe_dump({**settings, "bases": folders}))
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [each for each in yaml.safe_load_all(ended.stdout) if each]
