"""What the drawn shop adds to a product: an invented price, material and sizes, which its id decides."""

from random import Random

from offline.drawn.spec import ProductSpec
from services.contract.own_attributes import OwnAttributes
from services.search.catalogue.products import Price

CURRENCY = "EUR"
# Lowest and highest price in whole euros.
_PRICES = {
    "Tshirts": (12, 34),
    "Shirts": (29, 69),
    "Tops": (19, 49),
    "Sweatshirts": (34, 79),
    "Jackets": (69, 189),
    "Kurtas": (29, 79),
    "Dresses": (39, 129),
    "Jeans": (39, 99),
    "Trousers": (35, 89),
    "Track Pants": (25, 59),
    "Shorts": (19, 49),
    "Skirts": (25, 69),
    "Casual Shoes": (49, 109),
    "Sports Shoes": (59, 139),
    "Formal Shoes": (79, 179),
    "Heels": (49, 129),
    "Flats": (29, 69),
    "Sandals": (25, 69),
    "Flip Flops": (9, 25),
    "Handbags": (49, 189),
    "Backpacks": (39, 99),
    "Watches": (59, 249),
    "Sunglasses": (29, 149),
    "Caps": (14, 35),
    "Belts": (19, 59),
    "Ties": (19, 49),
    "Socks": (6, 16),
    "Wallets": (25, 79),
}
# Materials by cut, else by article type.
_MATERIALS_OF_CUT = {
    "denim": ("Denim",),
    "leather": ("Leather",),
    "quilted": ("Recycled polyester",),
    "sport": ("Recycled polyester",),
    "round digital": ("Plastic",),
    "beanie": ("Wool",),
    "beanie pompom": ("Wool",),
}
_MATERIALS = {
    "Tshirts": ("Cotton", "Organic cotton"),
    "Shirts": ("Cotton", "Linen", "Organic cotton"),
    "Tops": ("Cotton", "Viscose", "Linen"),
    "Sweatshirts": ("Cotton", "Organic cotton"),
    "Jackets": ("Recycled polyester", "Cotton"),
    "Kurtas": ("Cotton", "Linen"),
    "Dresses": ("Viscose", "Cotton", "Linen"),
    "Jeans": ("Denim",),
    "Trousers": ("Cotton", "Wool"),
    "Track Pants": ("Recycled polyester", "Cotton"),
    "Shorts": ("Cotton", "Linen"),
    "Skirts": ("Viscose", "Cotton"),
    "Casual Shoes": ("Canvas", "Leather"),
    "Sports Shoes": ("Recycled polyester",),
    "Formal Shoes": ("Leather",),
    "Heels": ("Leather", "Suede"),
    "Flats": ("Leather", "Suede"),
    "Sandals": ("Leather", "Suede"),
    "Flip Flops": ("Rubber",),
    "Handbags": ("Leather", "Canvas"),
    "Backpacks": ("Canvas", "Recycled polyester"),
    "Watches": ("Steel",),
    "Sunglasses": ("Plastic", "Steel"),
    "Caps": ("Cotton",),
    "Belts": ("Leather", "Canvas"),
    "Ties": ("Silk", "Wool"),
    "Socks": ("Cotton", "Wool"),
    "Wallets": ("Leather",),
}
_LETTERS = ("XS", "S", "M", "L", "XL")
_SHOE_SIZES = {
    "Men": ("40", "41", "42", "43", "44", "45"),
    "Women": ("36", "37", "38", "39", "40", "41"),
    "Boys": ("30", "32", "34", "36"),
    "Girls": ("30", "32", "34", "36"),
    "Unisex": ("36", "38", "40", "42", "44"),
}
_CHILDREN_SIZES = ("104", "116", "128", "140")
FOOTWEAR = frozenset({"Shoes", "Sandal", "Flip Flops"})
_WORN = frozenset({"Topwear", "Dress", "Bottomwear"})


def price_of(spec: ProductSpec) -> Price:
    """Returns an invented price, such as 24.95 EUR; colourways of one product share it."""
    draw = Random(f"price {spec.seed} {spec.name}")
    low, high = _PRICES[spec.article_type]
    # More products are cheap than dear.
    units = low + int((high - low) * draw.random() ** 1.6)
    return Price(CURRENCY, units, draw.choice((950_000_000, 990_000_000)))


def attributes_of(spec: ProductSpec) -> OwnAttributes:
    """Returns an invented material, which the cut agrees with, and the sizes that are there, if it comes in sizes."""
    draw = Random(f"attributes {spec.seed} {spec.name}")
    materials = _MATERIALS_OF_CUT.get(spec.cut, _MATERIALS[spec.article_type])
    attributes: dict[str, tuple[str, ...]] = {"material": (draw.choice(materials),)}
    # Each colourway has sizes of its own.
    if sizes := _sizes(spec):
        stock = Random(f"sizes {spec.id}")
        attributes["size"] = tuple(size for size in sizes if stock.random() < 0.8) or sizes[1:2]
    return attributes


def _sizes(spec: ProductSpec) -> tuple[str, ...]:
    if spec.sub_category in FOOTWEAR:
        return _SHOE_SIZES[spec.gender]
    if spec.sub_category in _WORN:
        return _CHILDREN_SIZES if spec.gender in {"Boys", "Girls"} else _LETTERS
    return ()
