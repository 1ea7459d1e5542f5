"""Pictures as phones store them and as attackers would, for benchmarks and tests of decoding."""

import io
import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# The primaries of Display P3, adapted to D50.
_DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}


def encoded(picture: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """Returns a picture as a file."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def srgb_profile() -> bytes:
    """Returns an ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3_profile() -> bytes:
    """Returns an ICC profile of Display P3: that of sRGB with other primaries."""
    profile = bytearray(srgb_profile())
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, position = struct.unpack_from(">4sI", profile, entry)
        if name in _DISPLAY_P3:
            struct.pack_into(">3i", profile, position + 8, *(round(value * 65536) for value in _DISPLAY_P3[name]))
    return bytes(profile)


def in_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """Returns the pixels that show an sRGB picture's colours in a profile of RGB."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    return converted or picture


def noise(width: int, height: int, seed: int = 0, grain: int = 64) -> Image.Image:
    """Returns a picture of coarse random colours, which compresses as photographs do."""
    random = np.random.default_rng(seed)
    coarse: NDArray[np.uint8] = random.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def many_scans(side: int, repeats: int) -> bytes:
    """Returns a progressive JPEG of one colour whose last scan is repeated: 42 bytes a scan, and the work of all.

    Args:
        side: width and height, in pixels.
        repeats: further scans.
    """
    content = encoded(Image.new("RGB", (side, side), "white"), progressive=True, subsampling=0)
    last = [match.start() for match in re.finditer(rb"\xff\xda", content)][-1]
    return content[:-2] + content[last:-2] * repeats + content[-2:]


def announcing(content: bytes, width: int, height: int) -> bytes:
    """Returns an AVIF that announces another size than its frame has."""
    place = content.index(b"ispe") + 8
    return content[:place] + struct.pack(">II", width, height) + content[place + 8 :]


def with_full_headers(picture: Image.Image) -> bytes:
    """Returns an AVIF whose headers are not the reduced ones of a still picture: the first frame of an animation."""
    still = encoded(picture, "AVIF", speed=10)
    animated = encoded(picture, "AVIF", speed=10, save_all=True, append_images=[picture.rotate(180)])
    begin, length = struct.unpack_from(">II", animated, animated.index(b"iloc") + 18)
    place = still.index(b"iloc") + 18
    head = bytearray(still[: struct.unpack_from(">I", still, place)[0] - 8])
    struct.pack_into(">I", head, place + 4, length)
    configuration, other = head.index(b"av1C"), animated.index(b"av1C")
    head[configuration : configuration + 8] = animated[other : other + 8]
    return bytes(head) + struct.pack(">I4s", 8 + length, b"mdat") + animated[begin : begin + length]


def grid_of(tile: Image.Image, columns: int, rows: int, **options: Any) -> bytes:
    """Returns an AVIF that is a grid of one tile, over and over; its data are in the file once."""
    still = encoded(tile, "AVIF", **options)

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    def copied(name: bytes) -> bytes:
        place = still.index(name) - 4
        return still[place : place + struct.unpack_from(">I", still, place)[0]]

    size = columns * tile.width, rows * tile.height
    begin, length = struct.unpack_from(">II", still, still.index(b"iloc") + 18)
    data = struct.pack(">4BHH", 0, 0, rows - 1, columns - 1, *size) + still[begin : begin + length]
    tiles = range(2, 2 + columns * rows)
    infos = [box(b"infe", struct.pack(">4B HH4sx", 2, 0, 0, 0, 1, 0, b"grid"))]
    infos += [box(b"infe", struct.pack(">4B HH4sx", 2, 0, 0, 1, each, 0, b"av01")) for each in tiles]
    parts = struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *tiles)
    properties = [
        box(b"ispe", bytes(4) + struct.pack(">II", *size)),
        *map(copied, (b"ispe", b"pixi", b"av1C", b"colr")),
    ]
    uses = struct.pack(">HBBBB", 1, 3, 1, 3, 5)
    uses += b"".join(struct.pack(">HBBBBB", each, 4, 2, 3, 0x84, 5) for each in tiles)

    def head(start: int) -> bytes:
        places = struct.pack(">HHHII", 1, 0, 1, start, 8)
        places += b"".join(struct.pack(">HHHII", each, 0, 1, start + 8, length) for each in tiles)
        meta = copied(b"hdlr") + box(b"pitm", struct.pack(">IH", 0, 1))
        meta += box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, 1 + len(tiles)) + places)
        meta += box(b"iinf", struct.pack(">IH", 0, len(infos)) + b"".join(infos))
        meta += box(b"iref", bytes(4) + box(b"dimg", parts))
        association = box(b"ipma", struct.pack(">II", 0, 1 + len(tiles)) + uses)
        meta += box(b"iprp", box(b"ipco", b"".join(properties)) + association)
        return copied(b"ftyp") + box(b"meta", bytes(4) + meta)

    return head(len(head(0)) + 8) + box(b"mdat", data)


def in_parts(content: bytes, shares: Sequence[tuple[float, float]]) -> bytes:
    """Returns an AVIF of one item whose data are told to be in several parts.

    Args:
        content: the file, as Pillow writes it.
        shares: begin and end of each part, in shares of the item's data.
    """
    place = content.index(b"iloc") - 4
    begin, length = struct.unpack_from(">II", content, place + 22)
    more = 8 * (len(shares) - 1)
    edges = [(round(first * length), round(last * length)) for first, last in shares]
    parts = b"".join(struct.pack(">II", begin + more + first, last - first) for first, last in edges)
    location = struct.pack(">I", 30 + more) + content[place + 4 : place + 20] + struct.pack(">H", len(shares)) + parts
    file = bytearray(content[:place] + location + content[place + 30 :])
    meta = content.index(b"meta") - 4
    struct.pack_into(">I", file, meta, struct.unpack_from(">I", content, meta)[0] + more)
    return bytes(file)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Returns a file with some bytes changed, left out, repeated or cut off."""
    file = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        place, other = (int(each) for each in random.integers(0, len(file), 2))
        # Half of the faults go into the first part, where the headers are.
        place = place // 16 if random.random() < 0.5 else place
        match int(random.integers(0, 6)):
            case 0:
                file[place] ^= 1 << int(random.integers(0, 8))
            case 1:
                file[place] = int(random.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
            case 2:
                del file[place : place + int(random.integers(1, 20))]
            case 3:
                file[place:place] = file[other : other + int(random.integers(1, 200))]
            case 4:
                file[place : place + 4] = random.bytes(4)
            case _:
                del file[max(20, other) :]
        if len(file) < 20:
            return bytes(file)
    return bytes(file)
