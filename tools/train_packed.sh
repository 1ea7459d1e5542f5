#!/usr/bin/env bash
# Trains for some minutes on a machine that takes and gives only small files, such as a lent GPU.
#
#   python -m offline.train.packed DATASET pack --photographs photos.zip --teacher teacher.npz   # below 50 MB
#   KERAS_BACKEND=jax tools/train_packed.sh pack parts 8 --initial models/fashion-resnet50       # there
#   mkdir -p models/shop && cat parts/bundle.tar.* | tar -xf - -C models/shop                    # and back here
#
# The parts are shorter than 16 MB. Checkpoints stay in PARTS-run, and the same command goes on from them. Statistics
# and figures come on top of the minutes.
set -euo pipefail
pack=$1 parts=$2 minutes=$3
shift 3
python=${PYTHON:-.venv/bin/python}
options=()
[[ -f $pack/photographs.zip ]] && options+=(--photographs "$pack/photographs.zip")
[[ -f $pack/teacher.npz ]] && options+=(--teacher "$pack/teacher.npz")
"$python" -m cli train "$pack/studio.zip" "${options[@]}" --minutes "$minutes" --run "$parts-run" \
  --bundle "$parts-run/fashion-resnet50" "$@"
if [[ -f $parts-run/fashion-resnet50/bundle.json ]]; then
  mkdir -p "$parts" && rm -f "$parts"/bundle.tar.*
  tar -cf - -C "$parts-run/fashion-resnet50" . | split -b 15000000 - "$parts/bundle.tar."
fi
