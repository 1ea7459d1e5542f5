"""Conversion of what the catalogue counts: facets and facts."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from fashion.v1 import search_pb2
from services.search.candidates.doubt import SHARES, Doubt
from services.search.catalogue.products import Price
from services.search.filters.facets import Facets, OwnFacet, PriceFacet
from services.search.service import CatalogueFacts


def facets_to_proto(facets: Facets) -> search_pb2.ListFacetsResponse:
    """Packs facets."""
    return search_pb2.ListFacetsResponse(
        facets=[
            search_pb2.Facet(
                attribute=f"ATTRIBUTE_{attribute.upper()}",
                values=[
                    search_pb2.FacetValue(value=each.value, product_count=each.count, colour_family=each.colour_family)
                    for each in values
                ],
            )
            for attribute, values in facets.values.items()
        ],
        total_size=facets.total_count,
        price=None if facets.price is None else _price_facet_to_proto(facets.price),
        attributes=[_own_facet_to_proto(facet) for facet in facets.own],
    )


def currencies_to_proto(counts: Mapping[str, int]) -> list[search_pb2.CurrencyCount]:
    """Packs how many products have their price in each currency."""
    return [search_pb2.CurrencyCount(currency_code=code, product_count=count) for code, count in counts.items()]


def _price_facet_to_proto(facet: PriceFacet) -> search_pb2.PriceFacet:
    return search_pb2.PriceFacet(
        currency_code=facet.currency_code,
        min=_amount_to_proto(facet.min),
        max=_amount_to_proto(facet.max),
        product_count=facet.count,
        ranges=[
            search_pb2.PriceFacetRange(
                min=_amount_to_proto(each.min), max=_amount_to_proto(each.max), product_count=each.count
            )
            for each in facet.ranges
        ],
        other_currencies=currencies_to_proto(facet.other_currencies),
    )


def _amount_to_proto(price: Price | None) -> search_pb2.Amount | None:
    return None if price is None else search_pb2.Amount(units=price.units, nanos=price.nanos)


def _own_facet_to_proto(facet: OwnFacet) -> search_pb2.AttributeFacet:
    number, flag = facet.number, facet.flag
    return search_pb2.AttributeFacet(
        name=facet.name,
        product_count=facet.count,
        labels=[search_pb2.FacetValue(value=each.value, product_count=each.count) for each in facet.labels],
        label_count=facet.label_count,
        number=None
        if number is None
        else search_pb2.NumberFacet(
            min=number.min,
            max=number.max,
            product_count=number.count,
            ranges=[
                search_pb2.NumberFacetRange(min=each.min, max=each.max, product_count=each.count)
                for each in number.ranges
            ],
        ),
        flag=None if flag is None else search_pb2.FlagFacet(yes_count=flag.yes_count, no_count=flag.no_count),
    )


def catalogue_facts_to_proto(facts: CatalogueFacts) -> search_pb2.GetIndexResponse:
    """Packs facts about the index."""
    update_time = None
    if facts.update_time is not None:
        update_time = Timestamp()
        update_time.FromDatetime(facts.update_time)
    return search_pb2.GetIndexResponse(
        product_count=facts.index.product_count,
        available_count=facts.index.available_count,
        model_version=facts.model_version,
        index_version=facts.index.index_version,
        update_time=update_time,
        candidates_version=facts.candidates_version,
        derived_types=[
            search_pb2.DerivedTypeCount(label=label, product_count=count)
            for label, count in facts.index.derived_types.items()
        ],
        outdated_count=facts.index.outdated_count,
        approximate=facts.index.approximate,
        unsure_below=None if facts.doubt is None else facts.doubt.unsure_below,
        nearest_similarity=None if facts.doubt is None else _distribution(facts.doubt),
    )


def _distribution(doubt: Doubt) -> search_pb2.SimilarityDistribution:
    return search_pb2.SimilarityDistribution(
        quantiles=[
            search_pb2.SimilarityQuantile(share=share, similarity=similarity)
            for share, similarity in zip(SHARES, doubt.similarities, strict=True)
        ],
        product_count=doubt.sample_count,
    )
