#!/usr/bin/env bash
# Milvus Lite: pages of a query that go on after the last primary key lose most rows, without an error.
#
# Seen on 2026-11-28 with milvus-lite 3.2.2 and pymilvus 3.0.2, Python 3.11, Linux x86_64.
#
# A good engineer would guess: `filter='key > "LAST"'` with a limit gives the lowest keys after LAST, as the server does
# (2.3.5: 4,300 of 4,300 rows in five pages), so that LAST of each page leads to the next one.
#
# What happens: a page holds any matching rows, in the order in which they were stored. What lies below its last key and
# was not in it never comes, and other rows come twice. With rows that happen to be inserted in the order of their keys
# all is right, which is what a small test does. `query_iterator` returns each row once.
#
# Output seen:
#   stored 4300
#   by key: 7 pages, 3092 rows, 1955 different ones; the first page is sorted: False
#   query_iterator: 4300 rows, 4300 different ones
#
# Exits with 1 once all rows come.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2

cat > pages.py <<'PYTHON'
import logging
import sys

import numpy as np
from pymilvus import DataType, MilvusClient

logging.disable(logging.WARNING)
ROWS, PAGE = 4300, 1000
client = MilvusClient("./shop.db")
schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=16)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
index = client.prepare_index_params()
index.add_index("vector", index_type="FLAT", metric_type="IP")
client.create_collection("shop", schema=schema, index_params=index, consistency_level="Strong")
client.load_collection("shop")
random = np.random.default_rng(0)
keys = [f"p{number:05}" for number in random.permutation(ROWS)]
for start in range(0, ROWS, 500):
    rows = [{"key": key, "vector": random.normal(size=8).astype(np.float32)} for key in keys[start : start + 500]]
    client.insert("shop", rows)
print("stored", client.query("shop", filter="", output_fields=["count(*)"])[0]["count(*)"])

by_key, pages = [], []
while page := [
    row["key"]
    for row in client.query(
        "shop", filter=f'key > "{by_key[-1] if by_key else ""}"', output_fields=["key"], limit=PAGE
    )
]:
    pages.append(page)
    by_key += page
is_sorted = pages[0] == sorted(pages[0])
print(f"by key: {len(pages)} pages, {len(by_key)} rows, {len(set(by_key))} different ones;", end=" ")
print(f"the first page is sorted: {is_sorted}")

iterator, iterated = client.query_iterator("shop", batch_size=PAGE, filter='key >= ""', output_fields=["key"]), []
while batch := iterator.next():
    iterated += [row["key"] for row in batch]
print(f"query_iterator: {len(iterated)} rows, {len(set(iterated))} different ones")
sys.exit(0 if len(set(by_key)) < ROWS == len(set(iterated)) else 1)
PYTHON
venv/bin/python pages.py
