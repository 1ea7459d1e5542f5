"""The table of statuses, and their details."""

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.contract import errors
from services.contract.errors import INTERNAL_MESSAGE, INTERNAL_REASON, FashionError, InvalidInput, Overloaded, Upstream
from services.serving import conversion
from services.serving.status import (
    CODES,
    DETAILS_KEY,
    RETRY_DELAY_S,
    category_of,
    code_number,
    code_of,
    error_from,
    error_info,
    retry_delay_s,
    status_of,
)

# As DESIGN has it; spelt out, so that a change of the table is noticed.
DOCUMENTED = {
    "InvalidInput": grpc.StatusCode.INVALID_ARGUMENT,
    "Unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "Forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "QuotaExceeded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NotFound": grpc.StatusCode.NOT_FOUND,
    "AlreadyExists": grpc.StatusCode.ALREADY_EXISTS,
    "FailedPrecondition": grpc.StatusCode.FAILED_PRECONDITION,
    "ModelMismatch": grpc.StatusCode.FAILED_PRECONDITION,
    "Overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "DeadlineExceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "DataLoss": grpc.StatusCode.DATA_LOSS,
    "Unavailable": grpc.StatusCode.UNAVAILABLE,
    "NotReady": grpc.StatusCode.UNAVAILABLE,
    "Upstream": grpc.StatusCode.UNAVAILABLE,
    "Unsupported": grpc.StatusCode.UNIMPLEMENTED,
}

# What becomes of a category on its way, where it is another one then.
RECEIVED = {
    errors.NotReady: Upstream,
    errors.Unavailable: Upstream,
    errors.QuotaExceeded: errors.Overloaded,
    errors.FailedPrecondition: errors.ModelMismatch,
}


def categories() -> list[type[FashionError]]:
    return [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, FashionError) and each is not FashionError
    ]


def test_every_category_has_its_documented_code() -> None:
    assert {category.__name__: CODES[category] for category in categories()} == DOCUMENTED


@pytest.mark.parametrize("category", categories(), ids=lambda category: category.__name__)
def test_a_subclass_of_a_category_keeps_its_code(category: type[FashionError]) -> None:
    narrower = type("Narrower", (category,), {})

    assert code_of(narrower("no", reason="NO")) is CODES[category]


@pytest.mark.parametrize("category", categories(), ids=lambda category: category.__name__)
def test_status_carries_error_info_that_any_client_can_read(category: type[FashionError]) -> None:
    status = status_of(category("The colour 'bleu' is unknown.", reason="COLOUR_UNKNOWN", metadata={"field": "colour"}))

    (key, content), *pushback = status.trailing_metadata
    # A service that blames another one has made its calls again already.
    assert pushback == ([("grpc-retry-pushback-ms", "-1")] if issubclass(category, Upstream) else [])
    parsed = status_pb2.Status.FromString(content)
    info = error_details_pb2.ErrorInfo()
    assert key == "grpc-status-details-bin"
    assert (parsed.code, parsed.message) == (code_number(CODES[category]), "The colour 'bleu' is unknown.")
    assert parsed.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "COLOUR_UNKNOWN",
        "fashion-recommender",
        {"field": "colour"},
    )


def test_code_numbers_are_those_of_google_rpc() -> None:
    assert {code.name: code_number(code) for code in grpc.StatusCode} == dict(code_pb2.Code.items())


def test_overload_says_when_to_try_again() -> None:
    status = status_pb2.Status.FromString(status_of(Overloaded("full", reason="QUEUE_FULL")).trailing_metadata[0][1])

    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == RETRY_DELAY_S * 1000


def test_a_caller_can_read_when_to_try_again() -> None:
    assert retry_delay_s(status_of(Overloaded("full", reason="QUEUE_FULL")).trailing_metadata) == RETRY_DELAY_S
    assert retry_delay_s(status_of(InvalidInput("no", reason="NO")).trailing_metadata) is None
    assert retry_delay_s(()) is None


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"", "text"])
def test_no_time_is_read_from_details_of_others(content: bytes | str) -> None:
    assert retry_delay_s([("x", "y"), (DETAILS_KEY, content)]) is None


@pytest.mark.parametrize(
    "error",
    [ValueError("password=hunter2"), KeyError("x"), MemoryError(), FashionError("a bug", reason="INTERNAL")],
    ids=repr,
)
def test_whatever_is_no_category_tells_nothing(error: Exception) -> None:
    status = status_of(error)

    assert (status.code, status.message) == (grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)
    info = error_info(status.trailing_metadata)
    assert info is not None
    assert (info.reason, dict(info.metadata)) == (INTERNAL_REASON, {})
    assert b"hunter2" not in status.trailing_metadata[0][1]


