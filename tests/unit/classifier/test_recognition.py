"""The rule of the classifier: heads, candidates, and shops with untrained subCategories."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.classifier import recognition
from services.classifier.candidate_index import CandidateIndex
from services.classifier.heads import LabelHead, probabilities
from services.classifier.recognition import ClassifierModel, classify_batch
from services.contract.values import Classification, ClassificationMethod, Gender, parse_derived_type
from services.search.candidates.clusters import Candidate, candidate_set

_SIZE = 6


def _axis(*parts: tuple[int, float]) -> NDArray[np.float32]:
    """Returns a unit vector with these shares of some axes."""
    vector = np.zeros(_SIZE, np.float32)
    for axis, share in parts:
        vector[axis] = share
    return vector / np.linalg.norm(vector)


def _head(*labels: str, scale: float = 20.0) -> LabelHead:
    """Returns a head whose labels are the first axes."""
    return LabelHead(labels, np.eye(len(labels), _SIZE, dtype=np.float32), scale)


def _model(sub_categories: tuple[str, ...] = ("Topwear", "Bottomwear", "Bags"), *types: str) -> ClassifierModel:
    derived = types or ("Men Tshirts", "Women Tops", "Unisex Backpacks")
    return ClassifierModel(
        "v1", _SIZE, _head(*sub_categories), _head(*derived), tuple(parse_derived_type(label) for label in derived)
    )


def _candidate(sub_category: str, label: str, embedding: NDArray[np.float32]) -> Candidate:
    product_id = f"{sub_category} {label} {embedding.tolist()}"
    return Candidate(sub_category, *parse_derived_type(label), product_id, embedding)


def _stranger(sub_categories: tuple[str, ...] = ("Topwear", "Bottomwear", "Bags")) -> ClassifierModel:
    """Returns a model that was trained on none of the shop's derived types."""
    return _model(sub_categories, "Unisex Nothing")


def _index(model: ClassifierModel, *candidates: Candidate) -> CandidateIndex:
    return model.index(candidate_set("v1", _SIZE, candidates))


def _classify(model: ClassifierModel, index: CandidateIndex | None, *parts: tuple[int, float]) -> Classification:
    (found,) = classify_batch(model, index, _axis(*parts)[None, :], 5)
    return found


def _labels(found: Classification) -> list[str]:
    return [prediction.label for prediction in found.derived_types]


def test_a_derived_type_is_taken_apart() -> None:
    assert parse_derived_type("Women Lounge Pants") == (Gender.WOMEN, "Lounge Pants")
    for label in ("Tshirts", "Men", "Men ", "Womens Tops"):
        assert parse_derived_type(label) == (None, label)
    # An article type may begin with the word for a gender.
    assert parse_derived_type("Men Grooming") == (Gender.MEN, "Grooming")
    assert parse_derived_type("Men Grooming", {"Men Grooming"}) == (None, "Men Grooming")
    with pytest.raises(ValueError, match="no derived type"):
        parse_derived_type("")


def _with_articles(*types: str) -> ClassifierModel:
    """Returns a model whose head of article types knows those of its derived types."""
    model = _model(("Topwear", "Bags"), *types)
    articles = dict.fromkeys(article for _, article in model.kinds)
    weights = np.array([model.derived_type.weights[[a for _, a in model.kinds].index(each)] for each in articles])
    return replace(model, article_type=LabelHead((*articles,), weights, 20.0))


def test_without_genders_the_head_recognises_article_types() -> None:
    model = _with_articles("Men Tshirts", "Women Tshirts", "Unisex Backpacks")
    shirt, pack = _axis((0, 1), (5, 0.5)), _axis((2, 1), (5, 0.5))
    index = _index(model, _candidate("Topwear", "Tshirts", shirt), _candidate("Bags", "Backpacks", pack))
    found = _classify(model, index, (0, 0.9), (2, 0.3))
    assert found.method is ClassificationMethod.MODEL_LABELS
    assert [(each.gender, each.label, each.sub_category) for each in found.derived_types] == [
        (None, "Tshirts", "Topwear"),
        (None, "Backpacks", "Bags"),
    ]


def test_where_some_genders_are_unknown_the_known_ones_are_answered() -> None:
    model = _with_articles("Men Tshirts", "Women Tshirts", "Unisex Backpacks")
    shirt, pack = _axis((0, 1), (5, 0.5)), _axis((2, 1), (5, 0.5))
    index = _index(
        model,
        _candidate("Topwear", "Tshirts", shirt),
        _candidate("Topwear", "Men Tshirts", _axis((0, 1), (4, 0.5))),
        _candidate("Bags", "Backpacks", pack),
    )
    assert not index.unknown
    assert _labels(_classify(model, index, (0, 0.9), (2, 0.3))) == ["Men Tshirts", "Backpacks"]


