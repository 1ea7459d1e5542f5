"""Facets as JSON."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fashion.v1 import search_pb2
from services.contract.attributes import BY_NAME, FACETED, OWN_PREFIX, Attribute, Kind, attribute_label
from services.gateway.schema import answers
from services.gateway.swatches import swatch_of
from services.serving.filter_texts import (
    amount_text,
    label_text,
    number_range_text,
    number_text,
    price_text,
)

_FACETED: Final[Mapping[int, Attribute]] = {
    search_pb2.Attribute.Value(f"ATTRIBUTE_{each.name.upper()}"): each for each in FACETED
}
_PRICE: Final = BY_NAME["price"]


def facets_from_proto(message: search_pb2.ListFacetsResponse) -> answers.Facets:
    """Unpacks facets, and adds headings, kinds and the paint of colours."""
    facets = [
        answers.Facet(
            attribute=attribute.name,
            label=attribute.label,
            kind=attribute.kind,
            filtered=attribute.filtered,
            parameter=attribute.name if attribute.filtered and attribute.kind is not Kind.YEAR else None,
            values=[
                answers.FacetValue(
                    value=each.value,
                    count=each.product_count,
                    condition=each.value,
                    family=each.colour_family or None,
                    swatch=swatch_of(each.value, each.colour_family) if each.colour_family else None,
                )
                for each in facet.values
            ],
            value_count=len(facet.values),
        )
        for facet in message.facets
        if (attribute := _FACETED.get(facet.attribute))
    ]
    if message.HasField("price"):
        facets.append(_price_facet(message.price))
    facets += (each for facet in message.attributes for each in _own_facets(facet))
    return answers.Facets(facets=facets, total_count=message.total_size)


def currencies_from_proto(counts: Iterable[search_pb2.CurrencyCount]) -> list[answers.CurrencyCount]:
    """Unpacks how many products have their price in which currency."""
    return [answers.CurrencyCount(currency=each.currency_code, count=each.product_count) for each in counts]


def _price_facet(facet: search_pb2.PriceFacet) -> answers.Facet:
    ranges = []
    for each in facet.ranges:
        condition = price_text(each, facet.currency_code)
        value = condition.removesuffix(f" {facet.currency_code}")
        ranges.append(answers.FacetValue(value=value, count=each.product_count, condition=condition))
    return answers.Facet(
        attribute=_PRICE.name,
        label=_PRICE.label,
        kind=_PRICE.kind,
        filtered=True,
        parameter=_PRICE.name,
        values=ranges,
        value_count=len(ranges),
        min=amount_text(facet.min) if facet.HasField("min") else None,
        max=amount_text(facet.max) if facet.HasField("max") else None,
        currency=facet.currency_code,
        other_currencies=currencies_from_proto(facet.other_currencies),
    )


def _own_facets(facet: search_pb2.AttributeFacet) -> Iterator[answers.Facet]:
    """Yields a facet per kind of value that products have under a name."""

    def described(
        kind: Kind,
        values: Iterable[tuple[str, str, int]],
        value_count: int,
        low: str | None = None,
        high: str | None = None,
    ) -> answers.Facet:
        return answers.Facet(
            attribute=f"{OWN_PREFIX}{facet.name}",
            label=attribute_label(facet.name),
            kind=kind,
            filtered=True,
            parameter="attribute",
            values=[
                answers.FacetValue(value=value, count=count, condition=f"{facet.name}:{text}")
                for value, text, count in values
            ],
            value_count=value_count,
            min=low,
            max=high,
        )

    if facet.labels:
        labels = [(each.value, label_text(each.value), each.product_count) for each in facet.labels]
        yield described(Kind.LABEL, labels, facet.label_count)
    if facet.HasField("number"):
        ranges = [(text := number_range_text(each), text, each.product_count) for each in facet.number.ranges]
        low, high = number_text(facet.number.min), number_text(facet.number.max)
        yield described(Kind.NUMBER, ranges, len(ranges), low, high)
    if facet.HasField("flag"):
        counts = (("true", facet.flag.yes_count), ("false", facet.flag.no_count))
        flags = [(text, text, count) for text, count in counts if count]
        yield described(Kind.FLAG, flags, len(flags))
