"""Training computes the same on each backend of Keras that is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_SCRIPT = Path(__file__).with_name("backend_steps.py")
_ROOT = Path(__file__).parents[4]
_STEPS = 10


def _steps(backend: str, folder: Path) -> dict[str, np.ndarray]:
    path = folder / f"{backend}.npz"
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([sys.executable, str(_SCRIPT), str(path)], check=True, env=environment, timeout=800)
    with np.load(path) as stored:
        return dict(stored)


@pytest.mark.timeout(1700)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_ten_steps_are_those_of_tensorflow(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ours, theirs = _steps("tensorflow", tmp_path), _steps(backend, tmp_path)
    assert ours["losses"].shape == theirs["losses"].shape == (_STEPS, 6)
    assert ours["losses"][-1, 0] < 0.5 * ours["losses"][0, 0], "nothing was learned"
    assert (ours["losses"] > 0).all(), "a loss is not computed"
    np.testing.assert_allclose(theirs["losses"][0], ours["losses"][0], rtol=1e-4)
    np.testing.assert_allclose(theirs["losses"], ours["losses"], rtol=0.05, atol=0.005)
    assert (ours["embeddings"] * theirs["embeddings"]).sum(axis=1).min() > 0.999
    np.testing.assert_allclose(theirs["averages"], ours["averages"], atol=5e-4)
