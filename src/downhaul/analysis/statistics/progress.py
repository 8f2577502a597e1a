"""One check's evidence as it grows, and its three answers: worse, not worse, undecided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from downhaul.analysis.statistics.budget import DOUBT, FALSE_CLEAN
from downhaul.analysis.statistics.dispersion import Dispersion
from downhaul.analysis.statistics.evalues import Onset, Product, Recent
from downhaul.analysis.statistics.likelihood import (
    BETTER,
    WORSE,
    Tally,
    against_control,
    against_limit,
)

_NOBODY: Final = Tally(0, 0)
_NO_DOUBT: Final = Onset.of(len(WORSE))
_NO_LATE_DOUBT: Final = Recent.of(len(WORSE))
_NOTHING_SHOWN: Final = Product.of(len(BETTER))
_NOT_KNOWN: Final = Dispersion()


class Answer(StrEnum):
    """What the evidence says."""

    WORSE = "worse"
    NOT_WORSE = "not_worse"
    """It is shown to be below the bound: evidence to promote, not lack of evidence against."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Against:
    """What a variant is compared with: the control at the same time, or a ``limit``.

    It is worse above ``margin`` times the control's rate. It is not worse once it is shown to be
    below ``bound`` times that rate. With a limit, both are the limit. ``together`` is how many bad
    requests of one user count as one, where that is known beforehand.
    """

    margin: float = 1.0
    bound: float = 2.0
    limit: float | None = None
    together: float = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What was gathered so far. ``worse`` and ``doubt`` last over all steps, ``better`` over one.

    ``treated`` and ``control`` are what the step had, as far as it could be compared.
    """

    worse: Onset = _NO_DOUBT
    doubt: Recent = _NO_LATE_DOUBT
    better: Product = _NOTHING_SHOWN
    dispersion: Dispersion = _NOT_KNOWN
    treated: Tally = _NOBODY
    control: Tally = _NOBODY

    def after(self, treated: Tally, control: Tally, against: Against) -> Progress:
        """Return this after a window in which the arms had these requests."""
        # Of users, who came earlier may turn out bad in a window without anybody new.
        if treated.requests <= 0 and (against.limit is None or treated.bad <= 0):
            return replace(self, dispersion=self.dispersion.after(control))
        if against.limit is not None:
            worse = against_limit(treated, against.limit, WORSE)
            better = against_limit(treated, against.limit, BETTER)
        elif control.requests > 0:
            worse = against_control(treated, control, against.margin, WORSE)
            better = against_control(treated, control, against.bound, BETTER)
        else:
            return self
        # Of what came before: a window does not discount itself.
        factor = max(against.together, self.dispersion.factor)
        found = [one / factor for one in worse]
        return Progress(
            self.worse.after(found, treated.requests),
            self.doubt.after(found),
            self.better.after([one / factor for one in better]),
            self.dispersion.after(control),
            _together(self.treated, treated),
            _together(self.control, control),
        )

    def for_step(self) -> Progress:
        """Return this for a step that begins: doubt stays, and what is clean is shown anew."""
        return replace(self, better=_NOTHING_SHOWN, treated=_NOBODY, control=_NOBODY)

    def answer(self, alpha: float) -> Answer:
        """Return what this says, where chance may say worse with a chance of ``alpha``."""
        if self.worse.value >= 1 / alpha:
            return Answer.WORSE
        if self.doubt.value < DOUBT and self.better.value >= 1 / FALSE_CLEAN:
            return Answer.NOT_WORSE
        return Answer.UNDECIDED

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data."""
        spread = self.dispersion
        return {
            "worse": list(self.worse.values),
            "seen": self.worse.seen,
            "doubt": list(self.doubt.values),
            "better": list(self.better.values),
            "dispersion": [
                spread.requests, spread.bad, spread.before_requests, spread.before_bad,
                spread.total, spread.compared,
            ],
            "treated": [self.treated.requests, self.treated.bad],
            "control": [self.control.requests, self.control.bad],
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Progress:
        """Return what :meth:`as_mapping` wrote. Raises ValueError for another set of tests."""
        worse, better = tuple(map(float, data["worse"])), tuple(map(float, data["better"]))
        doubt = tuple(map(float, data["doubt"]))
        found = (len(worse), len(doubt), len(better))
        if found != (len(WORSE), len(WORSE), len(BETTER)):
            message = f"{found} are other alternatives than those of this version"
            raise ValueError(message)
        return cls(
            Onset(worse, float(data["seen"])),
            Recent(doubt),
            Product(better),
            Dispersion(*data["dispersion"]),
            Tally(*map(int, data["treated"])),
            Tally(*map(int, data["control"])),
        )


def _together(one: Tally, other: Tally) -> Tally:
    return Tally(one.requests + other.requests, one.bad + other.bad)
