"""Asking both sides, and keeping count (rule M3)."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from downhaul.flag import FlagKind
from downhaul.migrate.verify.cases import Case, Coverage
from downhaul.migrate.verify.outcomes import Compared, Outcome, compared
from downhaul.migrate.verify.report import Example, Expectation, FlagReport, Hiding, Report
from downhaul.migrate.verify.sides import Asked
from downhaul.result import Result
from downhaul.staging import Side

_BATCH: Final = 20_000
"""Cases that are held in memory at a time, and asked flag by flag."""

_TOLD: Final = frozenset({
    Outcome.VARIANT_ONLY, Outcome.VALUE, Outcome.TYPE, Outcome.NOT_FOUND, Outcome.ERROR,
})  # fmt: skip
"""Outcomes of which there are examples. Reasons differ between any two vendors."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a verification is held to.

    ``threshold``: the least parity, ``most_errors``: the most errors, both in percent of cases.
    ``examples`` are kept for each flag and outcome. ``show_attributes`` puts the values of
    attributes into them. ``salt`` makes the hashes of identities; random unless given.
    """

    threshold: float = 100.0
    most_errors: float = 1.0
    examples: int = 5
    expected: tuple[Expectation, ...] = ()
    show_attributes: bool = False
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)


def verify(
    old: Asked,
    new: Asked,
    cases: Iterable[Case],
    *,
    flags: Iterable[str] = (),
    kinds: Mapping[str, FlagKind] | None = None,
    coverage: Mapping[str, Coverage] | None = None,
    options: Options | None = None,
    today: Callable[[], dt.date] = dt.date.today,
) -> Report:
    """Ask both sides all cases, and return how they compare. Cases may be a stream of millions.

    ``flags`` are those that have to be compared, and are reported even if no case asks about them.
    ``kinds`` say what a flag holds to a side that keeps text only. Raises Refused where a side is
    not ready.
    """
    options = options or Options()
    kinds = kinds or {}
    for side in (old, new):
        side.require_ready()
    began = time.perf_counter()
    tallies = {key: _Tally(key, options, today()) for key in sorted(set(flags))}
    for batch in _batches(cases):
        for key, asked in batch.items():
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = _Tally(key, options, today())
            contexts = [case.context for case in asked]
            kind = kinds.get(key)
            tally.take(asked, old.answers(key, contexts, kind), new.answers(key, contexts, kind))
    covered = coverage or {}
    reports = tuple(tallies[key].report(covered.get(key)) for key in sorted(tallies))
    return _report(old, new, reports, tallies.values(), options, today(), began)


def _report(
    old: Asked,
    new: Asked,
    flags: tuple[FlagReport, ...],
    tallies: Iterable[_Tally],
    options: Options,
    today: dt.date,
    began: float,
) -> Report:
    met = [one for tally in tallies for one in tally.met]
    known = old.keys is not None and new.keys is not None
    return Report(
        old=old.name,
        new=new.name,
        flags=flags,
        threshold=options.threshold,
        most_errors=options.most_errors,
        only_old=tuple(
            sorted((old.keys or frozenset()) - (new.keys or frozenset())) if known else ()
        ),
        only_new=tuple(
            sorted((new.keys or frozenset()) - (old.keys or frozenset())) if known else ()
        ),
        expired=tuple(one for one in options.expected if one.until < today),
        unused=tuple(one for one in options.expected if one.until >= today and one not in met),
        seconds=time.perf_counter() - began,
    )


def _batches(cases: Iterable[Case]) -> Iterator[dict[str, list[Case]]]:
    """Yield cases by flag, some thousand at a time."""
    stream = iter(cases)
    while part := list(islice(stream, _BATCH)):
        found: dict[str, list[Case]] = {}
        for case in part:
            found.setdefault(case.flag, []).append(case)
        yield found


class _Tally:
    """The counts of one flag as they grow."""

    def __init__(self, flag: str, options: Options, today: dt.date) -> None:
        self.flag = flag
        self.met: list[Expectation] = []
        self._most = options.examples
        self._hiding = Hiding(options.salt, options.show_attributes)
        self._expected = [one for one in options.expected if one.covers(flag, today)]
        self._counts: Counter[Outcome] = Counter()
        self._by: dict[Outcome, Counter[Side]] = {}
        self._expected_count = 0
        self._cases = 0
        self._examples: dict[Outcome, list[Example]] = {}

    def take(self, cases: Sequence[Case], old: Sequence[Result], new: Sequence[Result]) -> None:
        """Count some cases. Answers that are the same objects compare the same."""
        known: dict[tuple[int, int], Compared] = {}
        pairs: Counter[tuple[int, int]] = Counter()
        for case, one, other in zip(cases, old, new, strict=True):
            pair = (id(one), id(other))
            found = known.get(pair)
            if found is None:
                found = known[pair] = compared(one, other)
            pairs[pair] += 1
            if found.outcome in _TOLD:
                expected = self._expects(case, found.outcome, one, other)
                self._keep(case, found, one, other, expected)
        self._cases += len(cases)
        for pair, count in pairs.items():
            self._count(known[pair], count)

    def _count(self, found: Compared, count: int) -> None:
        self._counts[found.outcome] += count
        by = self._by.setdefault(found.outcome, Counter())
        for side in found.sides:
            by[side] += count

    def _expects(self, case: Case, outcome: Outcome, *answers: Result) -> str:
        """Return why a case may differ, and count it; empty where nobody expects it to."""
        if outcome.agrees or outcome is Outcome.ERROR:
            return ""
        for one in self._expected:
            if one.knows(case.about, *answers):
                self._expected_count += 1
                if one not in self.met:
                    self.met.append(one)
                return one.reason
        return ""

    def _keep(self, case: Case, found: Compared, old: Result, new: Result, expected: str) -> None:
        kept = self._examples.setdefault(found.outcome, [])
        if len(kept) < self._most:
            kept.append(self._hiding.example(case, found, old, new, expected))

    def report(self, coverage: Coverage | None) -> FlagReport:
        """Return the counts."""
        counts = self._counts
        return FlagReport(
            flag=self.flag,
            cases=self._cases,
            match=sum(count for outcome, count in counts.items() if outcome.agrees),
            variant_only=counts[Outcome.VARIANT_ONLY],
            reason_only=counts[Outcome.REASON_ONLY],
            value=counts[Outcome.VALUE],
            type=counts[Outcome.TYPE],
            not_found=counts[Outcome.NOT_FOUND],
            error=counts[Outcome.ERROR],
            expected=self._expected_count,
            not_found_by=_frozen(self._by.get(Outcome.NOT_FOUND)),
            error_by=_frozen(self._by.get(Outcome.ERROR)),
            examples=tuple(one for outcome in Outcome for one in self._examples.get(outcome, ())),
            coverage=coverage,
        )


def _frozen(counts: Mapping[Side, int] | None) -> Mapping[Side, int]:
    found: dict[Any, int] = {side: (counts or {}).get(side, 0) for side in Side}
    return MappingProxyType(found)
