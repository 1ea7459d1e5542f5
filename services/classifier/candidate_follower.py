"""Follows the candidates that search publishes: looks for a new version now and then, and hands it over."""

import asyncio
from collections.abc import Callable

import structlog

from services.contract.errors import Unavailable
from services.contract.protocols import CandidateStore
from services.contract.values import CandidateSet

_log = structlog.stdlib.get_logger(__name__)


class CandidateFollower:
    """Keeps a classifier's candidates those of the store.

    A store that is down, or that has lost what it held, takes nothing away: the last candidates stay until others are
    published.
    """

    def __init__(
        self,
        store: CandidateStore,
        model_version: str,
        use: Callable[[CandidateSet], None],
        *,
        period_s: float,
    ) -> None:
        """Takes the store, the model whose candidates to follow, who uses them, and the seconds between two looks.

        `use` raises ValueError for candidates that it cannot use.
        """
        self._store = store
        self._model_version = model_version
        self._use = use
        self._period_s = period_s
        self._seen: str | None = None
        self._trouble: str | None = None

    async def look(self) -> bool:
        """Looks once.

        Returns:
            Whether the store answered. Whatever is wrong with it is logged, once until it changes.
        """
        try:
            version = await self._store.version(self._model_version)
            candidates = None if version in (None, self._seen) else await self._store.read(self._model_version)
        except Unavailable as error:
            self._note(f"{error.message} {error.__cause__ or ''}".strip())
            return False
        self._note(None)
        if candidates is not None:
            self._take(candidates)
        return True

    def _take(self, candidates: CandidateSet) -> None:
        # Seen even where it is refused: it will be no better the next time.
        self._seen = candidates.version
        try:
            self._use(candidates)
        except ValueError:
            _log.exception("candidates refused", candidates_version=candidates.version)
            return
        _log.info("candidates taken", candidates_version=candidates.version, count=len(candidates.product_ids))

    def _note(self, trouble: str | None) -> None:
        # By whether there is trouble, not by its text, which may differ each time.
        if trouble is not None and self._trouble is None:
            _log.warning("candidates cannot be followed; those known stay in use", why=trouble)
        elif trouble is None and self._trouble is not None:
            _log.info("candidates are followed again")
        self._trouble = trouble

    async def run(self) -> None:
        """Looks again and again until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._period_s)
