"""Measures decoding: colours of phones, their large files, what it costs at worst, and processes that can be killed.

    python -m offline.benchmark.decoding DATASET [--photographs 200] [--mutations 4000]

prints the tables of docs/decisions/0018-decoding.md.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline.benchmark.hard_pictures import display_p3_profile, encoded, in_profile, many_scans, mutated, noise
from offline.benchmark.timing import interleaved
from offline.dataset.rows import open_dataset
from services.bundle.reader import load_bundle
from services.concurrency import deadline
from services.contract.errors import DeadlineExceeded, InvalidInput
from services.embedder.runtimes.openvino import OpenvinoEncoder
from services.vision import Frame, ImageLimits, decode, prepare

_BUNDLE: Final = Path("models/fashion-resnet50")
_FRAME: Final = Frame(80, 60)
_ROUNDS: Final = 5
_MEGAPIXELS: Final = {12: (4032, 3024), 25: (5776, 4328), 48: (8000, 6000), 64: (9248, 6936)}
_UNBOUNDED: Final = ImageLimits(max_bytes=1 << 30, max_pixels=1 << 30, max_scaled_pixels=1 << 30, max_work=1 << 60)
# Beyond this saturation, in [0, 1], a garment is vivid.
_VIVID: Final = 0.8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder or zip in Kaggle's layout")
    parser.add_argument("--photographs", type=int, default=200, help="vivid photographs to compare")
    parser.add_argument("--mutations", type=int, default=4000, help="mutated files per format")
    options = parser.parse_args(arguments)
    _table("cosine with the sRGB twin", ("P3 copies", "median", "worst", "another first result"), _colours(options))
    _table("processor time to the network's input", ("picture", "ms", "ratio"), _times())
    _table("peak memory", ("picture", "file, MiB", "over the start, MiB", "processor, s"), _memory())
    _table("at worst", ("picture", "file, KiB", "all of it, s", "with a deadline of 0.2 s, s", "now"), _worst())
    _table("a process that can be killed", ("step", "ms"), _processes())
    _table(
        "mutated files", ("format", "decoded", "refused", "unexpected", "slowest, ms"), _mutations(options.mutations)
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [f"\n**{title}**\n", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _milliseconds(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the median time of each piece of work, in ms."""
    return {name: series.median for name, series in interleaved(works, _ROUNDS, 1).items()}


def _colours(options: argparse.Namespace) -> list[tuple[object, ...]]:
    profile = display_p3_profile()
    twins, with_profile, without = [], [], []
    with open_dataset(options.dataset) as dataset:
        for row in dataset.rows:
            picture = decode(dataset.photograph(row.id))
            if _vividness(picture) > _VIVID:
                stored = in_profile(picture, profile)
                twins.append(encoded(picture, quality=95, subsampling=0))
                with_profile.append(encoded(stored, quality=95, subsampling=0, icc_profile=profile))
                without.append(encoded(stored, quality=95, subsampling=0))
            if len(twins) == options.photographs:
                break
    encoder = OpenvinoEncoder.from_bundle(load_bundle(_BUNDLE), precision="float32")
    right, applied, passed_over = (
        encoder.encode(np.stack([prepare(content, encoder.frame) for content in contents]))
        for contents in (twins, with_profile, without)
    )
    return [
        ("profile passed over, as before", *_agreement(right, passed_over)),
        ("profile applied", *_agreement(right, applied)),
    ]


def _vividness(picture: Image.Image) -> float:
    """Returns the median saturation of the pixels that are neither white nor dark, in [0, 1]."""
    colours = np.asarray(picture.convert("HSV"), dtype=np.float64).reshape(-1, 3) / 255
    garment = colours[(colours[:, 2] > 0.25) & ~((colours[:, 1] < 0.1) & (colours[:, 2] > 0.9))]
    return float(np.median(garment[:, 1])) if len(garment) > len(colours) / 10 else 0.0


