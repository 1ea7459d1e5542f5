"""Conversion of products, and of the rows that write them."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import ATTRIBUTES, OWN_PREFIX, STORED, Kind, is_attribute_name
from services.contract.errors import FashionError, InvalidInput
from services.contract.values import Embedding, Gender, Photograph
from services.search.catalogue.content import UpsertOutcome
from services.search.catalogue.products import Price, Product, validate_product, validate_product_id, validate_values
from services.search.writes.rows import DeleteReport, PhotographReport, UpdateRow, UpsertReport, UpsertRow
from services.serving import conversion

# The fields that have the same name and value in a product and in its message.
_PLAIN_FIELDS: Final = (
    "id",
    "photograph_absent",
    "photograph_count",
    *(each.name for each in ATTRIBUTES if each.kind not in {Kind.GENDER, Kind.PRICE, Kind.OWN}),
)
_STORED_NAMES: Final = frozenset(attribute.name for attribute in STORED)
_plain_values: Final = attrgetter(*_PLAIN_FIELDS)
_OUTCOMES_TO_PROTO: Final = MappingProxyType(
    {
        UpsertOutcome.CREATED: search_pb2.UPSERT_OUTCOME_CREATED,
        UpsertOutcome.UPDATED: search_pb2.UPSERT_OUTCOME_UPDATED,
        UpsertOutcome.UNCHANGED: search_pb2.UPSERT_OUTCOME_UNCHANGED,
    }
)


def replaced_fields_from_proto(message: search_pb2.UpsertProductsRequest) -> frozenset[str] | None:
    """Unpacks which fields of known products are replaced, such as "name" or "attributes.material"; None for all.

    Raises:
        InvalidInput: UPDATE_MASK_INVALID: a path is no field of `Product` that can be written.
    """
    return _fields_from_mask(message.update_mask) if message.HasField("update_mask") else None


def _fields_from_mask(mask: FieldMask) -> frozenset[str]:
    fields = frozenset(mask.paths)
    for path in fields - _STORED_NAMES:
        if not (path.startswith(OWN_PREFIX) and is_attribute_name(path.removeprefix(OWN_PREFIX))):
            field = path.partition(".")[0]
            hint = f": name {field}, which is replaced as a whole" if field in _STORED_NAMES - {path} else ""
            raise InvalidInput(
                f'update_mask names "{path}", which is no field of Product that can be replaced{hint}.',
                reason="UPDATE_MASK_INVALID",
                metadata={"field": "update_mask", "path": path},
            )
    return fields


def _gender_of_product(value: types_pb2.Gender) -> Gender:
    gender = conversion.gender_from_proto(value)
    if gender is None:
        # Of a later contract: it must not become unknown.
        raise InvalidInput(
            f"The gender {value} is no value of Gender: send one, or none where it is unknown.",
            reason="GENDER_INVALID",
            metadata={"field": "gender"},
        )
    return gender


def update_rows_from_proto(message: search_pb2.UpdateProductsRequest) -> list[UpdateRow]:
    """Unpacks rows of changed fields. The error of an invalid row takes its place.

    Raises:
        InvalidInput: UPDATE_MASK_INVALID, in the mask for all rows.
    """
    for_all = _fields_from_mask(message.update_mask) if message.HasField("update_mask") else None
    return [_update_row(row, for_all) for row in message.updates]


def _update_row(message: search_pb2.ProductUpdate, for_all: frozenset[str] | None) -> UpdateRow:
    product = message.product
    try:
        fields = _fields_from_mask(message.update_mask) if message.HasField("update_mask") else for_all
        sent = _fields_from_product(product, fields)
        own = sent.get("attributes", {})
        values = (
            sent
            if fields is None
            else {
                name: own.get(name.removeprefix(OWN_PREFIX)) if name.startswith(OWN_PREFIX) else sent.get(name)
                for name in fields
            }
        )
        validate_product_id(product.id)
        return UpdateRow(product.id, validate_values(values))
    except InvalidInput as error:
        return UpdateRow(product.id, error)


def upsert_row_from_proto(message: search_pb2.ProductRow) -> UpsertRow:
    """Unpacks a row to be written. The error of an invalid product or photograph takes the product's place."""
    try:
        further: tuple[Photograph | Embedding, ...] = (
            *map(conversion.photograph_from_proto, message.further_images),
            *map(conversion.embedding_from_proto, message.further_embeddings),
        )
        content, product = content_from_proto(message), product_from_proto(message.product)
    except InvalidInput as error:
        return UpsertRow(message.product.id, error, None)
    return UpsertRow(message.product.id, product, content, further, message.keep_further_photographs)


