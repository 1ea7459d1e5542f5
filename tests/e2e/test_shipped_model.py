"""The whole path with the shipped model: drawings or real photographs in, products out."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cli.main import run
from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from offline.dataset.rows import open_dataset
from offline.dataset.split import photograph_digests, twin_groups
from offline.drawn import draw_catalogue, held_out_photographs
from tests.support.processes import Service, free_port

INGESTED = 400
ASKED = 60


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Service]:
    environment = {"SEARCH_DATA_DIR": str(tmp_path / "data")}
    service = Service("services.stack", "fashion.v1.SearchService", free_port(), environment, tmp_path / "stack.log")
    service.start()
    try:
        service.wait_until_serving(120)
        yield service
    finally:
        service.terminate()


def find(target: str, photograph: bytes, user: str = "") -> search_pb2.FindSimilarResponse:
    with grpc.insecure_channel(target) as channel:
        search = search_pb2_grpc.SearchServiceStub(channel)
        request = search_pb2.FindSimilarRequest(image=types_pb2.Image(content=photograph), user_id=user)
        return search.FindSimilar(request, timeout=30)


@pytest.mark.timeout(400)
def test_a_newcomer_sees_drawings_recognised(stack: Service, tmp_path: Path) -> None:
    draw_catalogue(tmp_path / "shop", products=480)
    assert run(["ingest", str(tmp_path / "shop"), "--server", stack.target]) == 0

    right = 0
    for held_out in held_out_photographs():
        answer = find(stack.target, held_out.photograph)
        predicted = answer.classification
        assert predicted.sub_categories[0].label == held_out.spec.sub_category, held_out.name
        assert len(answer.products) == min(10, answer.applied.eligible_count)
        right += predicted.derived_types[0].label == f"{held_out.spec.gender} {held_out.spec.article_type}"
    assert right >= len(held_out_photographs()) - 1

    assert run(["users", "dislike", "ada", "Yellow", "--server", stack.target]) == 0
    shirt = next(each for each in held_out_photographs() if each.name == "yellow-shirt")
    before, after = find(stack.target, shirt.photograph), find(stack.target, shirt.photograph, "ada")
    assert "Yellow" in {found.product.base_colour for found in before.products}
    assert not {found.product.base_colour for found in after.products} & set(after.applied.excluded_colours)


@pytest.mark.timeout(400)
def test_real_photographs_find_their_kind(stack: Service, fashion_dataset: Path) -> None:
    """The queries are photographs of products of which neither they nor a twin are in the catalogue."""
    assert run(["ingest", str(fashion_dataset), "--limit", str(INGESTED), "--server", stack.target]) == 0

    with open_dataset(fashion_dataset) as dataset:
        groups = twin_groups(dataset.rows, photograph_digests(dataset))
        ingested = {row.id for row in dataset.rows[:INGESTED]}
        twins = {product_id for group in groups if ingested & set(group) for product_id in group}
        known = {row.sub_category for row in dataset.rows[:INGESTED]}
        asked = [row for row in dataset.rows[INGESTED:] if row.id not in twins and row.sub_category in known][:ASKED]
        right = sum(
            find(stack.target, dataset.photograph(row.id)).classification.sub_categories[0].label == row.sub_category
            for row in asked
        )
    assert right > 0.8 * ASKED
