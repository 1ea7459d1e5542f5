"""Reads a model's bundle: a folder whose files are checked against their hashes before anything parses them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.bundle.tensors import read_arrays
from services.contract.errors import InvalidInput, NotFound
from services.vision.preprocess import Frame, Preprocessing

FORMAT_VERSION: Final = 1
DESCRIPTION_FILE: Final = "bundle.json"
ENCODER_FILE: Final = "encoder.safetensors"
HEADS_FILE: Final = "heads.safetensors"
# Optional: the heads that find garments and tell which way up a photograph is.
GARMENT_HEADS_FILE: Final = "garments.safetensors"
GARMENTS_KEY: Final = "garments"
# Sixteen hexadecimal digits distinguish all bundles that a shop will ever have.
_VERSION_DIGITS: Final = 16
# Of what somebody else has written, in a sentence about it.
_MAX_SHOWN_CHARACTERS: Final = 200
_MAX_NAME_CHARACTERS: Final = 128
_MAX_DESCRIPTION_BYTES: Final = 8 * 1024 * 1024
# Beyond these nothing is a model of photographs, and a start would fill the memory before it fails.
_MAX_SIDE: Final = 1024
_MAX_DIMENSION: Final = 65_536
# Of logits: beyond it they are no numbers that a softmax can take.
_MAX_FACTOR: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """The numbers with which a head decides.

    Attributes:
        scale: factor on the cosines, greater than 0.
        shares: factors on the logits of other heads that are added to its own, by their names.
        products: number of training products per label; empty if the bundle does not say.
        prior: factor on the logarithm of `products` in its decisions, at least 0.
    """

    scale: float
    shares: Mapping[str, float]
    products: tuple[int, ...]
    prior: float

    @classmethod
    def from_json(cls, described: Mapping[str, Any], head: str, labels: Mapping[str, Sequence[str]]) -> Self:
        """Reads the part of `bundle.json` about a head.

        Raises:
            ValueError: it does not fit the labels, or a number is out of range.
        """
        scale, prior = float(described["scale"]), float(described.get("prior", 0.0))
        shares = {str(name): float(share) for name, share in described.get("shares", {}).items()}
        products = tuple(map(int, described.get("products", ())))
        if not 0 < scale <= _MAX_FACTOR:
            raise ValueError(f"the scale of the head {head!r} is {scale}")
        if any(name not in labels or not 0 <= share <= _MAX_FACTOR for name, share in shares.items()):
            raise ValueError(f"the shares of the head {head!r} are {shares}")
        if not 0 <= prior <= _MAX_FACTOR or min(products, default=0) < 0 or len(products) not in (0, len(labels[head])):
            raise ValueError(f"prior and products of the head {head!r} do not fit its labels")
        return cls(scale, shares, products, prior)


@dataclass(frozen=True, slots=True, eq=False)
class Head(HeadSettings):
    """A classifier of embeddings: the softmax of `scale` times the cosines with one direction per label.

    Attributes:
        labels: c labels, unique.
        weights: (c, dimension), float32, L2-normalised rows.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A model as it is stored: its input, its labels, and the place of its weights.

    Attributes:
        path: the folder.
        name: such as "fashion-resnet50".
        model_version: content hash of all but the garment heads, 16 hexadecimal digits.
        architecture: name of the network, such as "resnet50".
        preprocessing: how a photograph becomes the network's input.
        dimension: floats in an embedding.
        labels: labels by head.
        settings: the numbers with which each head decides.
        description: the whole of `bundle.json`.
    """

    path: Path
    name: str
    model_version: str
    architecture: str
    preprocessing: Preprocessing
    dimension: int
    labels: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, HeadSettings]
    description: Mapping[str, Any]

    @property
    def frame(self) -> Frame:
        """The network's input."""
        return self.preprocessing.frame

    def encoder_weights(self) -> dict[str, NDArray[np.float32]]:
        """Reads the network's weights in float32, by the names that Keras gives them.

        Raises:
            InvalidInput: BUNDLE_INVALID: the file was changed since the bundle was loaded.
        """
        return self._tensors(ENCODER_FILE)

    @property
    def has_garment_heads(self) -> bool:
        """Whether it has heads that find garments and tell which way up a photograph is."""
        return GARMENT_HEADS_FILE in self.description["files"]

    def garment_heads(self) -> dict[str, NDArray[np.float32]]:
        """Reads the weights of the garment heads in float32, by name; empty where the bundle has none.

        Raises:
            InvalidInput: BUNDLE_INVALID: the file was changed since the bundle was loaded.
        """
        return self._tensors(GARMENT_HEADS_FILE) if self.has_garment_heads else {}

    def head(self, name: str) -> Head:
        """Reads a trained head.

        Args:
            name: a key of `labels`, such as "subCategory".

        Raises:
            NotFound: HEAD_NOT_FOUND.
            InvalidInput: BUNDLE_INVALID: the weights do not fit the labels, or the file was changed.
        """
        if name not in self.labels:
            raise NotFound(
                f"The bundle {self.name!r} has no head {name!r}, only {', '.join(self.labels)}.",
                reason="HEAD_NOT_FOUND",
                metadata={"head": name},
            )
        weights = self._tensors(HEADS_FILE).get(name)
        if weights is None or weights.shape != (len(self.labels[name]), self.dimension):
            raise _invalid(self.path / HEADS_FILE, f"its head {name!r} does not fit the labels")
        norms = np.linalg.norm(weights, axis=1, keepdims=True)
        settings = self.settings[name]
        return Head(
            settings.scale,
            settings.shares,
            settings.products,
            settings.prior,
            self.labels[name],
            weights / np.maximum(norms, np.float32(1e-12)),
        )

    def _tensors(self, file: str) -> dict[str, NDArray[np.float32]]:
        # Checked again, because the file may have changed since; the bytes that were checked are the ones parsed.
        content = _read_verified(self.path, file, self.description["files"].get(file))
        try:
            arrays = read_arrays(content)
        except ValueError as error:
            raise _invalid(self.path / file, f"it is no safetensors file ({short(error)})") from error
        weights = {}
        for name, array in arrays.items():
            if array.dtype.kind != "f":
                raise _invalid(self.path / file, f"its weight {short(name)!r} is of type {array.dtype}, not of floats")
            with np.errstate(over="ignore"):
                weights[name] = array.astype(np.float32)
            if not np.isfinite(weights[name]).all():
                raise _invalid(self.path / file, f"its weight {short(name)!r} is not finite")
        return weights