def test_without_candidates_the_models_labels_answer() -> None:
    found = _classify(_model(), None, (0, 0.8), (1, 0.6))
    assert found.method is ClassificationMethod.MODEL_LABELS and found.candidates_version == ""
    assert _labels(found) == ["Men Tshirts", "Women Tops", "Unisex Backpacks"]
    assert [prediction.similarity for prediction in found.derived_types] == pytest.approx([0.8, 0.6, 0.0])
    assert [prediction.margin for prediction in found.derived_types] == [
        pytest.approx(0.2),
        pytest.approx(0.6),
        None,
    ]
    assert all(prediction.sub_category is None for prediction in found.derived_types)
    assert [prediction.label for prediction in found.sub_categories] == ["Topwear", "Bottomwear", "Bags"]
    assert math.fsum(prediction.probability or 0 for prediction in found.sub_categories) == pytest.approx(1)


def test_types_are_compared_within_the_predicted_sub_category() -> None:
    model = _stranger()
    index = _index(
        model,
        _candidate("Topwear", "Men Tshirts", _axis((0, 1), (3, 1))),
        _candidate("Topwear", "Men Shirts", _axis((0, 1), (4, 1))),
        # The nearest, but in another subCategory.
        _candidate("Bottomwear", "Men Jeans", _axis((0, 1), (1, 0.1))),
    )
    found = _classify(model, index, (0, 1), (4, 0.2))
    assert found.method is ClassificationMethod.CANDIDATES
    assert found.candidates_version == index.candidates.version
    assert _labels(found) == ["Men Shirts", "Men Tshirts"]
    first, second = found.derived_types
    assert (first.sub_category, first.gender, first.article_type) == ("Topwear", Gender.MEN, "Shirts")
    assert first.margin == pytest.approx(first.similarity - second.similarity)
    assert second.margin is None


def test_a_sub_category_without_candidates_gives_way_to_the_next() -> None:
    model = _stranger()
    index = _index(
        model,
        _candidate("Bags", "Unisex Backpacks", _axis((2, 1))),
        _candidate("Bottomwear", "Men Jeans", _axis((1, 1))),
    )
    found = _classify(model, index, (0, 1), (2, 0.3), (1, 0.2))
    assert [prediction.label for prediction in found.sub_categories][:2] == ["Topwear", "Bags"]
    assert _labels(found) == ["Unisex Backpacks"]


def test_a_shops_own_sub_category_wins_by_its_candidates_alone() -> None:
    model = _stranger()
    index = _index(
        model,
        _candidate("Topwear", "Men Tshirts", _axis((0, 1))),
        _candidate("Lederhosen", "Men Lederhosen", _axis((0, 0.6), (5, 0.8))),
    )
    found = _classify(model, index, (0, 0.6), (5, 0.8))
    assert [(p.label, p.probability is None) for p in found.sub_categories] == [
        ("Lederhosen", True),
        ("Topwear", False),
        ("Bags", False),
        ("Bottomwear", False),
    ]
    assert _labels(found) == ["Men Lederhosen", "Men Tshirts"]
    # It does not decide if it is not the nearest.
    found = _classify(model, index, (0, 1))
    assert found.sub_categories[0].label == "Topwear"
    assert _labels(found) == ["Men Tshirts", "Men Lederhosen"]


def test_the_head_ranks_the_types_that_it_knows_of_those_that_the_catalogue_has() -> None:
    model = _model()
    index = _index(
        model,
        # Candidates would decide otherwise, but are not compared.
        _candidate("Bottomwear", "Women Tops", _axis((0, 1))),
        _candidate("Topwear", "Women Tops", _axis((3, 1))),
        _candidate("Bags", "Unisex Backpacks", _axis((5, 1))),
    )
    found = _classify(model, index, (0, 0.9), (1, 0.5), (2, 0.1))
    assert found.method is ClassificationMethod.MODEL_LABELS
    assert found.candidates_version == index.candidates.version
    # Men Tshirts would be nearest, but the catalogue has none.
    assert _labels(found) == ["Women Tops", "Unisex Backpacks"]
    first = found.derived_types[0]
    assert first.similarity == pytest.approx(_axis((0, 0.9), (1, 0.5), (2, 0.1))[1])
    assert first.margin == pytest.approx(first.similarity - found.derived_types[1].similarity)
    # The more probable of its two subCategories in the catalogue.
    assert first.sub_category == "Topwear"


