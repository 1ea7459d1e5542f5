"""Photographs that are kept in memory by the thousand: no larger than what is made of them needs."""

from typing import Final

from PIL import Image

from services.vision.decode import decode

# A JPEG is decoded at least this many times as large, since decoders that reduce leave out the finer frequencies.
_OVERSAMPLING: Final = 2.0


def reduced_picture(content: bytes, shorter_side: int) -> Image.Image:
    """Decodes a photograph; a larger one is reduced, so that memory depends on their number alone.

    Args:
        content: a JPEG, PNG, WebP or AVIF file.
        shorter_side: maximum of the shorter side, in pixels; what is smaller stays as it is.

    Returns:
        The picture, upright, mode "RGB".

    Raises:
        InvalidInput: those of `decode`.
    """
    picture = decode(content, enough=lambda width, height: _OVERSAMPLING * shorter_side / min(width, height))
    factor = shorter_side / min(picture.size)
    if factor >= 1.0:
        return picture
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)
