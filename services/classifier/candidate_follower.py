"""Follows the candidates that search publishes: polls for a new version and hands it over."""

import asyncio
from collections.abc import Callable

import structlog

from services.contract.errors import Unavailable
from services.contract.protocols import CandidateStore
from services.contract.values import CandidateSet

_log = structlog.stdlib.get_logger(__name__)


class CandidateFollower:
    """Keeps a classifier's candidates up to date with the store.

    If the store is down or has lost its content, the last candidates stay in use until others are published.
    """

    def __init__(
        self,
        store: CandidateStore,
        model_version: str,
        use: Callable[[CandidateSet], None],
        *,
        period_s: float,
    ) -> None:
        """Makes a follower.

        Args:
            store: store of the candidates.
            model_version: model whose candidates to follow.
            use: takes new candidates; raises ValueError for candidates that it cannot use.
            period_s: time between two polls, in seconds.
        """
        self._store = store
        self._model_version = model_version
        self._use = use
        self._period_s = period_s
        self._seen: str | None = None
        self._trouble: str | None = None

    async def look(self) -> bool:
        """Polls once, and logs when the store stops or resumes answering.

        Returns:
            Whether the store answered.
        """
        try:
            version = await self._store.version(self._model_version)
            candidates = None if version in (None, self._seen) else await self._store.read(self._model_version)
        except Unavailable as error:
            self._note(f"{error.message} {error.__cause__ or ''}".strip())
            return False
        self._note(None)
        if candidates is not None:
            await self._take(candidates)
        return True

    async def _take(self, candidates: CandidateSet) -> None:
        # Also for refused candidates: they would be refused again.
        self._seen = candidates.version
        try:
            # It compares them with its heads, which takes longer than an event loop may wait.
            await asyncio.to_thread(self._use, candidates)
        except ValueError:
            _log.exception("candidates refused", candidates_version=candidates.version)
            return
        _log.info("candidates taken", candidates_version=candidates.version, count=len(candidates.product_ids))

    def _note(self, trouble: str | None) -> None:
        # Compares whether there is trouble, because its text may differ each time.
        if trouble is not None and self._trouble is None:
            _log.warning("the store of candidates does not answer; the last candidates stay in use", why=trouble)
        elif trouble is None and self._trouble is not None:
            _log.info("the store of candidates answers again")
        self._trouble = trouble

    async def run(self) -> None:
        """Polls until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._period_s)