def content_from_proto(
    message: search_pb2.ProductRow | search_pb2.AddPhotographRequest,
) -> Photograph | Embedding | None:
    """Unpacks a photograph, or the embedding that was sent instead; None where there is neither."""
    match message.WhichOneof("content"):
        case "image":
            return conversion.photograph_from_proto(message.image)
        case "embedding":
            return conversion.embedding_from_proto(message.embedding)
        case _:
            return None


def product_from_proto(message: types_pb2.Product) -> Product:
    """Unpacks a product, without its output-only fields.

    Raises:
        InvalidInput: see `validate_product`.
    """
    return validate_product(id=message.id, **_fields_from_product(message))


def _fields_from_product(message: types_pb2.Product, only: Collection[str] | None = None) -> dict[str, Any]:
    """Returns the values that a message has of fields that can be written, by name; of labels and numbers only some."""
    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        if only is not None and field.name not in only and field.name != "attributes":
            continue
        match field.name:
            case "gender":
                value = _gender_of_product(value)
            case "price":
                value = Price(value.currency_code, value.units, value.nanos)
            case "attributes":
                value = conversion.own_attributes_from_proto(value)
            case "id" | "derived_type" | "photograph_absent" | "photograph_count":
                continue
        fields[field.name] = value
    return fields


def product_to_proto(product: Product) -> types_pb2.Product:
    """Packs a product. Unknown attributes are absent."""
    return types_pb2.Product(**product_fields(product))


def product_fields(product: Product) -> dict[str, Any]:
    """Returns the fields of a product's message, for one that holds it."""
    fields: dict[str, Any] = dict(zip(_PLAIN_FIELDS, _plain_values(product), strict=True))
    fields["gender"] = conversion.gender_to_proto(product.gender)
    if product.price is not None:
        fields["price"] = dataclasses.asdict(product.price)
    if product.attributes:
        fields["attributes"] = conversion.own_attributes_to_proto(product.attributes)
    return fields


def upsert_report_to_proto(rows: Sequence[UpsertRow], report: UpsertReport) -> search_pb2.UpsertProductsResponse:
    """Packs the results of an upsert, one per row."""
    results = _results(rows, report)
    for fields, row, result in zip(results, rows, report.results, strict=True):
        if isinstance(result, FashionError) and row.further and (index := result.metadata.get("photograph_index")):
            fields["photograph_index"] = int(index)
    return search_pb2.UpsertProductsResponse(results=results, index_version=report.index_version)


def photograph_added_to_proto(report: PhotographReport) -> search_pb2.AddPhotographResponse:
    """Packs the result of adding a photograph."""
    outcome = UpsertOutcome.UPDATED if report.changed else UpsertOutcome.UNCHANGED
    return search_pb2.AddPhotographResponse(
        product=product_fields(report.product),
        index=report.index,
        outcome=_OUTCOMES_TO_PROTO[outcome],
        index_version=report.index_version,
    )


def photograph_named_in(message: search_pb2.RemovePhotographRequest) -> int | str:
    """Unpacks which photograph is to be removed: its place, or the SHA-256 of its file.

    Raises:
        InvalidInput: PHOTOGRAPH_MISSING: none is named.
    """
    match message.WhichOneof("photograph"):
        case "index":
            return message.index
        case "sha256":
            return message.sha256
        case _:
            raise InvalidInput(
                "The request names no photograph: send its index or its sha256.",
                reason="PHOTOGRAPH_MISSING",
                metadata={"field": "photograph"},
            )


def photograph_removed_to_proto(report: PhotographReport) -> search_pb2.RemovePhotographResponse:
    """Packs the result of removing a photograph."""
    return search_pb2.RemovePhotographResponse(
        product=product_fields(report.product), index_version=report.index_version
    )


def update_report_to_proto(rows: Sequence[UpdateRow], report: UpsertReport) -> search_pb2.UpdateProductsResponse:
    """Packs the results of an update, one per row."""
    return search_pb2.UpdateProductsResponse(results=_results(rows, report), index_version=report.index_version)


def _results(rows: Iterable[UpsertRow | UpdateRow], report: UpsertReport) -> list[dict[str, Any]]:
    return [
        {"product_id": row.product_id, "status": conversion.row_error_to_proto(result)}
        if isinstance(result, FashionError)
        else {"product_id": row.product_id, "status": {}, "outcome": _OUTCOMES_TO_PROTO[result]}
        for row, result in zip(rows, report.results, strict=True)
    ]


def delete_report_to_proto(product_ids: Sequence[str], report: DeleteReport) -> search_pb2.DeleteProductsResponse:
    """Packs the results of a deletion, one per id."""
    return search_pb2.DeleteProductsResponse(
        results=[
            search_pb2.DeleteResult(product_id=product_id, status=conversion.row_error_to_proto(error))
            for product_id, error in zip(product_ids, report.results, strict=True)
        ],
        index_version=report.index_version,
    )
