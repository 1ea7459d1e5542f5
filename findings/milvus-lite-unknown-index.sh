#!/usr/bin/env bash
# Milvus Lite: any index type is taken, also one that it does not have, and the collection cannot be loaded once the file
# is opened again.
#
# Seen on 2026-11-28 with milvus-lite 3.2.2 and pymilvus 3.0.2, Python 3.11, Linux x86_64.
#
# A good engineer would guess: an index type that Milvus Lite does not have (SCANN, which servers have), or none at all
# (a slip such as "FLATT"), is refused when the collection is made. Or else that nothing comes of it, since searches
# answer, and `describe_index` says Finished, with all rows indexed.
#
# What happens: the name is stored as it is. While the process lives, searches compare all rows. In the next process,
# `load_collection` fails, and no row can be read. The way out: `drop_index`, `create_index` with a type that is there,
# `load_collection`; all rows are there again.
#
# Output seen:
#   FLATT, made: 10 of 10 hits; FLATT is Finished, indexed: 100
#   FLATT, opened again: unknown index_type: 'FLATT'
#   FLATT, with another index: 10 of 10 hits; FLAT is Finished, indexed: 100
#   SCANN, made: 10 of 10 hits; SCANN is Finished, indexed: 100
#   SCANN, opened again: unknown index_type: 'SCANN'
#   SCANN, with another index: 10 of 10 hits; FLAT is Finished, indexed: 100
#
# Exits with 1 once such a type is refused, or opens again.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2

cat > step.py <<'PYTHON'
import logging
import sys

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

logging.disable(logging.CRITICAL)
kind, step = sys.argv[1:]
client = MilvusClient(f"./{kind}.db")


def index(name):
    params = client.prepare_index_params()
    params.add_index("vector", index_type=name, metric_type="IP")
    return params


if step == "made":
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    client.create_collection("shop", schema=schema, index_params=index(kind))
    random = np.random.default_rng(0)
    client.insert("shop", [{"id": n, "vector": random.normal(size=8).astype(np.float32)} for n in range(100)])
if step == "with another index":
    client.drop_index("shop", "vector")
    client.create_index("shop", index("FLAT"))
try:
    client.load_collection("shop")
    hits = len(client.search("shop", [np.ones(8, dtype=np.float32)], limit=10)[0])
    facts = client.describe_index("shop", "vector")
    print(f"{kind}, {step}: {hits} of 10 hits;", end=" ")
    print(f"{facts['index_type']} is {facts['state']}, indexed: {facts['indexed_rows']}")
except MilvusException as error:
    print(f"{kind}, {step}: {error.message}")
    sys.exit(3)
PYTHON
for kind in FLATT SCANN; do
  venv/bin/python step.py "$kind" made
  venv/bin/python step.py "$kind" "opened again" && exit 1
  venv/bin/python step.py "$kind" "with another index"
done
