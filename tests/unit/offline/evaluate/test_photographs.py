"""People's photographs, judged by embeddings written by hand, and drawn ones laid on backgrounds."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.main import run
from offline.dataset.labels import PhotographLabel
from offline.dataset.row import COLUMNS
from offline.dataset.rows import open_dataset
from offline.drawn import ProductSpec, catalogue_specs, draw_product
from offline.evaluate.coarse_types import CoarseTypes
from offline.evaluate.documents import Inputs, photographs_document
from offline.evaluate.photograph_figures import PhotographEvaluation
from offline.evaluate.photographs import CATALOGUE, EVERYBODYS, OTHER_PEOPLES, evaluate_photographs
from offline.evaluate.photographs_page import photographs_section
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from services.classifier.heads import LabelHead
from services.classifier.recognition import ClassifierModel
from services.contract.values import Subject, parse_derived_type
from services.search.indexes.faiss import FaissIndex
from tests.support.evaluated_shop import DIMENSION, product, table

SUB_CATEGORIES = ("Topwear", "Sandal", "Bags")
DERIVED_TYPES = ("Men Tshirts", "Women Sandals", "Women Handbags")


def model() -> ClassifierModel:
    """Heads that read the first, the second and the third float of an embedding."""
    weights = np.eye(3, DIMENSION, dtype=np.float32)
    kinds = tuple(parse_derived_type(label) for label in DERIVED_TYPES)
    return ClassifierModel(
        "v1", DIMENSION, LabelHead(SUB_CATEGORIES, weights, 10.0), LabelHead(DERIVED_TYPES, weights, 10.0), kinds
    )


def service(catalogue: ProductTable) -> LocalService:
    return LocalService(catalogue, model(), FaissIndex(DIMENSION), threads=1)


CATALOGUE_TABLE = table(
    [
        *(product(f"tshirt{at}", "Men Tshirts") for at in range(12)),
        *(product(f"sandal{at}", "Women Sandals", "Sandal") for at in range(12)),
        *(product(f"bag{at}", "Women Handbags", "Bags") for at in range(12)),
    ],
    [[1.0 * (at // 12 == kind) for kind in range(3)] + [0.01 * at] for at in range(36)],
)
# Photographs of three senders: two shirts and flip-flops that look like what they are, a shirt that looks like a bag.
PHOTOGRAPHS = table(
    [
        product("1", "Unisex Longsleeve"),
        product("2", "Unisex Longsleeve"),
        product("3", "Unisex Shoes", "Shoes"),
        product("4", "Unisex Longsleeve"),
    ],
    [[1.0, 0.1, 0.1], [1.0, 0.2, 0.0], [0.1, 1.0, 0.1], [0.1, 0.1, 1.0]],
)
LABELS = {
    "1": PhotographLabel("ann", "Longsleeve"),
    "2": PhotographLabel("bob", "Longsleeve"),
    "3": PhotographLabel("bob", "Shoes"),
    "4": PhotographLabel("ann", "Longsleeve"),
}


def evaluate(catalogue: ProductTable = CATALOGUE_TABLE, studio: bool = True) -> PhotographEvaluation:
    shots = {"unaltered": CATALOGUE_TABLE, "turned by 90°": CATALOGUE_TABLE.take([0, 12, 24])} if studio else {}
    return evaluate_photographs(
        PHOTOGRAPHS, LABELS, catalogue, PHOTOGRAPHS, service(catalogue), service, shots, 0, lambda steps: None
    )


def test_a_photograph_is_right_by_what_its_label_may_mean() -> None:
    found = evaluate().recognition

    # Sandals are shoes, and a long sleeve may mean T-shirts; only the fourth is wrong, and taken for a bag.
    assert found.coarse.share == 0.75
    assert found.article_type.share == 0.75
    # By the exact subCategory, "Sandal" is not "Shoes".
    assert found.sub_category.share == 0.5
    assert found.taken_for_bag.share == 0.25
    # Both of Bob's are right, one of Ann's: whole senders are drawn.
    assert (found.coarse.interval.low, found.coarse.interval.high) == (0.5, 1.0)


def test_what_photographs_find_is_judged_in_the_catalogue_and_among_other_peoples() -> None:
    rows = {(row.searched, row.path): row for row in evaluate().search}

    whole, narrowed = rows[CATALOGUE, "inventory"], rows[CATALOGUE, "photograph"]
    assert whole.products == 36
    assert whole.coarse_precision.share == whole.article_precision.share == pytest.approx(0.75)
    assert narrowed.coarse_all.share == 0.75
    # 1 finds a shirt and shoes, 2 two shirts of Ann's, 3 the same without its sender's shirt: none right. 4 as 1.
    others = rows[OTHER_PEOPLES, "inventory"]
    assert others.products == 4
    assert others.article_precision.share == pytest.approx((1 / 2 + 1 + 0 + 1 / 2) / 4)
    assert others.article_all.share == 0.25
    everybodys = rows[EVERYBODYS, "inventory"]
    assert everybodys.article_precision.share == pytest.approx((2 / 3 + 2 / 3 + 0 + 2 / 3) / 4)


def test_photographs_that_are_the_catalogue_never_find_their_senders_others() -> None:
    found = evaluate(PHOTOGRAPHS, studio=False)

    assert [row.searched for row in found.search] == [OTHER_PEOPLES, EVERYBODYS]
    assert found.studio == []
    for row, results in enumerate(found.results.tolist()):
        sender = LABELS[PHOTOGRAPHS.ids[row]].sender
        assert all(LABELS[PHOTOGRAPHS.ids[at]].sender != sender for at in results if at >= 0)


def test_studio_shots_are_recognised_beside_them() -> None:
    found = evaluate()

    assert [(row.alteration, row.recognition.queries) for row in found.studio] == [
        ("unaltered", 36),
        ("turned by 90°", 3),
    ]
    assert all(row.recognition.coarse.share == 1.0 for row in found.studio)
    assert [(row.of, row.label) for row in found.calibration] == [
        ("photographs", "subCategory"),
        ("photographs", "articleType"),
        ("studio shots", "subCategory"),
        ("studio shots", "articleType"),
        ("studio shots", "derivedType"),
    ]


def test_probabilities_are_held_against_what_is_right() -> None:
    (of_photographs, *_) = evaluate().calibration

    assert of_photographs.answers == 4
    assert of_photographs.right == 0.75
    # The wrong one is as certain as the first: about 0.9998, while three of four are right.
    assert of_photographs.error == pytest.approx(0.25, abs=0.01)


def test_labels_say_what_they_are_taken_for() -> None:
    first, second = evaluate().by_label

    assert (first.label, first.photographs, first.senders) == ("Longsleeve", 3, 2)
    assert (first.taken_for, first.taken_for_share) == ("Bags", pytest.approx(1 / 3))
    assert (second.label, second.taken_for, second.coarse.share) == ("Shoes", None, 1.0)
    # One sender says nothing about others.
    assert math.isnan(second.coarse.interval.low)


def test_the_worst_are_wrong_and_the_most_certain_first() -> None:
    found = evaluate()

    assert found.worst == [3]
    assert found.answers[3][0] == "Bags"
    assert not found.right_results[3].any()


def test_the_document_holds_no_single_photograph_and_gives_the_section() -> None:
    inputs = Inputs.of(PHOTOGRAPHS, CATALOGUE_TABLE, False, ("m", "v1"), 0)

    document = photographs_document(
        evaluate(), inputs, "fashion evaluate photographs", "Taken at home.", Subject.AUTO, studio_is_new=True
    )

    text = json.dumps(document, allow_nan=False)
    assert "tshirt0" not in text
    assert {"worst", "answers", "results", "right_results"}.isdisjoint(document)
    section = "\n".join(photographs_section(json.loads(text)))
    assert "| people's photographs | 4 | 75.0±25.0 | 50.0±0.0 | 75.0±25.0 | 25.0±25.0 |" in section
    assert "fashion evaluate photographs" in section
    assert "Taken at home." in section
    assert "`subject: AUTO`" in section


def test_every_coarse_type_and_article_type_is_written_as_shops_write_it() -> None:
    types = CoarseTypes.load()

    assert types.coarse("Flip Flops") == types.coarse("Sandal") == types.coarse("Shoes") == "Shoes"
    assert types.coarse("Loungewear and Nightwear", "Lounge Pants") == "Bottomwear"
    assert types.coarse("Bags") == "Bags"
    assert types.meant("Pants", "Trousers") >= {"Jeans", "Trousers"}
    assert types.meant("Scarf", "Scarves") == {"Scarves"}


def test_the_file_of_coarse_types_names_nothing_that_the_data_set_lacks(fashion_dataset: Path) -> None:
    types = CoarseTypes.load()

    with open_dataset(fashion_dataset) as dataset:
        sub_categories = {row.sub_category for row in dataset.rows}
        article_types = {row.article_type for row in dataset.rows}
    assert set(types.sub_categories) <= sub_categories
    assert set(types.article_types).union(*types.labels.values()) <= article_types


def write_photographs(folder: Path, specs: Sequence[ProductSpec], first: int) -> Path:
    """Drawn garments on coloured floors, two senders with a floor each."""
    (folder / "images").mkdir(parents=True)
    rows, labels = [",".join(COLUMNS)], ["id,sender_id,label"]
    for at, spec in enumerate(specs):
        sender = at % 2
        garment = draw_product(spec).resize((60, 80))
        floor = Image.new("RGB", (garment.width * 2, garment.height), ((150, 110, 70), (70, 90, 160))[sender])
        floor.paste(garment.rotate(10, fillcolor=floor.getpixel((0, 0))), (garment.width // 2, 0))
        floor.save(folder / "images" / f"{first + at}.jpg", "JPEG")
        rows.append(f"{first + at},Unisex,Apparel,{spec.sub_category},{spec.article_type},,,,,{spec.article_type} {at}")
        labels.append(f"{first + at},{sender},{spec.article_type}")
    (folder / "styles.csv").write_text("\n".join(rows) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    return folder


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, specs = tmp_path_factory.mktemp("drawn"), catalogue_specs(7, 40)
    write_photographs(folder / "photos", specs[:8], first=1)
    write_photographs(folder / "shop", specs[8:], first=101)
    return folder


@pytest.fixture
def drawn(drawn_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBEDDER_RUNTIME", "fake")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "shop"):
        shutil.copytree(drawn_once / name, tmp_path / name)
    return tmp_path


def test_the_command_writes_figures_a_page_and_a_picture(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "photographs", "--catalogue", "shop", "--queries", "photos"]

    assert run([*arguments, "--json", "to/photographs.json", "--output", "page.md"]) == 0

    found = json.loads((drawn / "to/photographs.json").read_text())
    assert (found["queries"], found["catalogue"], found["senders"]) == (8, 32, 2)
    assert [row["recognition"]["queries"] for row in found["studio"]] == [32] * 5
    assert not found["studio_is_new"]
    page = (drawn / "page.md").read_text()
    assert "fashion evaluate photographs --catalogue shop --queries photos" in page
    wrong = found["recognition"]["coarse"]["share"] < 1
    assert (drawn / "page-worst.png").is_file() == ("](page-worst.png)" in page) == wrong
    shown = capsys.readouterr().out
    assert "people's photographs" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_photographs_among_themselves_need_no_catalogue(drawn: Path) -> None:
    arguments = ["evaluate", "photographs", "--catalogue", "photos", "--queries", "photos", "--limit", "4"]

    assert run([*arguments, "--json", "found.json"]) == 0

    found = json.loads((drawn / "found.json").read_text())
    # Of four photographs each sender's own are left out, those that are not asked for too.
    assert [(row["searched"], row["products"]) for row in found["search"]] == [(OTHER_PEOPLES, 8), (EVERYBODYS, 8)]
    assert found["studio"] == []
    assert found["command"].endswith("--limit 4")


def test_the_page_on_all_evaluations_holds_them_where_they_are_measured(drawn: Path) -> None:
    arguments = ["--catalogue", "shop", "--queries", "photos"]
    assert run(["evaluate", "photographs", *arguments, "--json", "docs/figures/photographs.json"]) == 0
    assert run(["evaluate", "report", *arguments, "--output", "docs/figures.md"]) == 0

    page = (drawn / "docs/figures.md").read_text()
    assert "## People's photographs" in page
    assert "promise too much" in page
