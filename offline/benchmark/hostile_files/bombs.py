"""Files that were made to take all memory or time, to be executed, or to reach what they must not."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from offline.benchmark.hostile_files.material import Files, members, packed
from offline.benchmark.hostile_files.mutants import Mutant, sealed
from services.bundle.reader import DESCRIPTION_FILE

_ROW: Final = b"%d,Shirt,Shirts,https://shop.example/1.jpg\n"
_TABLE: Final = b"id,title,category,image\n"
_SHOPIFY: Final = b"Handle,Title,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src\n"
_ITEM: Final = (
    b"<item><id>1</id><title>Shirt</title><product_type>Shirts</product_type>"
    b"<image_link>https://shop.example/1.jpg</image_link>%s</item>"
)
_RSS: Final = b'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>%s</channel></rss>'


def bombs(bundle: Files, backup: Files, data_set: Files, canary: str) -> Iterator[tuple[Mutant, str]]:
    """Yields files with what has to come of each: "read", or the reason of its refusal.

    Args:
        bundle: a sound one.
        backup: a sound one.
        data_set: a sound one, as a zip.
        canary: the path of a file that nothing may open.
    """
    for name, content, outcome in _feeds(canary):
        yield Mutant("feed", name, {"feed": content}), outcome
    yield (
        Mutant("mapping", "a nested mapping", {"shop.toml": b"a = " + b"[" * 50_000, "shop.csv": b"a"}),
        "MAPPING_INVALID",
    )
    for name, files, outcome in _bundles(bundle):
        yield Mutant("bundle", name, files), outcome
    for name, content, outcome in _backups(backup["backup.zip"]):
        yield Mutant("backup", name, {"backup.zip": content}), outcome
    for name, content in _data_sets(data_set["data.zip"], canary):
        yield Mutant("data set", name, {"data.zip": content}), "DATASET_ZIP_UNSAFE"


def _feeds(canary: str) -> Iterator[tuple[str, bytes, str]]:
    def rows(cell: bytes, count: int = 100) -> bytes:
        """Returns a table with a cell in the place of each title."""
        return _TABLE + b"".join((_ROW % number).replace(b"Shirt,", b'"%s",' % cell, 1) for number in range(count))

    yield "quotes that are never closed", _TABLE + b'a",x,"c\n' * 30_000, "TABLE_UNREADABLE"
    yield "tags that never end", rows(b"<b>" + b"<a x=''" * 4000), "read"
    yield "tags in tags", rows(b"<a" * 10_000), "read"
    yield (
        "text that is escaped again and again",
        rows(b"".join(b"&" + b"amp;" * n + b"lt;b>" for n in range(80))),
        "read",
    )
    yield "a character of 5,000 digits", rows(b"&#" + b"9" * 5000 + b";"), "read"
    addresses = _TABLE + b"".join(b'%d,Shirt,Shirts,"http://a%s"\n' % (n, b"," * 30_000) for n in range(50))
    yield "marks between addresses", addresses, "read"
    yield (
        "a number of 30,000 digits",
        _TABLE.replace(b"title", b"price") + _ROW.replace(b"Shirt,", b"9" * 30_000 + b",") % 1,
        "read",
    )
    yield (
        "a sale that lasts",
        (
            _TABLE.replace(b"title", b"title,sale_price,sale_price_effective_date")
            + b"1,Shirt,1 EUR,2026%s/%s2027,Shirts,https://shop.example/1.jpg\n" % (b" " * 30_000, b" " * 30_000)
        ),
        "read",
    )
    variants = b"".join(b",,,,Blue %d,S%d,9.99,https://shop.example/1.jpg\n" % (n, n) for n in range(5_000))
    yield (
        "one product of 5,000 variants",
        _SHOPIFY + b"tee,Tee,Shirts,Color,Red,S,9.99,https://s/1.jpg\n" + variants,
        "read",
    )
    yield (
        "other names in each row",
        b"".join(json.dumps({f"k{number}_{n}": 1 for n in range(50)}).encode() + b"\n" for number in range(3000)),
        "FEED_UNREADABLE",
    )
    yield "lists in lists", b'{"id": 1, "title": %s}\n{"id": 2}\n' % (b"[" * 900 + b"]" * 900), "read"
    yield (
        "objects in objects",
        b'[{"id": 1, "a": %s}]' % (b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        "FEED_UNREADABLE",
    )
    yield "rows of nothing", b"[" + b"{}," * 30_000 + b'{"id": 1}]', "read"
    yield "elements in elements", _RSS % (b"<a>" * 1_000_000), "FEED_UNSAFE"
    yield "an item of many elements", _RSS % (_ITEM % (b"<a/>" * 1_000_000)), "FEED_UNSAFE"
    yield "elements beside the items", _RSS % (b"<a/>" * 100_000 + _ITEM % b""), "read"
    yield (
        "many pictures of one item",
        _RSS % (_ITEM % (b"<g:additional_image_link>http://a/b</g:additional_image_link>" * 9000)),
        "read",
    )
    yield (
        "entities of entities",
        (
            b'<!DOCTYPE r [<!ENTITY a "ha">'
            + b"".join(b'<!ENTITY a%d "%s">' % (n + 1, b"&a%d;" % n * 10) for n in range(9))
            + b"]>"
            + _RSS % (_ITEM % b"&a9;")
        ),
        "FEED_UNSAFE",
    )
    for where in (f'SYSTEM "file://{canary}"', f'PUBLIC "x" "{canary}"'):
        declared = f"<!DOCTYPE r [<!ENTITY x {where}>]>".encode()
        yield "an entity that reads a file", declared + _RSS % (_ITEM % b"<brand>&x;</brand>"), "FEED_UNSAFE"
    outside = f'<!DOCTYPE r SYSTEM "file://{canary}">'.encode()
    yield "a type that reads a file", outside + _RSS % (_ITEM % b""), "read"
    for name, content in (("zeros", bytes(100_000_000)), ("commas", _TABLE + b"," * 100_000_000)):
        yield f"packed {name}", gzip.compress(content, 1), "FEED_UNSAFE"


def _bundles(sound: Files) -> Iterator[tuple[str, Files, str]]:
    yield "nested", {**sound, DESCRIPTION_FILE: b"[" * 1_000_000}, "BUNDLE_INVALID"
    document: dict[str, Any] = json.loads(sound[DESCRIPTION_FILE])
    changes: dict[str, dict[str, Any]] = {
        "an input that fills the memory": {"input": {"height": 1_000_000, "width": 1_000_000}},
        "an input of infinite height": {"input": {"height": float("inf"), "width": 60}},
        "a dimension that fills the memory": {"dimension": 2**40},
        "a dimension that is not the network's": {"dimension": 32},
        "labels that are a text": {"labels": {**document["labels"], "gender": "ab"}},
        "a label less than the garments have": {"garments": {**document["garments"], "labels": ["Bags"]}},
        "a file elsewhere": {"files": {**document["files"], "../x": {"bytes": 1, "sha256": ""}}},
        "a file with a zero in its name": {"files": {**document["files"], "a\0b": {"bytes": 1, "sha256": ""}}},
        "facts that are none": {"files": {**document["files"], "x": [1]}},
    }
    for name, change in changes.items():
        yield name, {**sound, DESCRIPTION_FILE: sealed({**document, **change})}, "BUNDLE_INVALID"


def _backups(sound: bytes) -> Iterator[tuple[str, bytes, str]]:
    parts = members(sound)
    for name in (
        "photographs/..",
        "photographs/..catalogue.sqlite3",
        "../outside",
        "/tmp/outside",
        "photographs/a\\..\\b",
    ):
        yield f"a file named {name}", packed([*parts, (zipfile.ZipInfo(name), b"x")]), "read"
    bomb = zipfile.ZipInfo("catalogue.sqlite3")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    others = [(info, part) for info, part in parts if info.filename != "catalogue.sqlite3"]
    yield "a catalogue of zeros", packed([(bomb, bytes(200_000_000)), *others]), "BACKUP_DAMAGED"


def _data_sets(sound: bytes, canary: str) -> Iterator[tuple[str, bytes]]:
    parts = members(sound)
    for name in (
        "../outside.jpg",
        "/tmp/outside.jpg",
        "images/../../outside.jpg",
        "..\\outside.jpg",
        "C:\\outside.jpg",
    ):
        yield f"a file named {name}", packed([*parts, (zipfile.ZipInfo(name), b"x")])
    link = zipfile.ZipInfo("images/1.jpg")
    link.external_attr = 0o120777 << 16
    yield "a link", packed([*parts, (link, canary.encode())])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("styles.csv", b"\n" * 100_000_000)
        archive.writestr("images/1.jpg", b"x")
    yield "a table of nothing", content.getvalue()
