"""The story of the demo: results for a product, for a photograph, and with a dislike."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from cli import answers
from cli.contact_sheet import Mark, Section, write_contact_sheet
from cli.demo.material import DISLIKED, HeldOut
from fashion.v1 import search_pb2, types_pb2
from services.contract.errors import InvalidInput
from services.contract.values import parse_derived_type
from services.serving.conversion import gender_to_proto

if TYPE_CHECKING:
    from services.clients.search import SearchClient

SHOPPER = "demo-shopper"
FILTER_COLOUR = "Blue"
TOP_K = 10
# The classifier follows a new catalogue within this time.
FOLLOW_TIMEOUT_S = 20.0
_FOLLOW_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Dislike:
    """The answers to a photograph without and with the shopper's dislike."""

    photograph: HeldOut
    without: search_pb2.FindSimilarResponse
    with_dislike: search_pb2.FindSimilarResponse

    @property
    def left(self) -> list[str]:
        """Ids of the products that the dislike removed from the list, in their order."""
        excluded = set(self.with_dislike.applied.excluded_colours)
        return [each.product.id for each in self.without.products if each.product.base_colour in excluded]

    @property
    def came(self) -> list[str]:
        """Ids of the products that replaced them, in their order."""
        before = {each.product.id for each in self.without.products}
        return [each.product.id for each in self.with_dislike.products if each.product.id not in before]


