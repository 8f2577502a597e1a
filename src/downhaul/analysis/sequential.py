"""Sequential checks: what each new window adds to their evidence, and what that says. Pure.

The evidence that a variant is worse lasts over all steps of a rollout; that it is not worse has to
be shown at each step anew, because a step shows it to other users.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.model import (
    Against,
    Check,
    Count,
    Counts,
    Finding,
    Measure,
    Sample,
    Verdict,
)
from downhaul.analysis.statistics import progress as statistics
from downhaul.analysis.statistics.likelihood import Tally
from downhaul.analysis.statistics.progress import Answer, Progress
from downhaul.analysis.statistics.split import MISMATCH, mismatch

_NOBODY: Final = Counts()
_NOTHING_YET: Final = Progress()


def gather(evidence: Evidence, sample: Sample, checks: Iterable[Check], variant: str) -> Evidence:
    """Return the evidence with a sample: its counts, and what it adds to each sequential check.

    The control is all other variants together.
    """
    treated = sample.arms.get(variant, _NOBODY)
    control = others(sample.arms, variant)
    progress = dict(evidence.progress)
    for check in checks:
        if check.sequential:
            before = progress.get(check.name, _NOTHING_YET)
            progress[check.name] = before.after(
                tally(check, treated), tally(check, control), _against(check)
            )
    return replace(evidence.add(sample), progress=progress)


def examine(check: Check, evidence: Evidence, alpha: float) -> Finding:
    """Return what a sequential check says, whose chance of a false alarm is ``alpha``."""
    progress = evidence.progress.get(check.name, _NOTHING_YET)
    treated, control = progress.treated, progress.control
    answer = progress.answer(alpha)
    verdict = _VERDICTS[answer]
    if not treated.requests and verdict is not Verdict.REGRESSED:
        verdict = Verdict.NO_DATA
    return Finding(
        check=check.name,
        verdict=verdict,
        value=_rate(check, treated),
        control=_rate(check, control) if check.against is Against.CONTROL else None,
        requests=treated.requests,
        dry_run=check.dry_run,
        message=_words(check, progress, alpha, verdict),
        evidence=_rounded(progress.worse.value),
        enough=_rounded(1 / alpha),
    )


def examine_split(check: Check, evidence: Evidence, variant: str, share: float) -> Finding:
    """Return whether users of this step got the variant as often as its ``share`` (0 to 1) says."""
    arms = evidence.since(None)
    treated, control = arms.get(variant, _NOBODY).new_users, others(arms, variant).new_users
    users = treated + control
    needed = max(1, check.min_sample)
    found = Finding(
        check=check.name,
        verdict=Verdict.NO_DATA,
        value=treated / users if users else None,
        control=share,
        requests=users,
        needed=needed,
        dry_run=check.dry_run,
        message="no users were counted",
    )
    if not users or not 0 < share < 1:
        return found
    value = mismatch((treated, control), (share, 1 - share))
    enough = 1 / MISMATCH
    verdict = Verdict.UNDECIDED if users < needed else Verdict.CLEAN
    if value >= enough:
        verdict = Verdict.REGRESSED
    words = f"{treated} of {users} users got the variant, where {share * 100:.4g} % should"
    if verdict is Verdict.REGRESSED:
        words += f": chance alone does that once in {enough:g} rollouts at most"
    return replace(found, verdict=verdict, message=words, evidence=_rounded(value), enough=enough)


def others(arms: Mapping[str, Counts], variant: str) -> Counts:
    """Return the counts of all variants but this one."""
    together = _NOBODY
    for name, counts in arms.items():
        if name != variant:
            together += counts
    return together


def tally(check: Check, counts: Counts) -> Tally:
    """Return how many of how many are bad, as the check looks at it; never more than there are."""
    if check.count is Count.USERS:
        many = counts.users if check.against is Against.CONTROL else counts.new_users
        return Tally(max(0, many), max(0, _bad_users(check, counts)))
    if check.measure is Measure.SLOW_RATE:
        timed = max(0, counts.timed)
        return Tally(timed, min(timed, max(0, counts.slow.get(check.slower_than or 0.0, 0))))
    requests = max(0, counts.requests)
    bad = counts.errors if check.measure is Measure.ERROR_RATE else requests - counts.successes
    return Tally(requests, min(requests, max(0, bad)))


def _bad_users(check: Check, counts: Counts) -> int:
    match check.measure:
        case Measure.SLOW_RATE:
            return counts.slow_users.get(check.slower_than or 0.0, 0)
        case Measure.ERROR_RATE:
            return counts.error_users
        case _:
            return counts.failed_users


def _against(check: Check) -> statistics.Against:
    if check.against is Against.SLO:
        limit = check.limit or 0.0
        if check.measure is Measure.SUCCESS_RATE:
            limit = 1 - limit
        return statistics.Against(limit=limit, together=check.together)
    return statistics.Against(
        margin=1 + check.tolerate, bound=check.clean_below, together=check.together
    )


def _rate(check: Check, tally: Tally) -> float | None:
    """Return the rate in the measure's own unit: of a success rate what was good."""
    if not tally.requests:
        return None
    bad = tally.bad / tally.requests
    return 1 - bad if check.measure is Measure.SUCCESS_RATE else bad


def _rounded(value: float) -> float:
    """Return evidence as people and JSON can hold it."""
    return float(f"{min(value, 1e300):.4g}") if math.isfinite(value) else 1e300


_VERDICTS: Final = {
    Answer.WORSE: Verdict.REGRESSED,
    Answer.NOT_WORSE: Verdict.CLEAN,
    Answer.UNDECIDED: Verdict.UNDECIDED,
}


# --- in words


def _words(check: Check, progress: Progress, alpha: float, verdict: Verdict) -> str:
    treated, control = progress.treated, progress.control
    if verdict is Verdict.NO_DATA:
        return "no users" if check.count is Count.USERS else "no requests"
    seen = f"{_found(check, treated)}; "
    if check.against is Against.CONTROL:
        seen += f"the others {_found(check, control)}; "
    match verdict:
        case Verdict.CLEAN:
            return f"{seen}it is shown to be {_bound(check)}"
        case Verdict.REGRESSED:
            odds = f"{progress.worse.value:.3g} to 1"
            return f"{seen}{odds} that it is worse, and {1 / alpha:.3g} to 1 is enough"
    odds = f"{progress.worse.value:.2g} to 1 that it is worse, of {1 / alpha:.3g} to 1"
    return f"{seen}not shown to be {_bound(check)} yet ({odds})"


def _bound(check: Check) -> str:
    if check.against is Against.SLO:
        rate = "success rate" if check.measure is Measure.SUCCESS_RATE else "rate"
        side = "above" if check.measure is Measure.SUCCESS_RATE else "below"
        return f"{side} a {rate} of {(check.limit or 0) * 100:g} %"
    return f"below {check.clean_below:g} times the others"


def _found(check: Check, tally: Tally) -> str:
    what = "users" if check.count is Count.USERS else "requests"
    kind = {
        Measure.ERROR_RATE: "with errors" if check.count is Count.USERS else "in error",
        Measure.SUCCESS_RATE: "without success",
        Measure.SLOW_RATE: f"slower than {check.slower_than or 0:g} ms",
    }[check.measure]
    share = f" ({tally.bad / tally.requests * 100:.3g} %)" if tally.requests else ""
    return f"{tally.bad} of {tally.requests} {what} {kind}{share}"
