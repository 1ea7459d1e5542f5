"""The suite of all indexes; a new one joins it."""

from tests.conformance.answers import AnswerConformance
from tests.conformance.lists import ListConformance
from tests.conformance.snapshots import SnapshotConformance


class IndexConformance(AnswerConformance, ListConformance, SnapshotConformance):
    """A class `Test…` that inherits from it makes the index to test."""