class Story:
    """The three parts of the demo, with the sections of the contact sheet."""

    def __init__(self, client: "SearchClient", to: Console) -> None:
        self._client = client
        self._to = to
        self._sections: list[Section] = []

    async def tell(self, photographs: Sequence[HeldOut], sheet: Path) -> None:
        """Shows all parts, and writes the contact sheet.

        Raises:
            FashionError: the server refused, or does not answer.
            OSError: the sheet cannot be written.
        """
        await self._product()
        if photographs:
            await self._follow(photographs[0])
            await self._photograph(await self._choose(photographs))
        else:
            self._to.print("\nThe data set is too small to hold out a photograph, which the other parts need.")
        write_contact_sheet(sheet, "Similar products", self._sections)

    async def _product(self) -> None:
        product = await self._example()
        picture = (await answers.photographs(self._client, {product.id: 0}))[product.id]
        caption = [line for line in (product.id, product.name, product.derived_type, product.base_colour) if line]
        title = f"Similar to product {answers.describe_product(product)}"
        self._heading("1", title)
        request = search_pb2.FindSimilarRequest(product_id=product.id, top_k=TOP_K)
        plain = await self._client.find_similar(request)
        answers.print_answer(self._to, plain)
        await self._add_section(plain, f"1. {title}", picture, caption)
        self._to.print(f"\nThe same with the filter baseColour {FILTER_COLOUR}:", style="bold")
        request.filter.base_colour.any_of.append(FILTER_COLOUR)
        try:
            blue = await self._client.find_similar(request)
        except InvalidInput as error:
            if error.reason != "FILTER_VALUE_UNKNOWN":
                raise
            self._to.print(f"No product of this catalogue is {FILTER_COLOUR}: {error.message}", markup=False)
            return
        answers.print_answer(self._to, blue)
        await self._add_section(blue, f"1. The same with the filter baseColour {FILTER_COLOUR}", picture, caption)

    async def _example(self) -> types_pb2.Product:
        """Returns a product of the largest derived type, of another colour than the filter's."""
        index = await self._client.get_index()
        largest = max(index.derived_types, key=lambda each: (each.product_count, each.label))
        gender, article_type = parse_derived_type(largest.label)
        only = search_pb2.Filter()
        if gender is not None:
            only.gender.any_of.append(gender_to_proto(gender))
        only.article_type.any_of.append(article_type)
        page = await self._client.list_products(only, page_size=50)
        return next(
            (product for product in page.products if FILTER_COLOUR not in product.base_colour), page.products[0]
        )

    async def _follow(self, photograph: HeldOut) -> None:
        """Waits until the classifier uses the candidates of the new catalogue."""
        version = (await self._client.get_index()).candidates_version
        deadline = time.monotonic() + FOLLOW_TIMEOUT_S
        while version and time.monotonic() < deadline:
            answer = await self._client.find_similar(_by_photograph(photograph, user_id=""))
            if answer.classification.candidates_version == version:
                return
            await asyncio.sleep(_FOLLOW_POLL_S)

    async def _choose(self, photographs: Sequence[HeldOut]) -> Dislike:
        """Returns the first photograph for which the dislike changes some results, but at most half of them."""
        await self._client.forget_user(SHOPPER)
        await self._client.add_disliked_colours(SHOPPER, [DISLIKED])
        first: Dislike | None = None
        some: Dislike | None = None
        for photograph in photographs:
            dislike = Dislike(
                photograph,
                await self._client.find_similar(_by_photograph(photograph, user_id="")),
                await self._client.find_similar(_by_photograph(photograph, user_id=SHOPPER)),
            )
            first = first or dislike
            if dislike.left:
                some = some or dislike
                if len(dislike.left) <= TOP_K // 2:
                    return dislike
        chosen = some or first
        assert chosen is not None, "there is at least one photograph"
        return chosen

    async def _photograph(self, dislike: Dislike) -> None:
        photograph = dislike.photograph
        truth = f"really {photograph.derived_type} ({photograph.sub_category})"
        if photograph.colour:
            truth += f", {photograph.colour}"
        self._heading("2", f"Similar to a photograph that is not in the catalogue: {photograph.name}")
        self._to.print(Text(f"It is {truth}."))
        marks: dict[str, Mark] = dict.fromkeys(dislike.left, "leaves")
        answers.print_answer(self._to, dislike.without)
        caption = [photograph.name, truth]
        await self._add_section(
            dislike.without,
            "2. Similar to a photograph that is not in the catalogue",
            photograph.content,
            caption,
            marks,
        )
        self._heading("3", f"The same for a shopper who dislikes {DISLIKED.lower()}")
        if dislike.left:
            self._to.print(Text("Left the list: " + self._names(dislike.without, dislike.left), style="yellow"))
            if dislike.came:
                self._to.print(Text("Came in:       " + self._names(dislike.with_dislike, dislike.came), style="green"))
        else:
            self._to.print(f"None of these photographs has a {DISLIKED.lower()} product in its list: nothing changes.")
        new: dict[str, Mark] = dict.fromkeys(dislike.came, "new")
        answers.print_answer(self._to, dislike.with_dislike, marks=new, classification=False)
        await self._add_section(
            dislike.with_dislike,
            f"3. The same for a shopper who dislikes {DISLIKED.lower()}",
            photograph.content,
            caption,
            new,
        )

    async def _add_section(
        self,
        response: search_pb2.FindSimilarResponse,
        heading: str,
        picture: bytes | None,
        caption: Sequence[str],
        marks: dict[str, Mark] | None = None,
    ) -> None:
        section = await answers.contact_section(
            self._client,
            response,
            heading=heading,
            note=answers.describe_applied(response),
            query_picture=picture,
            query_caption=caption,
            marks=marks,
        )
        self._sections.append(section)

    def _heading(self, number: str, text: str) -> None:
        self._to.print()
        self._to.print(Rule(Text(f"{number}. {text}", style="bold"), align="left", characters="─"))

    def _names(self, response: search_pb2.FindSimilarResponse, ids: Sequence[str]) -> str:
        products = {each.product.id: each.product for each in response.products}
        return ", ".join(f"{products[each].name or each} ({products[each].base_colour})" for each in ids)


def _by_photograph(photograph: HeldOut, *, user_id: str) -> search_pb2.FindSimilarRequest:
    return search_pb2.FindSimilarRequest(
        image=types_pb2.Image(content=photograph.content), top_k=TOP_K, user_id=user_id
    )
