#!/usr/bin/env bash
# OpenVINO: an inference without shared inputs overwrites the array that an earlier one shared.
#
# Seen on 2026-11-28 with openvino 2026.4.1 and NumPy 2.4.6, Python 3.11, Linux x86_64.
#
# A good engineer would guess: `share_inputs=True` lends an array to one inference, as the documentation says that it
# "controls memory usage on inference's inputs". An inference without it, which "safely copies data", touches no array of
# its caller.
#
# What happens: the request keeps the lent array as its input tensor. The next inference of the same request without
# `share_inputs` copies its own data into that tensor, so that the caller's earlier array now holds the later input. Only
# inputs of the same shape and type do that, so that it looks like chance. A request whose inferences all share, or
# never do, is safe.
#
# Output seen:
#   shared, then copied: the first array is now [2. 2. 2.]
#   shared, then shared: the first array is now [1. 1. 1.]
#
# Exits with 1 once the first array stays as it was.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6

cat > shared.py <<'PYTHON'
import sys

# Without this package OpenVINO reports nothing to anybody.
sys.modules["openvino_telemetry"] = None

import numpy as np
import openvino as ov
from openvino import opset13 as ops

pixels = ops.parameter([-1, 3], ov.Type.f32)
compiled = ov.Core().compile_model(ov.Model([ops.result(ops.relu(pixels))], [pixels], "relu"), "CPU")


def first_array_after(share_second: bool) -> np.ndarray:
    request = compiled.create_infer_request()
    first, second = np.ones((1, 3), dtype=np.float32), np.full((1, 3), 2, dtype=np.float32)
    request.infer([first], share_inputs=True)
    request.infer([second], share_inputs=share_second)
    return first[0]


overwritten, kept = first_array_after(False), first_array_after(True)
print("shared, then copied: the first array is now", overwritten)
print("shared, then shared: the first array is now", kept)
sys.exit(0 if overwritten[0] == 2 and kept[0] == 1 else 1)
PYTHON
venv/bin/python shared.py
