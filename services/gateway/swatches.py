"""The CSS colours of the colour names that shops use."""

from types import MappingProxyType
from typing import Final

# Chosen by photographs of garments, not pure colours: "Red" is the red of a shirt.
_SWATCHES: Final = MappingProxyType(
    {
        "anthracite": "#383e42",
        "apricot": "#f7b98a",
        "aqua": "#5fc9c9",
        "beige": "#d9c7a3",
        "black": "#1b1b1d",
        "blue": "#2f62b5",
        "bronze": "#a5713c",
        "brown": "#6b4529",
        "burgundy": "#6a1a2b",
        "camel": "#b98d5a",
        "charcoal": "#43464b",
        "chocolate": "#4b2e1f",
        "coffee brown": "#4f3524",
        "copper": "#b4693c",
        "coral": "#f27c66",
        "cream": "#f5eed9",
        "cyan": "#35b6d4",
        "denim": "#48658b",
        "ecru": "#e8dfc8",
        "fluorescent green": "#9bec3b",
        "fuchsia": "#c8358f",
        "gold": "#c9a24a",
        "green": "#3c8a4e",
        "grey": "#8d9096",
        "grey melange": "#a9abb0",
        "indigo": "#37406f",
        "ivory": "#f6f1e4",
        "khaki": "#a5996d",
        "lavender": "#b6a5d6",
        "lilac": "#c2a3d0",
        "lime green": "#a0cb3c",
        "magenta": "#c23a83",
        "maroon": "#6e1f2b",
        "mauve": "#a98497",
        "metallic": "#a8a9ad",
        "mint": "#a9dcc3",
        "mushroom brown": "#8d7766",
        "mustard": "#d0a02f",
        "navy": "#1f2a52",
        "navy blue": "#1f2a52",
        "nude": "#e2bea0",
        "off white": "#f4f1ea",
        "olive": "#6f7040",
        "orange": "#e8792b",
        "peach": "#f6c3a2",
        "pink": "#ec8fb0",
        "purple": "#6d3f8c",
        "red": "#c32a33",
        "rose": "#d9798d",
        "rose gold": "#c98f80",
        "rust": "#a6482a",
        "sand": "#d3bd93",
        "sea green": "#3f9c86",
        "silver": "#c0c2c7",
        "skin": "#e3bd9c",
        "steel": "#7f868d",
        "tan": "#b98f63",
        "taupe": "#8a7b6d",
        "teal": "#23757c",
        "turquoise": "#36b5ad",
        "turquoise blue": "#2fa9c0",
        "violet": "#7f55a8",
        "white": "#ffffff",
        "yellow": "#eec63a",
    }
)


def swatch_of(colour: str, family: str) -> str | None:
    """Returns the CSS colour of a colour, else that of its family, such as "#2f62b5"; None if neither is known."""
    for name in (colour, family):
        swatch = _SWATCHES.get(" ".join(name.casefold().replace("-", " ").replace("_", " ").split()))
        if swatch is not None:
            return swatch
    return None
