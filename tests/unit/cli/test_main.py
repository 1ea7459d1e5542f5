"""The command line without a server: help, usage, exit codes, and what options become."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import MarkupError

from cli import answers, filters, main, output
from cli.commands.search import parse_region
from cli.labels import filter_labels, in_any_case
from cli.main import ENTRIES
from fashion.v1 import search_pb2, types_pb2
from services.contract.attributes import FILTERED, Kind
from services.contract.errors import (
    DeadlineExceeded,
    FashionError,
    InvalidInput,
    ModelMismatch,
    NotFound,
    NotReady,
    Overloaded,
    Upstream,
)
from services.contract.values import Box, Gender
from tests.support.processes import imported

# What no command that merely asks a server needs.
HEAVY = {"numpy", "PIL", "structlog", "pandas", "sklearn", "tensorflow", "faiss", "openvino", "fastapi", "redis"}
COMMANDS = ("demo", "serve", "stop", "ingest", "search", "catalogue", "users")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FASHION_DEBUG", raising=False)
    # Nothing listens there: a command that reaches for a server shows it.
    monkeypatch.setenv("FASHION_SERVER", "127.0.0.1:9")


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_help_lists_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    for entry in ENTRIES:
        assert entry.name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "unneeded"),
    [
        (["--help"], 0, HEAVY | {"asyncio", "grpc", "google", "cli.commands.search"}),
        (["--version"], 0, HEAVY | {"asyncio", "grpc", "google"}),
        (["search", "--help"], 0, HEAVY | {"asyncio", "grpc", "google"}),
        (["search", "1"], 4, HEAVY),
        (["users", "list", "anna"], 4, HEAVY),
        (["shoppers", "export", "anna"], 4, HEAVY),
        (["catalogue", "list", "--colour", "Blue"], 4, HEAVY),
        (["stop", "--data-dir", "/nowhere"], 0, HEAVY | {"grpc", "google"}),
        (["train", "/nowhere"], 2, HEAVY | {"asyncio", "grpc", "google"}),
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(
    arguments: list[str], code: int, unneeded: set[str]
) -> None:
    assert imported(arguments, code) & unneeded == set()


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run([sys.executable, "-m", "cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fashion {metadata.version('fashion-recommender')}\n"


def test_a_data_set_that_is_not_there_is_told_before_training_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", "/nowhere.zip"], ["train", ".", "--extra", "/nowhere.zip"]):
        assert main.run(arguments) == output.EXIT_BAD_INPUT
        assert "There is no file or folder /nowhere.zip. (DATASET_NOT_FOUND)" in said(capsys)[1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_replaced_in_text_and_escaped_in_json(encoding: str) -> None:
    script = (
        "import sys; from cli import main, output; "
        "main.app = lambda **_: (output.print_json({'name': 'Té 着物 \\udcff'}), output.console().print('Té 着物 …')); "
        "main.main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    *document, text = done.stdout.splitlines()
    # JSON is read as UTF-8 by whoever reads it.
    assert json.loads(b"".join(document).decode("utf-8")) == {"name": "Té 着物 \udcff"}
    assert text == "Té 着物 …".encode(encoding, errors="replace")


def test_an_american_spelling_is_the_same_option(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--color", "--color-family", "--not-color", "--not-color-family"):
        assert main.run(["search", "1", option, "Blue"]) == output.EXIT_UNAVAILABLE, said(capsys)[1]
    assert main.run(["search", "1", "--color=Blue"]) == output.EXIT_UNAVAILABLE
    said(capsys)
    assert main.run(["search", "1", "--colors", "Blue"]) == output.EXIT_BAD_INPUT


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("10014", "SEARCH_UNAVAILABLE"),
        ("a.b", "SEARCH_UNAVAILABLE"),
        (__file__, "SEARCH_UNAVAILABLE"),
        ("photo.JPG", "Cannot read photo.JPG: No such file"),
        ("photo.heic", "Cannot read photo.heic: No such file"),
        ("./10014", "Cannot read 10014: No such file"),
        (".", "SEARCH_UNAVAILABLE"),
        ("/", "Cannot read /: Is a directory"),
    ],
)
def test_a_query_is_a_photograph_where_it_names_a_file(
    query: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["search", query]) != output.EXIT_OK
    assert what in said(capsys)[1]


class Strict:
    """Knows labels in one spelling only, and names the nearest one, as the server does."""

    known = ("Blue", "Navy Blue", "Tshirts")

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, values: Sequence[str]) -> list[str]:
        self.calls += 1
        for value in values:
            if value not in self.known:
                near = sorted(self.known, key=lambda known: known.casefold() != value.casefold())
                metadata = {"value": value[:64], "nearest": ", ".join(near)}
                raise InvalidInput(f"no {value}", reason="FILTER_VALUE_UNKNOWN", metadata=metadata)
        return list(values)


async def test_a_label_counts_in_any_letter_case() -> None:
    strict, labels = Strict(), [["blue", "NAVY blue"], ["tshirts"]]
    assert await in_any_case(lambda: strict([*labels[0], *labels[1]]), labels) == ["Blue", "Navy Blue", "Tshirts"]
    assert strict.calls == 4


@pytest.mark.parametrize("label", ["blu", "blues", "navyblue", ""])
async def test_another_spelling_is_still_refused(label: str) -> None:
    strict, labels = Strict(), [[label]]
    with pytest.raises(InvalidInput, match=f"no {label}"):
        await in_any_case(lambda: strict(labels[0]), labels)
    assert strict.calls == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == output.EXIT_OK
    text, _ = said(capsys)
    assert "Example" in text
    assert f"fashion {command}" in text


@pytest.mark.parametrize(
    ("group", "command"),
    [
        *(("users", command) for command in ("dislike", "undislike", "list", "forget")),
        ("shoppers", "erase"),
        *(("catalogue", command) for command in ("stats", "list", "get", "map", "delete")),
    ],
)
def test_so_has_every_command_of_a_group(group: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([group, command, "--help"]) == output.EXIT_OK
    text, _ = said(capsys)
    assert f"fashion {group} {command}" in text
    assert "--json" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["search", "--nonsense"],
        ["search"],
        ["search", "--product-id", "1", "--image", __file__],
        ["search", "--product-id", "1", "--region", "0,0,1,1"],
        ["search", "--image", __file__, "--region", "left"],
        ["search", "--image", "/no/such/file"],
        ["search", "--product-id", "1", "--gender", "Robots"],
        ["search", "--product-id", "1", "--colour", "Blue", "--colour-family", "Red"],
        ["search", "--product-id", "1", "--scope", "inventory", "--derived-type", "Men Tshirts"],
        ["search", "--product-id", "1", "--top-k", "many"],
        ["ingest", "/no/such/data-set"],
        ["ingest"],
        ["demo", "--dataset", "/no/such/data-set"],
        ["users", "dislike", "anna"],
        ["catalogue", "get"],
        ["serve", "--service", "embedder", "--detach"],
        ["serve", "--service", "nonsense"],
        ["serve", "--detach", "--port", "0"],
        ["serve", "--port", "70000"],
    ],
)
def test_bad_usage_and_input_exit_with_2_and_no_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == output.EXIT_BAD_INPUT
    out, err = said(capsys)
    assert out == ""
    assert "Traceback" not in err
    assert "rror" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "--product-id", "1"],
        ["catalogue", "stats"],
        ["catalogue", "delete", "1"],
        ["users", "list", "anna"],
    ],
)
def test_without_a_server_they_say_so_in_one_line_and_exit_with_4(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == output.EXIT_UNAVAILABLE
    out, err = said(capsys)
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "127.0.0.1:9" in err and "fashion serve" in err and "SEARCH_UNAVAILABLE" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput, 2),
        (NotFound, 3),
        (Upstream, 4),
        (NotReady, 4),
        (Overloaded, 4),
        (DeadlineExceeded, 4),
        (ModelMismatch, 1),
        (FashionError, 1),
    ],
)
def test_each_category_has_its_exit_code(error: type[FashionError], code: int) -> None:
    assert output.exit_code(error("text", reason="REASON")) == code


def test_an_unexpected_error_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("one\nover\nnothing")

    monkeypatch.setattr(main, "app", breaks)
    assert main.run([]) == output.EXIT_ERROR
    _, err = said(capsys)
    assert "ZeroDivisionError: one over nothing" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("variable", ["CLIENT_TLS_CA_FILE", "CLIENT_API_KEY_FILE"])
@pytest.mark.parametrize("command", [["search", "--product-id", "x"], ["doctor"]])
def test_a_file_of_the_client_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, command: list[str]
) -> None:
    monkeypatch.setenv(variable, "/nowhere")
    assert main.run(command) == output.EXIT_BAD_INPUT
    told = capsys.readouterr().err
    assert variable in told and "(SETTINGS_INVALID)" in told and "Unexpected" not in told


def test_stopping_where_nothing_runs_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["stop", "--data-dir", str(tmp_path)]) == output.EXIT_OK
    assert "No stack is running" in said(capsys)[0]


def test_a_region_is_read_as_it_is_written() -> None:
    assert parse_region("0.1,0,0.9,.5") == Box(0.1, 0.0, 0.9, 0.5)


@pytest.mark.parametrize("text", ["", "1", "0,0,1", "0,0,1,1,1", "a,b,c,d"])
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="four numbers"):
        parse_region(text)


def test_options_become_the_filter_that_they_say() -> None:
    condition = filters.build_filter(
        gender=[Gender.MEN, Gender.UNISEX],
        article_type=["Tshirts"],
        colour=["Blue"],
        not_colour=["Navy Blue"],
        brand=["Harbour"],
        season=["Summer", "Winter"],
        year_from=2012,
        attribute=["material:Cotton", "heel_mm:..40", "material=Wool", 'fit:"true"', "organic:false"],
        not_attribute=["material:Linen"],
        price="10..49.99 EUR",
    )
    assert condition == search_pb2.Filter(
        gender=search_pb2.GenderFilter(any_of=[types_pb2.GENDER_MEN, types_pb2.GENDER_UNISEX]),
        article_type=search_pb2.LabelFilter(any_of=["Tshirts"]),
        base_colour=search_pb2.ColourFilter(any_of=["Blue"], none_of=["Navy Blue"]),
        brand=search_pb2.LabelFilter(any_of=["Harbour"]),
        season=search_pb2.LabelFilter(any_of=["Summer", "Winter"]),
        year=search_pb2.YearRange(first=2012),
        price=search_pb2.PriceRange(
            currency_code="EUR",
            min=search_pb2.Amount(units=10),
            max=search_pb2.Amount(units=49, nanos=990_000_000),
        ),
        attributes={
            "material": search_pb2.AttributeFilter(
                labels=search_pb2.LabelFilter(any_of=["Cotton", "Wool"], none_of=["Linen"])
            ),
            "heel_mm": search_pb2.AttributeFilter(number=search_pb2.NumberRange(max=40)),
            "fit": search_pb2.AttributeFilter(labels=search_pb2.LabelFilter(any_of=["true"])),
            "organic": search_pb2.AttributeFilter(flag=False),
        },
    )
    assert filters.describe_filter(condition) == (
        "gender Men or Unisex, articleType Tshirts, baseColour Blue, baseColour not Navy Blue, "
        "season Summer or Winter, year 2012 to …, brand Harbour, price 10.00..49.99 EUR, "
        "fit true, heel_mm ..40, material Cotton or Wool, material not Linen, organic no"
    )


def test_the_labels_of_every_condition_are_found() -> None:
    own = {"attribute": ["material:Cotton", "heel_mm:..40", "organic:true"], "not_attribute": ["fit:Slim"]}
    condition = filters.build_filter(
        gender=[Gender.MEN],
        colour=["Blue"],
        year_from=2012,
        price="..20 EUR",
        words="tee",
        **own,
        **{each.name: [each.name] for each in FILTERED if each.kind is Kind.LABEL},
    )
    assert condition is not None
    labels = [label for labels in filter_labels(condition) for label in labels]
    assert sorted(labels) == sorted(["Blue", "Cotton", "Slim", *(n.name for n in FILTERED if n.kind is Kind.LABEL)])


def test_families_are_asked_for_as_families_and_no_option_is_no_filter() -> None:
    condition = filters.build_filter(not_colour_family=["Blue"])
    assert condition == search_pb2.Filter(base_colour=search_pb2.ColourFilter(none_of=["Blue"], by_family=True))
    assert filters.build_filter() is None


def found(product_id: str, name: str, colour: str | None = "Blue") -> search_pb2.SimilarProduct:
    product = types_pb2.Product(
        id=product_id, gender=types_pb2.GENDER_MEN, derived_type="Men Tshirts", name=name, base_colour=colour
    )
    return search_pb2.SimilarProduct(product=product, similarity=0.8765)


def shown(response: search_pb2.FindSimilarResponse, width: int = 100) -> str:
    to = Console(width=width, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    answers.print_answer(to, response)
    return to.export_text()


def test_an_answer_is_readable_at_100_columns_whatever_the_catalogue_holds() -> None:
    response = search_pb2.FindSimilarResponse(
        products=[
            found("1", "[bold]no markup[/bold] [/nonsense]"),
            found("x" * 128, "a very long name " * 20),
            found("3", "Crème", None),
        ],
        applied=search_pb2.AppliedSearch(
            scope=search_pb2.SEARCH_SCOPE_PREDICTED_TYPE,
            derived_types=["Men Tshirts"],
            excluded_colours=["Mustard", "Yellow"],
            eligible_count=12345,
            degraded=[search_pb2.DEGRADED_REASON_PREFERENCES_UNAVAILABLE],
        ),
        classification=types_pb2.Classification(
            sub_categories=[types_pb2.SubCategoryPrediction(label="Topwear", probability=0.934)],
            derived_types=[
                types_pb2.DerivedTypePrediction(label="Men Tshirts", similarity=0.81, margin=0.1),
                types_pb2.DerivedTypePrediction(label="Women Tops", similarity=0.71),
            ],
        ),
    )
    try:
        text = shown(response)
    except MarkupError:
        pytest.fail("a product's name was taken for markup")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "[bold]no markup[/bold]" in text
    assert "0.876" in text or "0.877" in text
    assert "subCategory Topwear (93%)" in text and "derived type Men Tshirts (0.81, then Women Tops 0.71)" in text
    assert "3 of 12,345 eligible products in Men Tshirts" in text
    assert "Mustard, Yellow" in text
    assert "dislikes could not be read" in text


def test_an_empty_answer_says_that_nothing_is_eligible_and_why() -> None:
    counts = search_pb2.ResultCounts(
        requested_count=10, searched_count=1480, filtered_count=1470, disliked_count=9, excluded_count=1
    )
    applied = search_pb2.AppliedSearch(scope=search_pb2.SEARCH_SCOPE_INVENTORY, counts=counts)
    text = " ".join(shown(search_pb2.FindSimilarResponse(applied=applied)).split())
    assert "No product is eligible" in text
    assert "left out of 1,480: 1,470 by the filter, 9 disliked, 1 excluded" in text


def test_a_full_answer_tells_no_counts() -> None:
    counts = search_pb2.ResultCounts(requested_count=1, searched_count=9, filtered_count=5, returned_count=1)
    response = search_pb2.FindSimilarResponse(
        products=[found("1", "a", None)], applied=search_pb2.AppliedSearch(eligible_count=4, counts=counts)
    )
    assert "left out" not in shown(response)


def test_json_has_the_names_of_the_protos_and_integers_as_numbers() -> None:
    response = search_pb2.FindSimilarResponse(
        products=[found("1", "a", None)],
        applied=search_pb2.AppliedSearch(eligible_count=2**40, index_version=7, derived_types=["Men Tshirts"]),
    )
    document = output.message_document(response)
    assert document["applied"]["eligible_count"] == 2**40
    assert document["applied"]["index_version"] == 7
    assert document["applied"]["excluded_colours"] == []
    assert document["products"][0]["similarity"] == 0.8765
    assert document["products"][0]["product"]["derived_type"] == "Men Tshirts"
    # What is unknown is absent.
    assert "base_colour" not in document["products"][0]["product"]
    assert "classification" not in document
    index = search_pb2.GetIndexResponse(
        product_count=3, derived_types=[search_pb2.DerivedTypeCount(label="Men Tshirts", product_count=3)]
    )
    assert output.message_document(index)["derived_types"] == [{"label": "Men Tshirts", "product_count": 3}]