def content_version(description: Mapping[str, Any]) -> str:
    """Computes the model version of a bundle: a hash of its description, which has the hashes of its files.

    The garment heads do not count. They tell where to look, and embeddings of the same network stay comparable with or
    without them; so a shop that gets heads embeds nothing again.

    Args:
        description: the content of `bundle.json`; its own "model_version" does not count.
    """
    counted = {key: value for key, value in description.items() if key not in ("model_version", GARMENTS_KEY)}
    files = {name: facts for name, facts in description["files"].items() if name != GARMENT_HEADS_FILE}
    return _digest({**counted, "files": files})


def garments_version(description: Mapping[str, Any]) -> str:
    """Computes the version of a bundle's garment heads: a hash of what its description says of them, and of their file.

    Args:
        description: the content of `bundle.json`; the "version" of its garments does not count.
    """
    described = {key: value for key, value in description[GARMENTS_KEY].items() if key != "version"}
    return _digest({"described": described, "file": description["files"][GARMENT_HEADS_FILE]})


def _digest(counted: Mapping[str, Any]) -> str:
    canonical = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_VERSION_DIGITS]


def load_bundle(path: Path, *, encoder: bool = True) -> Bundle:
    """Opens a bundle and checks its files.

    Args:
        path: the folder.
        encoder: whether the network's weights are checked too, which takes longest. Reading them does that anyway.

    Returns:
        The bundle; its weights are read later.

    Raises:
        NotFound: BUNDLE_NOT_FOUND.
        InvalidInput: BUNDLE_INVALID: a file is missing, changed or malformed; the text names it.
    """
    path = Path(path)
    description_file = path / DESCRIPTION_FILE
    try:
        if not description_file.is_file():
            raise _missing(path, f"{DESCRIPTION_FILE} is missing")
        if description_file.stat().st_size > _MAX_DESCRIPTION_BYTES:
            raise _invalid(description_file, f"it has more than {_MAX_DESCRIPTION_BYTES} bytes")
        content = description_file.read_bytes()
    except OSError as error:
        # A name may be too long, or a folder closed.
        raise _missing(path, f"{DESCRIPTION_FILE} cannot be read ({error.strerror})") from error
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _invalid(description_file, f"it is no JSON ({short(error)})") from error
    if not isinstance(description, dict):
        raise _invalid(description_file, "it is no JSON object")
    if description.get("format_version") != FORMAT_VERSION:
        raise _invalid(
            description_file,
            f"it has format version {short(description.get('format_version'))}, but only {FORMAT_VERSION} can be read",
        )
    try:
        version = content_version(description)
        if description.get("model_version") != version or not _garments_match(description):
            raise _invalid(description_file, "its content does not match its own hash, so it was changed")
        bundle = _bundle(path, version, description)
        files = dict(description["files"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise _invalid(description_file, f"a part is missing or malformed ({short(error)})") from error
    for required in (ENCODER_FILE, HEADS_FILE):
        if required not in files:
            raise _invalid(description_file, f"it does not list {required}")
    for name, facts in files.items():
        if encoder or name != ENCODER_FILE:
            _read_verified(path, name, facts)
    return bundle


def _garments_match(description: Mapping[str, Any]) -> bool:
    if (GARMENTS_KEY in description) != (GARMENT_HEADS_FILE in description["files"]):
        return False
    return GARMENTS_KEY not in description or description[GARMENTS_KEY]["version"] == garments_version(description)


def _bundle(path: Path, version: str, description: dict[str, Any]) -> Bundle:
    labels = {head: _labels(head, names) for head, names in description["labels"].items()}
    height, width, dimension = (
        _integer(where, of[name], most)
        for where, of, name, most in (
            ("input.height", description["input"], "height", _MAX_SIDE),
            ("input.width", description["input"], "width", _MAX_SIDE),
            ("dimension", description, "dimension", _MAX_DIMENSION),
        )
    )
    return Bundle(
        path=path,
        name=_name("name", description["name"]),
        model_version=version,
        architecture=_name("architecture", description["architecture"]),
        preprocessing=Preprocessing.from_json(height, width, description["preprocessing"]),
        dimension=dimension,
        labels=labels,
        settings={head: HeadSettings.from_json(description["heads"][head], head, labels) for head in labels},
        description=description,
    )


def _labels(head: str, names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"the labels of the head {head!r} are no list of texts")
    if len(set(names)) != len(names):
        raise ValueError(f"a label of the head {head!r} occurs twice")
    return tuple(names)


def _name(where: str, value: Any) -> str:
    if len(name := str(value)) > _MAX_NAME_CHARACTERS:
        raise ValueError(f"{where} has more than {_MAX_NAME_CHARACTERS} characters")
    return name


def _integer(where: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{where} must be a whole number from 1 to {most}")
    return value


def _read_verified(folder: Path, name: str, facts: Any) -> bytes:
    file = folder / name
    if Path(name).name != name or not name.isprintable():
        raise _invalid(folder / DESCRIPTION_FILE, f"it lists {short(repr(name))}, which is no plain file name")
    if not isinstance(facts, Mapping):
        raise _invalid(folder / DESCRIPTION_FILE, f"it does not list {short(name)}")
    try:
        # Never more than is announced: the file may be of any size, or have no end.
        if not file.is_file():
            raise _invalid(file, "it is missing, or no file")
        if (size := file.stat().st_size) != facts.get("bytes"):
            raise _invalid(file, f"it has {size} bytes instead of {short(facts.get('bytes'))}")
        content = file.read_bytes()
    except OSError as error:
        raise _invalid(file, f"it cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != facts.get("sha256"):
        raise _invalid(file, "its SHA-256 is not the one in bundle.json, so it was changed or damaged")
    return content


def _missing(folder: Path, why: str) -> NotFound:
    return NotFound(
        f"There is no bundle in {short(folder)}: {why}.",
        reason="BUNDLE_NOT_FOUND",
        metadata={"path": short(folder)},
    )


def _invalid(file: Path, fault: str) -> InvalidInput:
    return InvalidInput(
        f"The bundle's file {file} cannot be used: {fault}.", reason="BUNDLE_INVALID", metadata={"file": file.name}
    )


def short(value: object) -> str:
    """Returns what a description or a caller has said, for a sentence about it."""
    text = str(value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…"
