"""What ``shadow`` and ``staged`` compared in production, and for which flags that speaks (rule M3).

No data is never good news: what nobody compared, or nobody could answer, speaks for no flag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from downhaul.errors import ConfigError
from downhaul.migrate.sides import PROVIDER, reading, side_settings
from downhaul.migrate.stages import stages
from downhaul.migrate.verify.report import shown
from downhaul.wrappers.comparisons import DIFFERENT, OTHERS, Outcome
from downhaul.wrappers.standings import Move

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.store.comparisons import Comparisons, Kept

DAY: Final = 86_400.0
"""Seconds that are looked at unless said otherwise."""

ENOUGH: Final = 300
"""Answered comparisons after which a flag may move on.

The rule of three: where none of n differs, at most 3/n of all do, at 95 %: one in a hundred here.
"""

MOST_ERRORS: Final = 1.0
"""Percent of comparisons that may have failed at a flag that moves on."""

_SECOND: Final = 1_000_000
_ERRORS: Final = (Outcome.ERROR_OLD, Outcome.ERROR_NEW)
_NAMES: Final = frozenset(Outcome)
_UNREAD: Final = {"provider": "", "variant": None, "value": "", "error": "it can't be read"}


@dataclass(frozen=True, slots=True)
class Last:
    """The last comparison of one outcome that was no match.

    ``at`` is in microseconds since 1970. ``example`` has ``who`` (a hash), ``attributes`` (names),
    ``old`` and ``new``, each with ``provider``, ``variant``, ``value`` and ``error``.
    """

    outcome: Outcome
    at: int
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Watched:
    """A flag, and how the two backends of one pair agreed on it in the window.

    ``pair`` is empty where nothing was compared. ``last`` is from the last 30 days, the newest
    first, and ``now`` the database's time in microseconds since 1970. ``move`` is where the flag
    stands on its way, where there is a register that knows it.
    """

    flag: str
    pair: str
    now: int
    counts: Mapping[Outcome, int] = field(default_factory=lambda: MappingProxyType({}))
    last: tuple[Last, ...] = ()
    move: Move | None = None

    def total(self, *outcomes: Outcome) -> int:
        """Return how often any of these came about."""
        return sum(self.counts.get(one, 0) for one in outcomes)

    @property
    def matched(self) -> int:
        """How often both sides agreed."""
        return self.total(Outcome.MATCH)

    @property
    def differed(self) -> int:
        """How often they did not, though both answered, and nobody expected it."""
        return self.total(*DIFFERENT)

    @property
    def answered(self) -> int:
        """How many comparisons say something: an error of a side does not."""
        return self.matched + self.differed

    @property
    def failed(self) -> int:
        """How often a side could not answer."""
        return self.total(*_ERRORS)

    @property
    def compared(self) -> int:
        """How many comparisons were made, whatever came of them."""
        return self.answered + self.failed + self.total(Outcome.EXPECTED)

    @property
    def parity(self) -> float | None:
        """Percent of those where both answered that matched; None where there are none."""
        return 100.0 * self.matched / self.answered if self.answered else None

    @property
    def last_differed(self) -> int | None:
        """When they last differed, in microseconds since 1970; None: not in 30 days."""
        return max((one.at for one in self.last if one.outcome in DIFFERENT), default=None)

    @property
    def clean(self) -> float | None:
        """Seconds since they last differed; None where they did not in 30 days."""
        at = self.last_differed
        return None if at is None else max(0.0, (self.now - at) / _SECOND)

    def falls_short(self, least: float, *, named: bool) -> str | None:
        """Return why a flag does not pass, in words; ``least`` is a parity in percent.

        ``named`` is one that somebody asked for by name: it has to have been compared.
        """
        if self.parity is not None:
            if self.parity >= least:
                return None
            return f"{self.flag}: parity is {shown(self.parity)} %, below {least:g} %"
        if self.failed:
            return f"{self.flag}: all that was compared failed, {self.failed:,} times"
        return f"{self.flag}: {self._nothing}" if named else None

    @property
    def _nothing(self) -> str:
        expected = self.total(Outcome.EXPECTED)
        return "nothing but expected differences" if expected else "nothing was compared"

    @property
    def objection(self) -> str | None:
        """What speaks against moving the flag on, in words; None where nothing does."""
        if self.differed:
            return f"{self.differed:,} of {self.answered:,} differ"
        if self.move is not None and self.move.unsynced:
            return f"one side lacks a write: {self.move.unsynced}"
        if not self.answered and not self.failed:
            return self._nothing
        share = 100.0 * self.failed / self.compared
        if share > MOST_ERRORS:
            return f"{share:.3g} % of {self.compared:,} failed"
        if self.answered < ENOUGH:
            return f"{self.answered:,} compared, and {ENOUGH:,} are enough"
        return None

    @property
    def moves(self) -> bool:
        """Whether it is a question at all: a flag is compared where it stands, as far as known."""
        stands = self.move is None or self.move.standing.stage.compares
        return stands and self.flag != OTHERS


@dataclass(frozen=True, slots=True)
class Watch:
    """What was compared from ``since`` to ``now`` (microseconds since 1970), by flag and pair."""

    since: int
    now: int
    flags: tuple[Watched, ...]
    named: frozenset[str] = frozenset()

    def failures(self, least: float) -> list[str]:
        """Return why it does not pass, in words; ``least`` is a parity in percent."""
        if not any(one.compared for one in self.flags) and not self.named:
            return ["nothing was compared"]
        said = [one.falls_short(least, named=one.flag in self.named) for one in self.flags]
        return [one for one in said if one is not None]


def watch(settings: Settings, flags: Iterable[str] = (), seconds: float = DAY) -> Watch:
    """Return what was compared in the last ``seconds`` (whole hours), of these flags or of all.

    Flags that are compared where they stand are there even if nothing was. Raises ConfigError
    without a control store that keeps such counts, and Unreachable, SchemaMissing.
    """
    named = tuple(dict.fromkeys(flags))
    with _comparisons(settings) as comparisons:
        kept = comparisons.kept(seconds, named)
    moves = _moves(settings)
    rows = _rows(kept, moves)
    there = {one.flag for one in rows}
    expected = named or [key for key, one in moves.items() if one.standing.stage.compares]
    rows += [
        Watched(key, "", kept.now, move=moves.get(key)) for key in expected if key not in there
    ]
    rows.sort(key=lambda one: (one.flag, one.pair))
    return Watch(kept.since, kept.now, tuple(rows), frozenset(named))


def doubts(settings: Settings, flags: Sequence[str]) -> dict[str, str]:
    """Return what the last day says against flags that move on, in words; nothing of the others.

    That they were compared less than is enough is nothing against them. Raises as :func:`watch`.
    """
    if not flags:
        return {}
    return {
        one.flag: one.objection
        for one in watch(settings, flags).flags
        if (one.differed or not one.answered) and one.objection is not None
    }


def _rows(kept: Kept, moves: Mapping[str, Move]) -> list[Watched]:
    counts: dict[tuple[str, str], dict[Outcome, int]] = {}
    for one in kept.counts:
        found = counts.setdefault((one.flag, one.pair), {})
        if one.outcome in _NAMES:  # newer code may know of others
            found[Outcome(one.outcome)] = one.count
    return [
        Watched(
            flag,
            pair,
            kept.now,
            MappingProxyType(outcomes),
            tuple(_last(kept, flag, pair)),
            moves.get(flag),
        )
        for (flag, pair), outcomes in counts.items()
    ]


def _last(kept: Kept, flag: str, pair: str) -> Iterator[Last]:
    found = [
        Last(outcome, *_decoded(kept.examples[pair, flag, outcome.value]))
        for outcome in Outcome
        if (pair, flag, outcome.value) in kept.examples
    ]
    yield from sorted(found, key=lambda one: -one.at)


def _decoded(example: tuple[int, str]) -> tuple[int, Mapping[str, Any]]:
    """Decode an example. Of one that somebody broke by hand there is when it was."""
    at, text = example
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    given = found if isinstance(found, dict) else {}
    sides = {one: {**_UNREAD, **_table(given.get(one))} for one in ("old", "new")}
    names = given.get("attributes")
    return at, {
        "who": str(given.get("who", "")),
        "attributes": [str(one) for one in names] if isinstance(names, list) else [],
        **sides,
    }


def _table(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, dict) else {}


def _moves(settings: Settings) -> dict[str, Move]:
    """Return where flags stand, nothing where no register is kept."""
    try:
        with stages(settings) as register:
            return register.all()
    except ConfigError:
        return {}


@contextmanager
def _comparisons(settings: Settings) -> Iterator[Comparisons]:
    """Give the counts of the control store, for whose sake no vendor's key is needed."""
    apart = settings.control.url not in (None, settings.provider.url)
    where = settings.for_control() if apart else side_settings(settings, PROVIDER)
    with reading(where) as provider:
        found: Comparisons | None = getattr(getattr(provider, "control", None), "comparisons", None)
        if found is None:
            message = "what is compared is kept in a control store, and none is named"
            raise ConfigError(
                message,
                hint="name a database in [control] url, such as postgresql:// or sqlite:///",
                origin=settings.origins.get("control.url"),
            )
        yield found