def _agreement(right: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[str, str, str]:
    cosine = (right * other).sum(axis=1)
    among = right @ right.T
    np.fill_diagonal(among, -1)
    asked = other @ right.T
    np.fill_diagonal(asked, -1)
    changed = float((among.argmax(axis=1) != asked.argmax(axis=1)).mean())
    return f"{np.median(cosine):.4f}", f"{cosine.min():.4f}", f"{100 * changed:.0f} %"


def _processor_ms(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Returns the median processor time of each piece of work, in ms, in turns; other work hardly disturbs it."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(_ROUNDS):
        for name, work in works.items():
            before = time.process_time()
            work()
            times[name].append(1000 * (time.process_time() - before))
    return {name: float(np.median(values)) for name, values in times.items()}


def _times() -> list[tuple[object, ...]]:
    profile = display_p3_profile()
    picture = noise(*_MEGAPIXELS[12])
    stored = in_profile(picture, profile)
    files = {
        "JPEG, 12 megapixels": encoded(picture, quality=85),
        "the same in Display P3": encoded(stored, quality=85, icc_profile=profile),
        "the same with a second picture (MPO)": encoded(
            picture, "MPO", save_all=True, append_images=[picture.reduce(4)], quality=85
        ),
        "WebP, 12 megapixels": encoded(picture, "WEBP", quality=75, method=0),
        "the same in Display P3, WebP": encoded(stored, "WEBP", quality=75, method=0, icc_profile=profile),
    }
    times = _processor_ms({name: partial(prepare, content, _FRAME) for name, content in files.items()})
    base = {name: times["WebP, 12 megapixels" if "WebP" in name else "JPEG, 12 megapixels"] for name in times}
    return [(name, f"{value:.1f}", f"{value / base[name]:.2f}") for name, value in times.items()]


def _memory() -> list[tuple[object, ...]]:
    flat = {size: Image.new("RGB", _MEGAPIXELS[size], "white") for size in (25, 48, 64)}
    grain = noise(*_MEGAPIXELS[25]).convert("RGBA")
    grain.putalpha(128)
    files = {
        "JPEG, 25 megapixels": encoded(flat[25]),
        "JPEG, 48 megapixels": encoded(flat[48]),
        "JPEG, 64 megapixels": encoded(flat[64]),
        "progressive JPEG, 64 megapixels": encoded(flat[64], progressive=True),
        "progressive JPEG, 64 megapixels, full colour": encoded(flat[64], progressive=True, subsampling=0),
        "transparent PNG, 25 megapixels": encoded(flat[25].convert("RGBA"), "PNG", compress_level=1),
        "transparent WebP, 25 megapixels": encoded(grain, "WEBP", quality=30, method=0),
        "AVIF, 25 megapixels": encoded(flat[25], "AVIF", speed=10),
    }
    rows: list[tuple[object, ...]] = []
    for name, content in files.items():
        megabytes, seconds = _alone(_measured_memory, content)
        rows.append((name, f"{len(content) / 2**20:.1f}", f"{megabytes:.0f}", f"{seconds:.2f}"))
    return rows


def _measured_memory(content: bytes) -> tuple[float, float]:
    # 5 resets the peak, which a process inherits from the one that started it.
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _peak_kib(), time.process_time()
    prepare(content, _FRAME, limits=ImageLimits(max_bytes=1 << 30))
    return (_peak_kib() - before) / 1024, time.process_time() - began


def _peak_kib() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def _worst() -> list[tuple[object, ...]]:
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4328, 5776, 3), dtype=np.uint8))
    files = {
        "JPEG of 200 scans, 25 megapixels": many_scans(5000, 200),
        "JPEG of 60 scans, 25 megapixels": many_scans(5000, 60),
        "PNG of 25 megapixels": encoded(rough, "PNG", compress_level=0),
        "WebP of noise, 25 megapixels": encoded(rough, "WEBP", quality=20, method=0),
        "AVIF of noise, 25 megapixels": encoded(rough, "AVIF", quality=30, speed=10),
    }
    rows: list[tuple[object, ...]] = []
    for name, content in files.items():
        whole = _seconds(content, _UNBOUNDED, None)
        ended = _seconds(content, _UNBOUNDED, 0.2)
        try:
            decode(content, ImageLimits(max_bytes=1 << 30), enough=lambda *_: 0.03)
            now = "decoded"
        except InvalidInput as error:
            now = error.reason
        rows.append((name, f"{len(content) / 1024:.0f}", f"{whole:.2f}", f"{ended:.2f}", now))
    return rows


