"""The command line without a server: help, usage, exit codes, and what options become."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import MarkupError

from cli import answers, filters, main, output
from cli.commands.search import parse_region
from cli.main import ENTRIES
from fashion.v1 import search_pb2, types_pb2
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


def test_help_lists_every_command_without_importing_what_they_need() -> None:
    code = (
        "import sys; from cli.main import run; code = run(['--help']); "
        "heavy = {'tensorflow', 'grpc', 'pandas', 'sklearn', 'PIL', 'faiss'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for entry in ENTRIES:
        assert entry.name in done.stdout
    assert done.stderr.strip() == "[]"


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
    )
    assert condition == search_pb2.Filter(
        gender=search_pb2.GenderFilter(any_of=[types_pb2.GENDER_MEN, types_pb2.GENDER_UNISEX]),
        article_type=search_pb2.LabelFilter(any_of=["Tshirts"]),
        base_colour=search_pb2.ColourFilter(any_of=["Blue"], none_of=["Navy Blue"]),
        brand=search_pb2.LabelFilter(any_of=["Harbour"]),
        season=search_pb2.LabelFilter(any_of=["Summer", "Winter"]),
        year=search_pb2.YearRange(first=2012),
    )
    assert filters.describe_filter(condition) == (
        "gender Men or Unisex, articleType Tshirts, baseColour Blue, baseColour not Navy Blue, "
        "season Summer or Winter, year 2012 to …, brand Harbour"
    )


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


def test_an_empty_answer_says_that_nothing_is_eligible() -> None:
    applied = search_pb2.AppliedSearch(scope=search_pb2.SEARCH_SCOPE_INVENTORY)
    assert "No product is eligible" in shown(search_pb2.FindSimilarResponse(applied=applied))


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