def test_candidates_decide_where_the_nearest_is_of_a_type_that_the_head_does_not_know() -> None:
    model = _model()
    index = _index(
        model,
        _candidate("Topwear", "Men Tshirts", _axis((0, 1))),
        _candidate("Topwear", "Women Tops", _axis((1, 1))),
        _candidate("Topwear", "Men Ponchos", _axis((0, 1), (4, 1))),
        _candidate("Topwear", "Men Ponchos", _axis((0, 1), (5, 1))),
    )
    found = _classify(model, index, (0, 1), (5, 0.8))
    assert found.method is ClassificationMethod.CANDIDATES
    assert _labels(found) == ["Men Ponchos", "Men Tshirts", "Women Tops"]
    # Elsewhere the head decides among its labels, even if a candidate is nearer.
    found = _classify(model, index, (0, 1), (1, 0.9), (4, 0.1))
    assert found.method is ClassificationMethod.MODEL_LABELS
    assert _labels(found) == ["Men Tshirts", "Women Tops"]


def test_a_shop_with_nothing_but_its_own_is_classified() -> None:
    model = _model(())
    index = _index(model, _candidate("Dirndl", "Girls Dirndl", _axis((4, 1))))
    found = _classify(model, index, (0, 1))
    assert [(p.label, p.probability) for p in found.sub_categories] == [("Dirndl", None)]
    assert _labels(found) == ["Girls Dirndl"]


def test_a_type_in_several_sub_categories_counts_once_with_its_nearest() -> None:
    model = _model(())
    index = _index(
        model,
        _candidate("Lower", "Men Overalls", _axis((0, 1), (1, 1))),
        _candidate("Upper", "Men Overalls", _axis((0, 1), (1, 0.2))),
        _candidate("Upper", "Men Jackets", _axis((0, 1), (2, 1.5))),
    )
    found = _classify(model, index, (0, 1))
    assert _labels(found) == ["Men Overalls", "Men Jackets"]
    assert found.derived_types[0].sub_category == "Upper"
    assert found.derived_types[0].margin == pytest.approx(
        found.derived_types[0].similarity - found.derived_types[1].similarity
    )


def test_equal_similarities_are_ordered_by_label() -> None:
    model = _stranger()
    same = _axis((0, 1), (3, 1))
    labels = ["Women Tops", "Men Shirts", "Boys Tshirts", "Men Tshirts"]
    index = _index(model, *(_candidate("Topwear", label, same) for label in labels))
    found = _classify(model, index, (0, 1))
    assert _labels(found) == sorted(labels)
    assert [prediction.margin for prediction in found.derived_types] == [0.0, 0.0, 0.0, None]


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("known", ["nothing", "some"])
def test_no_more_than_top_k_come_back_and_the_last_knows_its_margin(top_k: int, known: str) -> None:
    model = _stranger() if known == "nothing" else _model()
    candidates = [_candidate("Topwear", f"Men Type{n}", _axis((0, 1), (3, n + 1))) for n in range(4)]
    for index in (None, _index(model, *candidates)):
        if index is None and known == "nothing":
            continue
        (found,) = classify_batch(model, index, _axis((0, 1))[None, :], top_k)
        (whole,) = classify_batch(model, index, _axis((0, 1))[None, :], 100)
        assert found.sub_categories == whole.sub_categories[:top_k]
        assert found.derived_types == whole.derived_types[:top_k]
        assert len(found.derived_types) == top_k


