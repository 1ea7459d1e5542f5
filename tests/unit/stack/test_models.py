"""Which model a stack begins with, and which it changes to: bundles in folders, and names of models without one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.bundle.reader import Bundle
from services.classifier.settings import ClassifierSettings
from services.embedder.encoder import Encoder
from services.embedder.runtimes import select
from services.embedder.runtimes.fake import FakeEncoder
from services.embedder.runtimes.select import EncoderOptions
from services.embedder.settings import EmbedderSettings
from services.search.catalogue.generations import GenerationRecord, Generations, Status
from services.search.settings import SearchSettings
from services.stack import models
from services.stack.models import StackModels, live_options

SHIPPED = Path(__file__).parents[3] / "models" / "fashion-resnet50"
IMAGENET = EmbedderSettings(bundle="imagenet").encoder()


async def nothing(_: object) -> None:
    pass


@pytest.fixture
def generations(tmp_path: Path) -> Iterator[Generations]:
    catalogue = SearchSettings(data_dir=tmp_path / "data").open_catalogue()
    yield catalogue.generations
    catalogue.close()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[EncoderOptions]:
    """What is loaded. Tests download no weights, so that the fake encoder comes instead."""
    loaded: list[EncoderOptions] = []

    def load(options: EncoderOptions, bundle: Bundle | None = None) -> Encoder:
        loaded.append(options)
        return FakeEncoder()

    monkeypatch.setattr(models, "load_encoder", load)
    return loaded


def test_a_name_is_found_again_as_it_is_and_a_folder_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert IMAGENET.source == "imagenet"
    assert replace(IMAGENET, bundle="fake-3", runtime="fake").source == "fake-3"
    monkeypatch.chdir(SHIPPED.parent)
    assert replace(IMAGENET, bundle="fashion-resnet50").source == str(SHIPPED)
    assert replace(IMAGENET, bundle="weights.h5").source == str(SHIPPED.parent / "weights.h5")


async def test_a_reindex_may_lead_to_a_model_without_a_bundle_and_back(loaded: list[EncoderOptions]) -> None:
    settings = EmbedderSettings(bundle=str(SHIPPED))
    source = StackModels(settings, ClassifierSettings(), IMAGENET.source, nothing, nothing)
    model = await source.find_next(select.IMAGENET, "live")
    assert model.source == select.IMAGENET
    record = GenerationRecord(model.model_version, model.dimension, Status.BUILDING, datetime.now(UTC), model.source)
    for each in (record, replace(record, source=None)):
        async with source.opened(each) as parts:
            assert parts.space.model_version == model.model_version
    assert [each.bundle for each in loaded] == [select.IMAGENET] * 3


def test_a_start_amid_a_change_finds_the_live_model_that_has_no_bundle(generations: Generations) -> None:
    generations.adopt("live", 2048)
    following = GenerationRecord("next", 2048, Status.BUILDING, datetime.now(UTC), str(SHIPPED))
    generations.begin(following, live_source=IMAGENET.source)
    for settings in (IMAGENET, replace(IMAGENET, bundle=str(SHIPPED))):
        options, bundle = live_options(settings, generations)
        assert (options.bundle, bundle) == ("imagenet", None)
