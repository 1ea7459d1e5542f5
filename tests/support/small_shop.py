"""A shop of forty products, small enough to know by heart: four derived types, five colours, two shades of each."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from fashion.v1 import search_pb2, types_pb2

COLOURS = {
    "Blue": (40, 90, 200),
    "Navy Blue": (20, 30, 90),
    "Red": (200, 30, 40),
    "Yellow": (230, 200, 40),
    "Black": (25, 25, 25),
}
SHADES = (0, 25)
# Corners as shares of the picture: what is drawn tells the types apart.
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "Men Tshirts": (
        (0.05, 0.2),
        (0.95, 0.2),
        (0.95, 0.45),
        (0.75, 0.45),
        (0.75, 0.9),
        (0.25, 0.9),
        (0.25, 0.45),
        (0.05, 0.45),
    ),
    "Women Dresses": ((0.35, 0.05), (0.65, 0.05), (0.65, 0.4), (0.95, 0.98), (0.05, 0.98), (0.35, 0.4)),
    "Women Handbags": ((0.1, 0.55), (0.9, 0.55), (0.98, 0.95), (0.02, 0.95)),
    "Unisex Backpacks": ((0.2, 0.05), (0.8, 0.05), (0.8, 0.5), (0.2, 0.5)),
}
SUB_CATEGORIES = {
    "Men Tshirts": "Topwear",
    "Women Dresses": "Dress",
    "Women Handbags": "Bags",
    "Unisex Backpacks": "Bags",
}
GENDERS = {"Men": types_pb2.GENDER_MEN, "Women": types_pb2.GENDER_WOMEN, "Unisex": types_pb2.GENDER_UNISEX}


def photograph(derived_type: str, colour: str = "Blue", shade: int = 0, *, form: str = "PNG", size: int = 80) -> bytes:
    """Draws a product in one colour on white, three wide to four high."""
    width, height = size * 3 // 4, size
    picture = Image.new("RGB", (width, height), "white")
    corners = [(x * width, y * height) for x, y in SHAPES[derived_type]]
    ImageDraw.Draw(picture).polygon(corners, fill=tuple(min(255, each + shade) for each in COLOURS[colour]))
    content = io.BytesIO()
    picture.save(content, form)
    return content.getvalue()


@dataclass(frozen=True)
class Item:
    """A product of the shop."""

    id: str
    derived_type: str
    colour: str
    shade: int

    def product(self, **attributes: object) -> types_pb2.Product:
        """Describes it; `attributes` are added."""
        gender, article_type = self.derived_type.split(" ", 1)
        return types_pb2.Product(
            **{
                "id": self.id,
                "gender": GENDERS[gender],
                "sub_category": SUB_CATEGORIES[self.derived_type],
                "article_type": article_type,
                "base_colour": self.colour,
                "year": 2016,
                **attributes,
            }
        )

    def photograph(self) -> bytes:
        """Draws it."""
        return photograph(self.derived_type, self.colour, self.shade)

    def row(self, **attributes: object) -> search_pb2.ProductRow:
        """Makes the row that writes it."""
        return search_pb2.ProductRow(
            product=self.product(**attributes), image=types_pb2.Image(content=self.photograph())
        )


def items() -> tuple[Item, ...]:
    """Lists the shop's products in the order of their ids, such as "men-tshirts-navy-blue-25"."""
    found = (
        Item(f"{kind} {colour} {shade}".replace(" ", "-").lower(), kind, colour, shade)
        for kind in SHAPES
        for colour in COLOURS
        for shade in SHADES
    )
    return tuple(sorted(found, key=lambda item: item.id))


def rows(chosen: Iterable[Item] | None = None) -> list[search_pb2.ProductRow]:
    """Makes the rows that write some products, or all of them."""
    return [item.row() for item in (items() if chosen is None else chosen)]
