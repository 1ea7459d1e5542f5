"""Serving needs none of what training needs: the stack answers where the extra `train` is not installed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import asyncio, importlib, pkgutil, sys
from pathlib import Path

TRAINING = {"tensorflow", "keras", "pandas", "sklearn", "scipy", "matplotlib", "jax", "kagglehub"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in TRAINING:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Blocker())

import grpc
from fashion.v1 import search_pb2, search_pb2_grpc, types_pb2
from services.stack.startup import StackSettings, running_stack
import cli.main, cli.commands.catalogue, cli.commands.ingest, cli.commands.search, cli.commands.serve
import cli.commands.users, cli.demo.command

async def main(folder, photograph):
    image = types_pb2.Image(content=Path(photograph).read_bytes())
    product = types_pb2.Product(
        id="1", gender=types_pb2.GENDER_MEN, master_category="Apparel", sub_category="Topwear", article_type="Shirts"
    )
    async with running_stack(StackSettings.load(data_dir=Path(folder), port=0)) as stack:
        async with grpc.aio.insecure_channel(stack.target) as channel:
            search = search_pb2_grpc.SearchServiceStub(channel)
            rows = [search_pb2.ProductRow(product=product, image=image)]
            await search.UpsertProducts(search_pb2.UpsertProductsRequest(rows=rows), timeout=60)
            found = await search.FindSimilar(search_pb2.FindSimilarRequest(image=image), timeout=60)
    print(found.products[0].product.id, f"{found.products[0].similarity:.3f}")

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_photograph_is_answered_without_the_packages_of_training(tmp_path: Path) -> None:
    photograph = ROOT / "tests" / "golden" / "shirt.png"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(photograph)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["1", "1.000"]
