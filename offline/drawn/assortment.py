"""What the drawn shop sells: its article types with the data set's labels, cuts, patterns, colours and proportions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from PIL import Image

from offline.drawn import accessories, bags, footwear, garments
from offline.drawn.spec import ProductSpec

_BRIGHT = ("Red", "Blue", "Yellow", "Green", "Orange", "Pink", "Purple", "Turquoise Blue")
_CALM = ("Navy Blue", "Grey", "White", "Black", "Olive", "Maroon", "Teal")
_SOFT = ("Pink", "Lavender", "Peach", "Cream", "Magenta", "Purple", "Teal", "Yellow", "Red", "Blue")
_WOMANLY = tuple(colour for colour in _SOFT if colour != "Magenta")
_GIRLISH = ("Pink", "Purple", "Yellow", "Red", "Blue", "White", "Green")
_LEATHERS = ("Brown", "Black", "Tan", "Beige")
_METALS = ("Gold", "Silver")
_ALL_OVER = ("Solid", "Striped", "Polka Dot", "Floral", "Geometric")


@dataclass(frozen=True, slots=True)
class Line:
    """One derived type of the shop.

    Attributes:
        gender, master_category, sub_category, article_type: labels, as the data set writes them.
        noun: what a name calls one of them.
        share: how many there are of 550.
        cuts, patterns, colours: what they come in; a pattern that is named twice is twice as frequent.
        usages: what they are for.
    """

    gender: str
    master_category: str
    sub_category: str
    article_type: str
    noun: str
    share: int
    cuts: tuple[str, ...]
    patterns: tuple[str, ...]
    colours: tuple[str, ...]
    usages: tuple[str, ...] = ("Casual",)


def _lines(
    labels: tuple[str, str, str],
    noun: str,
    shares: Mapping[str, int],
    cuts: Mapping[str, tuple[str, ...]],
    patterns: tuple[str, ...],
    colours: Mapping[str, tuple[str, ...]],
    usages: tuple[str, ...] = ("Casual",),
) -> list[Line]:
    """One line for each gender; the key "" stands for the genders that are not named."""
    return [
        Line(
            gender,
            *labels,
            noun,
            share,
            cuts.get(gender, cuts.get("", ())),
            patterns,
            colours.get(gender, colours.get("", ())),
            usages,
        )
        for gender, share in shares.items()
    ]


LINES: tuple[Line, ...] = (
    *_lines(
        ("Apparel", "Topwear", "Tshirts"),
        "Tshirt",
        {"Men": 24, "Women": 16, "Boys": 14, "Girls": 12},
        {"Men": ("crew", "crew", "v-neck", "polo"), "Women": ("crew", "v-neck", "polo"), "": ("crew",)},
        ("Solid", "Striped", "Printed", "Printed", "Colourblock"),
        {
            "Men": (*_CALM, *_BRIGHT),
            "Women": (*_SOFT, "White", "Black", "Multi"),
            "Boys": (*_BRIGHT[:-1], "Grey"),
            "Girls": _GIRLISH,
        },
        ("Casual", "Casual", "Sports"),
    ),
    *_lines(
        ("Apparel", "Topwear", "Tshirts"),
        "Tshirt",
        {"Unisex": 10},
        {"": ("crew",)},
        ("Printed",),
        {"": ("Black", "White", "Red", "Blue", "Yellow", "Green", "Orange")},
    ),
    *_lines(
        ("Apparel", "Topwear", "Shirts"),
        "Shirt",
        {"Men": 20, "Women": 12, "Boys": 8},
        {"": ("long", "short"), "Women": ("long", "long", "short")},
        ("Solid", "Checked", "Checked", "Pinstriped", "Gingham"),
        {
            "Men": (
                "Blue",
                "White",
                "Navy Blue",
                "Yellow",
                "Green",
                "Pink",
                "Lavender",
                "Black",
                "Red",
                "Maroon",
                "Beige",
            ),
            "Women": ("White", "Pink", "Blue", "Lavender", "Yellow", "Red", "Black"),
            "Boys": ("Blue", "Red", "Green", "White", "Navy Blue"),
        },
        ("Casual", "Formal"),
    ),
    *_lines(
        ("Apparel", "Topwear", "Tops"),
        "Top",
        {"Women": 16, "Girls": 10},
        {
            "": ("cami", "sleeveless", "flutter", "tunic", "peplum"),
            "Girls": ("sleeveless", "flutter", "peplum"),
        },
        _ALL_OVER,
        {"": (*_SOFT, "Black", "White", "Turquoise Blue", "Multi"), "Girls": _GIRLISH},
    ),
    *_lines(
        ("Apparel", "Topwear", "Sweatshirts"),
        "Sweatshirt",
        {"Men": 10, "Women": 8},
        {"": ("hood", "hood zip", "crew")},
        ("Solid", "Melange", "Printed"),
        {
            "": ("Grey", "Navy Blue", "Black", "Red", "Green", "Maroon"),
            "Women": ("Pink", "Purple", "Grey", "Red", "Black"),
        },
        ("Casual", "Sports"),
    ),
    *_lines(
        ("Apparel", "Topwear", "Jackets"),
        "Jacket",
        {"Men": 10, "Women": 8},
        {"": ("bomber", "leather", "quilted", "denim")},
        ("Solid", "Solid", "Colourblock"),
        {
            "": ("Black", "Brown", "Navy Blue", "Red", "Olive", "Blue"),
            "Women": ("Red", "Black", "Pink", "Purple", "Blue"),
        },
    ),
    *_lines(
        ("Apparel", "Topwear", "Kurtas"),
        "Kurta",
        {"Women": 14, "Men": 8},
        {"": ("slit",)},
        ("Solid", "Floral", "Geometric", "Striped"),
        {
            "Women": (
                "Turquoise Blue",
                "Pink",
                "Maroon",
                "Green",
                "Mustard",
                "Yellow",
                "Purple",
                "Red",
                "Blue",
                "White",
                "Orange",
            ),
            "Men": ("Cream", "White", "Maroon", "Blue", "Beige", "Mustard", "Black"),
        },
        ("Ethnic",),
    ),
    *_lines(
        ("Apparel", "Dress", "Dresses"),
        "Dress",
        {"Women": 16, "Girls": 10},
        {"": ("flare", "shift", "wrap", "maxi", "strappy"), "Girls": ("flare", "shift")},
        ("Solid", "Floral", "Polka Dot", "Striped", "Geometric"),
        {
            "": (*_WOMANLY, "Black", "Navy Blue", "White", "Multi"),
            "Girls": ("Pink", "Yellow", "Red", "Blue", "White"),
        },
        ("Casual", "Party"),
    ),
    *_lines(
        ("Apparel", "Bottomwear", "Jeans"),
        "Jeans",
        {"Men": 12, "Women": 12, "Boys": 8},
        {
            "": ("straight", "slim", "bootcut"),
            "Women": ("skinny", "skinny", "bootcut"),
            "Boys": ("straight", "slim"),
        },
        ("Solid",),
        {"": ("Blue", "Blue", "Navy Blue", "Black", "Grey"), "Boys": ("Blue", "Navy Blue", "Black")},
    ),
    *_lines(
        ("Apparel", "Bottomwear", "Trousers"),
        "Trousers",
        {"Men": 10},
        {"": ("slim", "straight")},
        ("Solid", "Solid", "Pinstriped"),
        {"": ("Khaki", "Navy Blue", "Grey", "Black", "Beige", "Olive", "Brown")},
        ("Formal", "Casual"),
    ),
    *_lines(
        ("Apparel", "Bottomwear", "Track Pants"),
        "Track Pants",
        {"Men": 8},
        {"": ("relaxed", "straight")},
        ("Solid",),
        {"": ("Black", "Navy Blue", "Grey", "Blue", "White")},
        ("Sports",),
    ),
    *_lines(
        ("Apparel", "Bottomwear", "Shorts"),
        "Shorts",
        {"Men": 10, "Women": 8, "Boys": 8},
        {"": ("chino", "sport", "cargo"), "Women": ("chino", "sport")},
        ("Solid", "Solid", "Checked"),
        {
            "Men": ("Beige", "Navy Blue", "Olive", "Black", "Grey", "Red", "Blue"),
            "Women": ("White", "Pink", "Blue", "Red", "Black", "Green", "Purple"),
            "Boys": ("Blue", "Red", "Grey", "Navy Blue", "Green", "Beige"),
        },
        ("Casual", "Sports"),
    ),
    *_lines(
        ("Apparel", "Bottomwear", "Skirts"),
        "Skirt",
        {"Women": 10, "Girls": 8},
        {
            "": ("a-line", "pencil", "pleated", "tiered", "denim", "maxi"),
            "Girls": ("tiered", "pleated", "denim"),
        },
        ("Solid", "Floral", "Checked", "Polka Dot"),
        {
            "": ("Red", "Black", "Pink", "Blue", "Navy Blue", "Green", "Purple"),
            "Girls": ("Pink", "Blue", "White"),
        },
    ),
    *_lines(
        ("Footwear", "Shoes", "Casual Shoes"),
        "Casual Shoes",
        {"Men": 16, "Women": 12, "Boys": 8},
        {
            "Men": ("sneaker", "sneaker", "hightop", "loafer"),
            "Women": ("sneaker", "slipon", "hightop"),
            "Boys": ("velcro", "velcro", "sneaker"),
        },
        ("Solid", "Solid", "Checked"),
        {
            "Men": ("Brown", "Black", "Navy Blue", "White", "Red", "Grey", "Blue", "Olive", "Tan"),
            "Women": ("Pink", "White", "Purple", "Red", "Blue", "Black", "Green"),
            "Boys": ("Blue", "Red", "Black", "Brown", "White"),
        },
    ),
    *_lines(
        ("Footwear", "Shoes", "Sports Shoes"),
        "Sports Shoes",
        {"Men": 12, "Women": 10},
        {"": ("running",)},
        ("Solid",),
        {
            "": ("White", "Black", "Blue", "Red", "Grey", "Navy Blue", "Green"),
            "Women": ("White", "Pink", "Purple", "Grey", "Blue"),
        },
        ("Sports",),
    ),
    *_lines(
        ("Footwear", "Shoes", "Formal Shoes"),
        "Formal Shoes",
        {"Men": 10},
        {"": ("oxford", "slip")},
        ("Solid",),
        {"": ("Black", "Brown", "Tan", "Maroon")},
        ("Formal",),
    ),
    *_lines(
        ("Footwear", "Shoes", "Heels"),
        "Heels",
        {"Women": 14},
        {"": ("pump", "peep", "block", "strappy", "wedge", "maryjane")},
        ("Solid",),
        {"": ("Red", "Black", "Beige", "Gold", "Blue", "Purple", "Pink", "Brown", "White")},
        ("Casual", "Party"),
    ),
    *_lines(
        ("Footwear", "Shoes", "Flats"),
        "Flats",
        {"Women": 10},
        {"": ("bow", "strap")},
        ("Solid", "Solid", "Polka Dot"),
        {"": ("Red", "Beige", "Black", "Pink", "Blue", "Gold", "Brown")},
    ),
    *_lines(
        ("Footwear", "Sandal", "Sandals"),
        "Sandals",
        {"Men": 8, "Girls": 8},
        {"": ("strap", "slide"), "Girls": ("strap",)},
        ("Solid",),
        {
            "Men": ("Brown", "Black", "Tan", "Navy Blue", "Olive"),
            "Girls": ("Pink", "Purple", "White", "Red", "Blue"),
        },
    ),
    *_lines(
        ("Footwear", "Flip Flops", "Flip Flops"),
        "Flip Flops",
        {"Men": 8, "Women": 8},
        {"": ("thong",)},
        ("Solid", "Striped"),
        {
            "Men": ("Blue", "Black", "Red", "Green", "Brown", "Grey"),
            "Women": ("Pink", "Orange", "Purple", "White", "Turquoise Blue"),
        },
    ),
    *_lines(
        ("Accessories", "Bags", "Handbags"),
        "Handbag",
        {"Women": 16},
        {"": ("tote", "satchel", "hobo", "bowling")},
        ("Solid", "Solid", "Solid", "Checked", "Geometric"),
        {
            "": (
                "Red",
                "Tan",
                "Black",
                "Purple",
                "Brown",
                "Beige",
                "Yellow",
                "Blue",
                "Pink",
                "Green",
                "Orange",
                "Teal",
            )
        },
    ),
    *_lines(
        ("Accessories", "Bags", "Backpacks"),
        "Backpack",
        {"Unisex": 12},
        {"": ("panel", "line", "flap")},
        ("Solid", "Solid", "Geometric"),
        {"": ("Black", "Blue", "Red", "Grey", "Green", "Navy Blue", "Purple", "Olive", "Orange")},
    ),
    *_lines(
        ("Accessories", "Watches", "Watches"),
        "Watch",
        {"Men": 10, "Women": 10},
        {"": ("chronograph", "round", "square", "round digital"), "Women": ("round", "square")},
        ("Solid",),
        {
            "Men": ("Black", "Brown", "Silver", "Blue"),
            "Women": (*_METALS, "Pink", "White", "Red", "Black", "Brown"),
        },
    ),
    *_lines(
        ("Accessories", "Eyewear", "Sunglasses"),
        "Sunglasses",
        {"Men": 8, "Women": 8},
        {"Men": ("aviator", "wayfarer", "wrap"), "Women": ("round", "cateye")},
        ("Solid",),
        {
            "Men": ("Black", "Gold", "Brown", "Silver", "Blue"),
            "Women": ("Purple", "Red", "Brown", "Black", "Pink", "White"),
        },
    ),
    *_lines(
        ("Accessories", "Headwear", "Caps"),
        "Cap",
        {"Unisex": 12},
        {"": ("baseball", "baseball", "baseball", "beanie", "beanie pompom")},
        ("Solid", "Solid", "Colourblock", "Striped"),
        {"": ("Red", "Black", "Navy Blue", "White", "Green", "Grey", "Blue", "Brown")},
        ("Casual", "Sports"),
    ),
    *_lines(
        ("Accessories", "Belts", "Belts"),
        "Belt",
        {"Men": 8, "Women": 8},
        {"": ("frame", "plate"), "Women": ("round", "frame")},
        ("Solid",),
        {"Men": _LEATHERS, "Women": ("Red", "Black", "White", "Brown", "Pink", "Yellow", "Purple")},
        ("Casual", "Formal"),
    ),
    *_lines(
        ("Accessories", "Ties", "Ties"),
        "Tie",
        {"Men": 10},
        {"": ("classic", "slim")},
        ("Solid", "Striped", "Polka Dot", "Geometric"),
        {"": ("Navy Blue", "Red", "Maroon", "Purple", "Grey", "Green", "Black", "Blue")},
        ("Formal",),
    ),
    *_lines(
        ("Accessories", "Socks", "Socks"),
        "Socks",
        {"Men": 10},
        {"": ("ankle", "crew", "knee")},
        ("Solid", "Striped", "Polka Dot"),
        {"": ("Black", "Grey", "White", "Navy Blue", "Blue", "Red", "Green", "Brown")},
        ("Casual", "Sports"),
    ),
    *_lines(
        ("Accessories", "Wallets", "Wallets"),
        "Wallet",
        {"Men": 8, "Women": 8},
        {"Men": ("tab", "plain"), "Women": ("clasp", "zip")},
        ("Solid",),
        {
            "Men": _LEATHERS[:3],
            "Women": ("Red", "Pink", "Purple", "Brown", "Beige", "Black", "Blue", "Green"),
        },
    ),
)

Artist = Callable[[ProductSpec, Random], Image.Image]

ARTISTS: Mapping[str, Artist] = MappingProxyType(
    {
        "Tshirts": garments.tshirt,
        "Shirts": garments.shirt,
        "Tops": garments.top,
        "Sweatshirts": garments.sweatshirt,
        "Jackets": garments.jacket,
        "Kurtas": garments.kurta,
        "Dresses": garments.dress,
        "Jeans": garments.trousers,
        "Trousers": garments.trousers,
        "Track Pants": garments.trousers,
        "Shorts": garments.shorts,
        "Skirts": garments.skirt,
        "Casual Shoes": footwear.casual_shoes,
        "Sports Shoes": footwear.sports_shoes,
        "Formal Shoes": footwear.formal_shoes,
        "Heels": footwear.heels,
        "Flats": footwear.flats,
        "Sandals": footwear.sandals,
        "Flip Flops": footwear.flip_flops,
        "Handbags": bags.handbag,
        "Backpacks": bags.backpack,
        "Wallets": bags.wallet,
        "Watches": accessories.watch,
        "Sunglasses": accessories.sunglasses,
        "Caps": accessories.cap,
        "Belts": accessories.belt,
        "Ties": accessories.tie,
        "Socks": accessories.socks,
    }
)
