"""An evaluation measures what users get: its answers equal those of the running stack over gRPC."""

from pathlib import Path

import numpy as np

from fashion.v1 import types_pb2
from offline.evaluate.model import load_model
from offline.evaluate.products import ProductTable
from offline.evaluate.served import LocalService
from offline.measure.metrics import MISSING
from services.contract.values import Gender
from services.embedder.settings import EmbedderSettings
from services.search.catalogue.products import Product
from services.search.indexes.faiss import FaissIndex
from services.vision import Frame
from services.vision.preprocess import prepare
from tests.support.running import calling, stack_in_thread, stack_settings
from tests.support.small_shop import SUB_CATEGORIES, items, photograph, rows
from tests.support.waiting import found_with_candidates


def table(photographs: dict[str, bytes], kinds: dict[str, str], model) -> ProductTable:
    info = model.info
    pixels = np.stack(
        [prepare(content, Frame(info.input_height, info.input_width)) for content in photographs.values()]
    )
    products = []
    for product_id, kind in kinds.items():
        gender, _, article_type = kind.partition(" ")
        products.append(
            Product(id=product_id, gender=Gender(gender), sub_category=SUB_CATEGORIES[kind], article_type=article_type)
        )
    return ProductTable(tuple(products), model.encoder.encode(pixels))


def test_photographs_and_products_get_the_answers_that_were_measured(tmp_path: Path) -> None:
    shots = {
        f"{kind} {colour}": photograph(kind, colour, 12, size=96)
        for kind in ("Men Tshirts", "Women Dresses", "Women Handbags", "Unisex Backpacks")
        for colour in ("Blue", "Yellow", "Black")
    }
    model = load_model(EmbedderSettings(runtime="fake"))
    catalogue = table(
        {item.id: item.photograph() for item in items()}, {item.id: item.derived_type for item in items()}, model
    )
    queries = table(shots, {name: " ".join(name.split()[:2]) for name in shots}, model)
    service = LocalService(catalogue, model.classifier, FaissIndex(model.info.dimension), threads=2)
    by_photograph = service.serve("photograph", queries, 10, lambda steps: None).results
    by_product = service.serve("inventory", catalogue, 10, lambda steps: None).results

    with stack_in_thread(stack_settings(tmp_path)) as stack, calling(stack.target) as caller:
        caller.upsert(rows())
        found_with_candidates(caller, image=types_pb2.Image(content=next(iter(shots.values()))))

        for name, expected in zip(shots, by_photograph.tolist(), strict=True):
            found = caller.find(image=types_pb2.Image(content=shots[name]), top_k=10)
            assert [one.product.id for one in found.products] == [
                catalogue.products[row].id for row in expected if row != MISSING
            ]
        for product, expected in zip(catalogue.products, by_product.tolist(), strict=True):
            found = caller.find(product_id=product.id, top_k=10)
            assert [one.product.id for one in found.products] == [
                catalogue.products[row].id for row in expected if row != MISSING
            ]