def test_headers_stay_below_the_limit_of_grpc_whatever_the_caller_sent() -> None:
    metadata = {f"{'k' * 300}{index}": "\U0001f457" * 5000 for index in range(40)}

    status = status_of(InvalidInput("\U0001f457" * 100_000, reason="LABEL_INVALID", metadata=metadata))

    percent_encoded = 3 * len(status.message.encode())
    base64 = len(status.trailing_metadata[0][1]) * 4 / 3
    assert percent_encoded + base64 < 8 * 1024
    assert status.message.startswith("\U0001f457")


@pytest.mark.parametrize("category", categories(), ids=lambda category: category.__name__)
def test_categories_survive_the_way_to_a_client(category: type[FashionError]) -> None:
    sent = category("A sentence.", reason="SOME_REASON", metadata={"field": "x"})
    # A caller does not know which domain the operator has chosen.
    status = status_of(sent, "recommender.shop.example")

    received = error_from(status.code, status.message, status.trailing_metadata)

    assert received is not None
    assert type(received) is RECEIVED.get(category, category)
    assert (received.message, received.reason, received.metadata) == ("A sentence.", "SOME_REASON", {"field": "x"})


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK]
)
def test_codes_that_no_category_has_are_no_category(code: grpc.StatusCode) -> None:
    assert error_from(code, "?", ()) is None
    assert category_of(code_number(code)) is None


@pytest.mark.parametrize("side", ["CLIENT: Sent", "SERVER: Received"])
def test_a_message_that_grpc_itself_refused_is_the_callers_mistake(side: str) -> None:
    error = error_from(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{side} message larger than max (40 vs. 32)", ())

    assert isinstance(error, InvalidInput)
    assert error.reason == "MESSAGE_TOO_LARGE"
    assert "40 vs. 32" in error.message


def test_calls_that_grpc_itself_refused_are_an_overload() -> None:
    error = error_from(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", ())

    assert isinstance(error, Overloaded)
    assert error.reason == "QUEUE_FULL"


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"", "text"])
def test_details_of_others_are_passed_over(content: bytes | str) -> None:
    error = error_from(grpc.StatusCode.NOT_FOUND, "gone", [("x", "y"), (DETAILS_KEY, content)])

    assert isinstance(error, errors.NotFound)
    assert error.reason == "NOT_FOUND"


@pytest.mark.parametrize("category", categories(), ids=lambda category: category.__name__)
def test_a_row_says_the_same_as_a_call_would(category: type[FashionError]) -> None:
    error = category("The image is empty.", reason="IMAGE_EMPTY")

    row = conversion.row_error_to_proto(error)

    assert (row.code, row.reason, row.message) == (
        code_number(CODES[category]),
        "IMAGE_EMPTY",
        "The image is empty.",
    )
    back = conversion.row_error_from_proto(row)
    assert type(back) is RECEIVED.get(category, category)
    with_more = conversion.row_error_from_proto(row, {"photograph_index": "2"})
    assert with_more is not None and with_more.metadata == {"photograph_index": "2"}


def test_a_row_with_an_unexpected_error_tells_nothing() -> None:
    row = conversion.row_error_to_proto(RuntimeError("hunter2"))

    assert (row.code, row.reason, row.message) == (code_pb2.INTERNAL, "INTERNAL", INTERNAL_MESSAGE)
    back = conversion.row_error_from_proto(row)
    assert type(back) is FashionError
    assert conversion.row_error_to_proto(back) == row


def test_a_quota_comes_back_with_the_time_until_the_next_call() -> None:
    quota = errors.QuotaExceeded("The key has used up its 2 rows a second.", reason="QUOTA_EXCEEDED", retry_after_s=3.5)
    status = status_of(quota)
    back = error_from(status.code, status.message, status.trailing_metadata)
    assert isinstance(back, errors.QuotaExceeded)
    assert (back.message, back.reason, back.retry_after_s) == (quota.message, quota.reason, 3.5)


def test_a_row_without_an_error_is_ok() -> None:
    assert conversion.row_error_to_proto(None).code == code_pb2.OK
    assert conversion.row_error_from_proto(conversion.row_error_to_proto(None)) is None
