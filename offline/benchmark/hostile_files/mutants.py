"""Mutants of sound files: bytes changed, parts repeated or left out, what nobody expects put in, seals renewed."""

import gzip
import hashlib
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from offline.benchmark.hard_pictures import mutated
from offline.benchmark.hostile_files.material import Files, members, packed
from services.bundle.reader import (
    DESCRIPTION_FILE,
    GARMENT_HEADS_FILE,
    GARMENTS_KEY,
    content_version,
    garments_version,
)

_GZIP: Final = b"\x1f\x8b"
_LONG: Final = 30_000
_SEPARATORS: Final = (b",", b";", b"\t", b"\n", b'"', b"<", b">", b"{", b"}", b":", b"&", b"|", b"\\", b"]")
# What stands in a feed where nobody expects it. {canary} is a file that nothing may open.
_TOKENS: Final = (
    b'"', b'""', b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\r", b"\x1a", b"=cmd|' /C calc'!A0", b"1e999", b"NaN",
    b"-1", b"9" * 400, b"0." + b"9" * 40, b"&#" + b"9" * 5000 + b";", b"&amp;" * 200 + b"lt;b>", b"<a " * 4000,
    b'<b><a x="' * 2000, b"<!--" * 2000, b"," * _LONG, b"\n" * _LONG, b" " * _LONG, b"[" * _LONG, b'{"a":' * 4000,
    b"<a>" * _LONG, b"a" * _LONG, b"</item>", b"<item>", b"]]>", b"<![CDATA[", b'\\ud800', b'"\\ud800"', b"\\u0000",
    b"file://{canary}", b"../" * 20 + b"etc/passwd", b"http://127.0.0.1:1/x.jpg", b"{{7*7}}", b"\xe2\x80\xa8",
    b'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{canary}">]>', b"&x;", b'<?xml version="1.0" encoding="x"?>',
    b'<xi:include href="file://{canary}" parse="text" xmlns:xi="http://www.w3.org/2001/XInclude"/>',
    b"attributes", b'{"heel_mm": 1' + b"0" * 400 + b"}", b'{"material": ["\\ud800"]}', b"sep=;\n", b"variation",
)  # fmt: skip
_VALUES: Final[Sequence[Any]] = (
    None, True, 0, 1, -1, 2**70, 1e308, float("inf"), float("nan"), 0.5, "", "x" * 100_000, "a\0b", "\ud800",
    "{canary}", "../../etc/passwd", "/etc/passwd", [], {}, [[]], ["a", "a"], [1], "__import__('os').system('true')",
)  # fmt: skip
_DTYPES: Final = ("F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "C64", "O", "")


# What comes of a file that is not refused.
READ: Final = "read"


@dataclass(frozen=True, slots=True)
class Mutant:
    """Files that somebody hands over.

    Attributes:
        kind: which of the readers it is for: "feed", "mapping", "data set", "bundle" or "backup".
        name: what it was made of, and how.
        files: its content.
    """

    kind: str
    name: str
    files: Files


class Mutants:
    """Makes mutants, each another one; the same from the same seed."""

    def __init__(self, sources: Mapping[str, Mapping[str, Files]], seed: int, canary: str) -> None:
        """Takes sound files.

        Args:
            sources: by kind, then by name.
            seed: of all that is random.
            canary: the path of a file that no reader may open.
        """
        self._sources = [(kind, name, files) for kind, named in sources.items() for name, files in named.items()]
        self._random = np.random.default_rng(seed)
        self._canary = canary

    def __iter__(self) -> Iterator[Mutant]:
        """Yields mutants of the sources in turn, without end."""
        ways: dict[str, Sequence[Callable[[Files], Files]]] = {
            "bundle": (self._bytes, self._description, self._description, self._tensors, self._tensors),
            "backup": (self._bytes, self._archive, self._archive),
            "data set": (self._bytes, self._archive, self._styles),
        }
        number = 0
        while True:
            kind, name, files = self._sources[number % len(self._sources)]
            own = ways.get(kind, (self._bytes, self._text, self._text))
            way = own[int(self._random.integers(len(own)))]
            yield Mutant(kind, f"{name} by {way.__name__.strip('_')}, {number}", way(files))
            number += 1

    def _one(self, choices: Sequence[Any]) -> Any:
        return choices[int(self._random.integers(len(choices)))]

    def _replaced(self, files: Files, change: Callable[[bytes], bytes], name: str | None = None) -> Files:
        name = name or self._one(sorted(files))
        return {**files, name: change(files[name])}

    def _bytes(self, files: Files) -> Files:
        return self._replaced(files, lambda content: mutated(content, self._random) if content else content)

    def _text(self, files: Files) -> Files:
        """Changes a text between its marks, packed or not."""
        return self._replaced(files, self._changed_text)

    def _changed_text(self, content: bytes) -> bytes:
        if content.startswith(_GZIP):
            return gzip.compress(self._changed_text(gzip.decompress(content)), mtime=0)
        for _ in range(int(self._random.integers(1, 4))):
            marks = [at for at, mark in enumerate(content) if bytes((mark,)) in _SEPARATORS] or [0]
            one, other = sorted(int(self._one(marks)) for _ in range(2))
            match int(self._random.integers(0, 6)):
                case 0:
                    content = content[:one] + content[one + 1 :]
                case 1:
                    content = content[:one] + self._token() + content[one:]
                case 2:
                    content = content[: one + 1] + self._token() + content[other:]
                case 3:
                    # As many times as makes some hundred thousand bytes.
                    part = content[one:other]
                    content = content[:other] + part * min(300, 200_000 // max(1, len(part))) + content[other:]
                case 4:
                    content = content[:one] + content[other:]
                case _:
                    content = content[: max(1, other)]
        return content

    def _token(self) -> bytes:
        token: bytes = self._one(_TOKENS)
        return token.replace(b"{canary}", self._canary.encode())

    def _description(self, files: Files) -> Files:
        """Changes a value of a bundle's description, and seals it again as its writer would."""
        document = json.loads(files[DESCRIPTION_FILE])
        for _ in range(int(self._random.integers(1, 3))):
            self._change(document)
        return {**files, DESCRIPTION_FILE: sealed(document)}

    def _change(self, document: Any) -> None:
        """Replaces, removes or adds a value at any depth of a document."""
        places: list[tuple[Any, Any]] = []

        def walk(part: Any) -> None:
            for key, value in part.items() if isinstance(part, dict) else enumerate(part):
                places.append((part, key))
                if isinstance(value, (dict, list)):
                    walk(value)

        walk(document)
        part, key = self._one(places)
        value = self._one(_VALUES)
        value = self._canary if value == "{canary}" else value
        match int(self._random.integers(0, 5)):
            case 0:
                del part[key]
            case 1 if isinstance(part, dict):
                part[self._one(["", "../x", "a\0b", "cells", "encoder.safetensors"])] = part[key]
            case 2 if isinstance(part, list):
                part.append(value)
            case _:
                part[key] = value

    def _tensors(self, files: Files) -> Files:
        """Changes a file of weights, its header or its numbers, and seals the bundle again."""
        name = self._one(sorted(name for name in files if name.endswith(".safetensors")))
        content = self._changed_tensors(files[name])
        document = json.loads(files[DESCRIPTION_FILE])
        document["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        return {**files, name: content, DESCRIPTION_FILE: sealed(document)}

    def _changed_tensors(self, content: bytes) -> bytes:
        (length,) = struct.unpack_from("<Q", content)
        header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
        name = self._one(sorted(header))
        match int(self._random.integers(0, 7)):
            case 0:
                return mutated(content, self._random)
            case 1:
                header[name]["dtype"] = self._one(_DTYPES)
            case 2:
                header[name]["shape"] = header[name]["shape"][::-1]
            case 3:
                self._change(header)
            case 4:
                header[f"{name}x"] = header.pop(name)
            case 5:
                # Not a number, infinity or a large number in half or single precision.
                begin, end = header[name]["data_offsets"]
                number = self._one([b"\x00\x7e", b"\x00\x7c", b"\xff\x7b", b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f"])
                data[begin:end] = (number * (end - begin))[: end - begin]
            case _:
                del header[name]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + bytes(data)

    def _styles(self, files: Files) -> Files:
        """Changes the table of a zip."""
        return self._replaced(
            files,
            lambda content: packed(
                [
                    (info, self._changed_text(part) if info.filename.endswith(".csv") else part)
                    for info, part in members(content)
                ]
            ),
        )

    def _archive(self, files: Files) -> Files:
        """Changes the members of a zip: their names, their kinds, their contents, and how they are packed."""
        return self._replaced(files, self._changed_archive)

    def _changed_archive(self, content: bytes) -> bytes:
        parts = members(content)
        place = int(self._random.integers(len(parts)))
        if self._random.random() < 0.4:
            # Most are photographs, and what matters is in the others.
            place = self._one([at for at, (info, _) in enumerate(parts) if "/" not in info.filename])
        info, part = parts[place]
        folder = info.filename.rpartition("/")[0]
        match int(self._random.integers(0, 9)):
            case 0:
                outside = ["../x", "/tmp/x", "C:\\x", "a\\..\\..\\x"]
                info.filename = self._one([*outside, *(f"{folder}/{name}" for name in ("..", "..x", "..x.sqlite3"))])
            case 1:
                # A link, which a careless program would follow.
                info.external_attr, part = 0o120777 << 16, self._canary.encode()
            case 2:
                parts.append((info, part))
            case 3:
                return packed([*parts[:place], *parts[place + 1 :]])
            case 4:
                part = mutated(part, self._random) if part else b"x"
            case 5:
                info.compress_type, part = zipfile.ZIP_DEFLATED, bytes(17_000_000)
            case 6 if info.filename.endswith(".json"):
                document = json.loads(part)
                self._change(document)
                part = json.dumps(document).encode()
            case 7:
                part = self._one([b"", b"[" * 100_000, b"{}", b"null", b'{"format": 1}', b"\x80\x04."])
            case _:
                # Encrypted, of another method, or of a size that it does not have.
                content = packed(parts)
                changed = bytearray(content)
                at = content.rfind(b"PK\x01\x02")
                offset, value = self._one(
                    [(8, 1), (10, 99), (10, 14), (24, 0xFFFFFFFF), (20, 0xFFFFFF), (42, 0xFFFFFF)]
                )
                struct.pack_into("<H" if offset < 20 else "<I", changed, at + offset, value)
                return bytes(changed)
        parts[place] = (info, part)
        return packed(parts)


def sealed(document: Any) -> bytes:
    """Returns a bundle's description with the hashes that belong to it, as far as there are any."""
    try:
        if isinstance(document.get(GARMENTS_KEY), dict) and GARMENT_HEADS_FILE in document.get("files", {}):
            document[GARMENTS_KEY]["version"] = garments_version(document)
        document["model_version"] = content_version(document)
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    return json.dumps(document).encode(errors="surrogatepass")
