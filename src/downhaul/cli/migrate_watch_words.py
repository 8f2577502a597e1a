"""What was compared in production, as lines for people and data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from downhaul.cli.output import plain
from downhaul.cli.rollout_words import SECOND, moment
from downhaul.flag import WHOLE
from downhaul.migrate.verify.report import shown
from downhaul.migrate.watching import ENOUGH, Last, Watch, Watched
from downhaul.spans import span_text
from downhaul.staging import Standing
from downhaul.wrappers.comparisons import DIFFERENT, Outcome

_MANY: Final = 20  # flags that a sentence names
_SORTS: Final = {
    Outcome.VALUE: "another value",
    Outcome.TYPE: "a value of another type",
    Outcome.NOT_FOUND: "not found",
    Outcome.ERROR_OLD: "no answer from the old side",
    Outcome.ERROR_NEW: "no answer from the new side",
}


def table(watch: Watch) -> tuple[list[str], list[list[str]]]:
    """Return headings, and a row for each flag and pair. One pair alone is not named."""
    several = len({one.pair for one in watch.flags} - {""}) > 1
    headings = ["flag", "stage", *(["sides"] if several else []), "compared", "matched", "parity"]
    headings += ["differ", "errors", "expected", "dropped", "last differed"]
    rows = [_row(one, several=several) for one in watch.flags]
    return headings, [[plain(cell) for cell in row] for row in rows]


def _row(one: Watched, *, several: bool) -> list[str]:
    return [
        one.flag,
        "-" if one.move is None else _stage(one.move.standing),
        *([one.pair or "-"] if several else []),
        f"{one.compared:,}",
        f"{one.matched:,}",
        "-" if one.parity is None else f"{shown(one.parity)} %",
        _sorts(one, {"value": Outcome.VALUE, "type": Outcome.TYPE, "not found": Outcome.NOT_FOUND}),
        _sorts(one, {"old": Outcome.ERROR_OLD, "new": Outcome.ERROR_NEW}),
        f"{one.total(Outcome.EXPECTED):,}",
        f"{one.total(Outcome.DROPPED):,}",
        "-" if one.clean is None else f"{span_text(round(one.clean))} ago",
    ]


def _sorts(one: Watched, sorts: Mapping[str, Outcome]) -> str:
    """Return counts with their sort, those that there are: ``2 value, 1 type``."""
    found = (f"{one.total(it):,} {name}" for name, it in sorts.items() if one.total(it))
    return ", ".join(found) or "-"


def _stage(standing: Standing) -> str:
    share = "" if standing.share >= WHOLE else f" {standing.share / 1000:g} %"
    return f"{standing.stage.value}{share}"


def example_lines(watch: Watch) -> Iterator[str]:
    """Yield the last example of each flag that differs, or that a side had no answer for."""
    for one in watch.flags:
        for last in one.last:
            if one.total(last.outcome) and last.outcome in _SORTS:
                yield from _example(one, last)


def _example(one: Watched, last: Last) -> Iterator[str]:
    ago = span_text(round(max(0.0, (one.now - last.at) / SECOND)))
    yield f"{one.flag}: {_SORTS[last.outcome]}, {ago} ago"
    example = last.example
    for side in ("old", "new"):
        yield f"  {side}  {_answer(example[side])}"
    who = f"for {example['who']}" if example["who"] else "without a targeting key"
    names = f"with {', '.join(example['attributes'])}" if example["attributes"] else "no attributes"
    yield f"  asked {who}, {names}"


def _answer(answer: Mapping[str, Any]) -> str:
    said = answer["error"] or f"{answer['value']} ({answer['variant'] or 'no variant'})"
    return f"{answer['provider'] or 'nobody'}: {said}"


def sentences(watch: Watch) -> Iterator[str]:
    """Yield what could be moved on, and what not and why."""
    since = moment(watch.since)
    asked = [one for one in watch.flags if one.moves]
    ready = [one.flag for one in asked if one.objection is None]
    if ready:
        yield (
            f"could move on: {listed(ready)} ({ENOUGH:,} comparisons or more, and no difference "
            f"since {since})"
        )
    held = [f"{one.flag} ({one.objection})" for one in asked if one.objection is not None]
    if held:
        yield f"not yet: {listed(held)}"
    if not asked:
        yield f"no flag is compared since {since}: see downhaul migrate status"


def listed(names: Sequence[str]) -> str:
    """Return names in a row, the first twenty of them."""
    more = len(names) - _MANY
    return ", ".join(names[:_MANY]) + (f" and {more} more" if more > 0 else "")


def short(watched: Sequence[Watched]) -> str:
    """Return what was compared of one flag, over all pairs: ``1,204 compared, 2 differ``."""
    compared, differed, failed = totals(watched)
    if not compared:
        return "nothing compared"
    said = f"{compared:,} compared, {f'{differed:,}' if differed else 'none'} differ"
    return f"{said}, {failed:,} failed" if failed else said


def totals(watched: Sequence[Watched]) -> tuple[int, int, int]:
    """Return how many were compared, how many differed and how many failed, over all pairs."""
    return (
        sum(one.compared for one in watched),
        sum(one.differed for one in watched),
        sum(one.failed for one in watched),
    )


def watch_data(watch: Watch, least: float, failures: list[str]) -> dict[str, Any]:
    """Return what was compared as data."""
    return {
        "since": moment(watch.since),
        "until": moment(watch.now),
        "min_parity": least,
        "enough": ENOUGH,
        "passed": not failures,
        "failures": failures,
        "flags": [_data(one) for one in watch.flags],
    }


def _data(one: Watched) -> dict[str, Any]:
    return {
        "flag": one.flag,
        "sides": one.pair or None,
        "stage": None if one.move is None else one.move.standing.stage.value,
        "percent": None if one.move is None else one.move.standing.share / 1000,
        "compared": one.compared,
        "answered": one.answered,
        "matched": one.matched,
        "differed": one.differed,
        **{
            outcome.value: one.total(outcome) for outcome in Outcome if outcome is not Outcome.MATCH
        },
        "parity": one.parity,
        "last_differed": None if one.last_differed is None else moment(one.last_differed),
        "clean_for": one.clean,
        "objection": one.objection,
        "could_move_on": one.moves and one.objection is None,
        "examples": [
            {
                "outcome": last.outcome.value,
                "differs": last.outcome in DIFFERENT,
                "at": moment(last.at),
                **last.example,
            }
            for last in one.last
        ],
    }