def _seconds(content: bytes, limits: ImageLimits, timeout_s: float | None) -> float:
    began = time.perf_counter()
    try:
        with deadline.at_most(1e9 if timeout_s is None else timeout_s):
            decode(content, limits, enough=lambda *_: 0.03)
    except DeadlineExceeded:
        pass
    return time.perf_counter() - began


def _processes() -> list[tuple[object, ...]]:
    content = encoded(noise(*_MEGAPIXELS[12]), quality=85)
    small = encoded(noise(600, 800), quality=85)
    began = time.perf_counter()
    process, connection = _started(_serve)
    connection.send(small)
    connection.recv()
    starting = time.perf_counter() - began

    def there(asked: bytes) -> object:
        connection.send(asked)
        return connection.recv()

    times = _milliseconds(
        {
            "a photograph of 0.5 megapixels in a thread": lambda: prepare(small, _FRAME),
            "in a process": lambda: there(small),
            "a photograph of 12 megapixels in a thread": lambda: prepare(content, _FRAME),
            "12 megapixels in a process": lambda: there(content),
        }
    )
    memory = int(Path(f"/proc/{process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) // 1024
    began = time.perf_counter()
    process.kill()
    process.join()
    process, connection = _started(_serve)
    connection.send(small)
    connection.recv()
    again = time.perf_counter() - began
    process.kill()
    process.join()
    rows: list[tuple[object, ...]] = [(name, f"{value:.1f}") for name, value in times.items()]
    rows += [("starting one, until it has decoded", f"{1000 * starting:.0f}")]
    rows += [("killing one, until the next has decoded", f"{1000 * again:.0f}")]
    return [*rows, ("memory of each, MiB instead of ms", memory)]


def _started(work: Callable[[Connection], None]) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there,))
    process.start()
    return process, here


def _serve(connection: Connection) -> None:
    while True:
        connection.send(prepare(connection.recv(), _FRAME))


def _alone(work: Callable[[bytes], tuple[float, float]], content: bytes) -> tuple[float, float]:
    """Runs work in a process of its own, whose peak of memory is nobody else's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (content,))


def _mutations(count: int) -> list[tuple[object, ...]]:
    picture = noise(320, 240, grain=12)
    profile = display_p3_profile()
    forms: dict[str, dict[str, Any]] = {
        "JPEG": {"form": "JPEG"},
        "progressive JPEG": {"form": "JPEG", "progressive": True},
        "PNG": {"form": "PNG"},
        "WebP": {"form": "WEBP"},
        "lossless WebP": {"form": "WEBP", "lossless": True},
        "AVIF": {"form": "AVIF", "speed": 10},
        "transparent AVIF": {"form": "AVIF", "speed": 10},
    }
    rows: list[tuple[object, ...]] = []
    for name, options in forms.items():
        source = picture.convert("RGBA").rotate(9) if "transparent" in name else picture
        content = encoded(source, icc_profile=profile, **options)
        random = np.random.default_rng(len(name))
        outcomes: Counter[str] = Counter()
        slowest = 0.0
        for _ in range(count):
            file = mutated(content, random)
            began = time.perf_counter()
            try:
                decode(file, enough=lambda *_: 0.5)
                outcomes["decoded"] += 1
            except InvalidInput:
                outcomes["refused"] += 1
            except Exception:
                outcomes["unexpected"] += 1
            slowest = max(slowest, time.perf_counter() - began)
        rows.append((name, *(outcomes[key] for key in ("decoded", "refused", "unexpected")), f"{1000 * slowest:.0f}"))
    return rows


if __name__ == "__main__":
    main()
