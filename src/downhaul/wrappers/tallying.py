"""Adds what two backends answered to what other processes counted, in the control store.

Nothing is opened before there is something to add, and that is done in the thread that compares.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from downhaul.errors import ProviderError
from downhaul.provider import FlagProvider
from downhaul.wrappers.comparisons import Mismatch
from downhaul.wrappers.giving import Batch, CountSink
from downhaul.wrappers.standings import has_register
from downhaul.wrappers.wrapper import stack_of

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.store.comparisons import Comparisons

_log: Final = logging.getLogger("downhaul.wrappers")
_NAMES: Final = 50  # of attributes that an example shows
_SHOWN: Final = 80  # characters of a name
_FORKED: Final = (
    "what a forked child compares is not kept in SQLite, which takes it for its parent: connect "
    "after the fork, or keep it in PostgreSQL"
)
_KEPT_ON: Final = "comparisons of more than 30 days ago stay, as they can't be deleted: %s"


def tally_for(settings: Settings, old: FlagProvider, new: FlagProvider) -> CountSink | None:
    """Return what keeps the counts of a pair, or None where no control store is configured.

    It opens nothing yet.
    """
    return Tally(settings, old, new) if has_register(settings, old) else None


class Tally:
    """Adds batches of one pair to the control store that the settings name (CountSink)."""

    def __init__(self, settings: Settings, old: FlagProvider, new: FlagProvider) -> None:
        self.pair = f"{stack_of(old)} > {stack_of(new)}"
        self._settings = settings
        self._old = old
        self._begun_in = self._opened_in = os.getpid()
        self._store: Comparisons | None = None
        self._opened = False
        self._told: set[str] = set()

    def add(self, batch: Batch) -> None:
        """Add a batch. Raises what reaching and writing the store raises."""
        store = self._store_here()
        if store is None:
            return
        if os.getpid() != self._begun_in and not store.writes_after_fork:
            self._tell_once(_FORKED)
            return
        from downhaul.store.comparisons import Seen  # noqa: PLC0415  (SQLAlchemy)

        seen = [
            Seen(flag, outcome.value, one.age, _shown(one.mismatch))
            for (flag, outcome), one in batch.examples.items()
        ]
        counts = {
            flag: {outcome.value: count for outcome, count in outcomes.items()}
            for flag, outcomes in batch.counts.items()
        }
        store.add(batch.writer, batch.number, self.pair, counts, seen)
        try:
            store.sweep_sometimes()
        except ProviderError as error:  # the batch is added, and must not come again for this
            self._tell_once(_KEPT_ON, error)

    def _store_here(self) -> Comparisons | None:
        """Return the store as this process has it: a forked child opens its own."""
        if self._opened_in != os.getpid():
            self._opened_in, self._opened = os.getpid(), False
        if not self._opened:
            from downhaul.plugins import build_control  # noqa: PLC0415  (the plugins know of us)

            control = build_control(self._settings, self._old)
            self._store = getattr(control, "comparisons", None)
            self._opened = True
        return self._store

    def _tell_once(self, what: str, *why: object) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning(what, *why)


def _shown(mismatch: Mismatch) -> str:
    """Return an example as JSON: who (hashed), the names of attributes, what each side said."""
    names: list[Any] = [name[:_SHOWN] for name in mismatch.attributes[:_NAMES]]
    return json.dumps(
        {
            "who": mismatch.who,
            "attributes": names,
            "old": asdict(mismatch.old),
            "new": asdict(mismatch.new),
        }
    )
