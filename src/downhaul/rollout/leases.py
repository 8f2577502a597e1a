"""Holding on to a claim while its controller waits for a backend that is slow, or hangs."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Final, Self

from downhaul.errors import DownhaulError
from downhaul.store.rollouts import Claim, LeaseLost, RolloutStore

_log: Final = logging.getLogger("downhaul.controller")

LONGEST: Final = 4.0
"""Leases for which one look may last; what takes longer than all deadlines is let go of."""

_EACH: Final = 3.0  # renewals in a lease


class Held:
    """A claim that is renewed from a thread of its own until the block ends.

    A process that is stopped renews nothing, so that its claim ends as ever. ``renewed`` is when
    it was renewed last, by the clock that goes on meanwhile.
    """

    def __init__(self, store: RolloutStore, claim: Claim, lease: float) -> None:
        self.renewed = time.monotonic()
        self._store = store
        self._claim = claim
        self._lease = lease
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep, name="downhaul-lease", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()

    def _keep(self) -> None:
        until = self.renewed + LONGEST * self._lease
        while not self._done.wait(self._lease / _EACH):
            now = time.monotonic()
            if now > until:
                _log.error(
                    "rollout %s hangs for %.0f s, and its lease is let go: others may take it",
                    self._claim.row.id,
                    LONGEST * self._lease,
                )
                return
            try:
                self._store.renew(self._claim, self._lease)
                self.renewed = now
            except LeaseLost:
                return  # whoever works on it finds that out at its next step
            except DownhaulError as error:
                _log.warning(
                    "the lease of rollout %s is not renewed: %s", self._claim.row.id, error
                )