def _random(seed: int) -> tuple[ClassifierModel, CandidateIndex, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    trained = [f"S{n}" for n in range(int(rng.integers(0, 4)))]
    shops = [*trained, "Own1", "Own2"]

    def unit(n: int) -> NDArray[np.float32]:
        rows = rng.normal(size=(n, _SIZE))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    model = ClassifierModel(
        "v1", _SIZE, LabelHead(tuple(trained), unit(len(trained)), 5.0), LabelHead((), unit(0), 1.0), ()
    )
    kinds = [
        (shops[int(rng.integers(len(shops)))], list(Gender)[int(rng.integers(5))], f"T{rng.integers(3)}")
        for _ in range(int(rng.integers(1, 25)))
    ]
    rows = unit(len(kinds))
    index = _index(model, *(Candidate(*kind, f"p{row}", rows[row]) for row, kind in enumerate(sorted(kinds, key=str))))
    return model, index, unit(9)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_rule_holds_for_any_shop(seed: int) -> None:
    """Compares with the rule as written, one embedding and one candidate at a time."""
    model, index, embeddings = _random(seed)
    candidates = index.candidates
    trained = model.sub_category.labels
    batch = classify_batch(model, index, embeddings, 100)
    for embedding, found in zip(embeddings, batch, strict=True):
        probable = dict(zip(trained, probabilities(embedding[None, :], model.sub_category)[0].tolist(), strict=True))
        with_candidates = [label for label in trained if label in candidates.sub_categories]
        chosen = max(with_candidates, key=lambda label: probable[label], default=None)
        best: dict[str, float] = {}
        for row, sub_category in enumerate(candidates.sub_categories):
            if sub_category == chosen or sub_category not in trained:
                label = f"{candidates.genders[row].value} {candidates.article_types[row]}"
                best[label] = max(best.get(label, -2.0), float(embedding @ candidates.embeddings[row]))
        assert [p.label for p in found.derived_types] == sorted(best, key=lambda label: -best[label])
        assert [p.similarity for p in found.derived_types] == pytest.approx(
            sorted(best.values(), reverse=True), abs=1e-5
        )
        winner = found.derived_types[0].sub_category if found.derived_types else None
        expected = sorted(trained, key=lambda label: -probable[label])
        if winner is not None and winner not in trained:
            expected = [winner, *expected]
        assert [p.label for p in found.sub_categories] == expected


def test_a_batch_in_several_steps_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, index, embeddings = _random(7)
    whole = classify_batch(model, index, embeddings, 3)
    monkeypatch.setattr(recognition, "_ROWS_PER_STEP", 2)
    for one, other in zip(classify_batch(model, index, embeddings, 3), whole, strict=True):
        assert [p.label for p in one.derived_types] == [p.label for p in other.derived_types]
    assert classify_batch(model, index, embeddings[:0], 3) == []


def test_heads_of_another_dimension_are_refused() -> None:
    model = _model()
    with pytest.raises(ValueError, match="dimension"):
        ClassifierModel("v1", _SIZE + 1, model.sub_category, model.derived_type, model.kinds)


def _jackets(count: int, label: str, axis: int) -> list[Candidate]:
    return [
        Candidate("Topwear", *parse_derived_type(label), f"{label} {number}", _axis((axis, 1), (5, number / 20)))
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "recognised"), [(2, False), (3, True), (14, True)])
def test_a_label_that_the_head_misses_in_this_catalogue_leaves_it_to_candidates(count: int, recognised: bool) -> None:
    # The head learned "Unisex Jackets" from one product, which looked like none of this catalogue's.
    model = _model(("Topwear", "Bottomwear", "Bags"), "Men Jackets", "Women Tops", "Unisex Jackets")
    index = _index(
        model,
        *_jackets(4, "Men Jackets", 0),
        *(
            Candidate("Topwear", Gender.UNISEX, "Jackets", f"unisex {number}", _axis((0, 1), (3, 1), (4, number / 20)))
            for number in range(count)
        ),
    )
    assert index.unknown == ({"Unisex Jackets"} if recognised else set())
    found = _classify(model, index, (0, 1), (3, 0.9))
    assert _labels(found)[0] == ("Unisex Jackets" if recognised else "Men Jackets")
    # What the head recognises in this catalogue stays with it.
    familiar = _classify(model, index, (0, 1), (5, 0.1))
    assert (familiar.method, _labels(familiar)[0]) == (ClassificationMethod.MODEL_LABELS, "Men Jackets")


def test_a_label_that_candidates_find_no_better_stays_with_the_head() -> None:
    model = _model(("Topwear", "Bottomwear", "Bags"), "Men Jackets", "Women Tops", "Unisex Jackets")
    # Both types look the same: neither the head nor the candidates can tell them apart.
    index = _index(model, *_jackets(6, "Men Jackets", 0), *_jackets(6, "Unisex Jackets", 0))
    assert index.unknown == set()


def test_confidence_is_the_probability_of_the_article_type_whoever_it_is_for() -> None:
    model = _model(("Topwear", "Bottomwear", "Bags"), "Men Tshirts", "Women Tshirts", "Unisex Backpacks")
    found = _classify(model, None, (0, 0.7), (1, 0.7))
    men, women, backpacks = (prediction.probability for prediction in found.derived_types)
    assert men == pytest.approx(0.5, abs=1e-3) and women == pytest.approx(0.5, abs=1e-3)
    assert found.confidence == pytest.approx(1 - (backpacks or 0.0), abs=1e-6)
    shop = _index(
        _stranger(),
        _candidate("Topwear", "Men Dirndl", _axis((0, 1))),
        _candidate("Topwear", "Girls Dirndl", _axis((1, 1))),
    )
    found = _classify(_stranger(), shop, (0, 0.7), (1, 0.7))
    assert [prediction.probability for prediction in found.derived_types] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert found.confidence == pytest.approx(1.0)
    assert classify_batch(_stranger(()), None, _axis((0, 1))[None], 5)[0].confidence is not None
