"""Asking both sides of a move the same questions, and noting who is in step (rules M3 and M4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downhaul.errors import FlagNotFound
from downhaul.migrate.moving import note_verified
from downhaul.migrate.sides import reading, ref_of, side_settings
from downhaul.migrate.verify import (
    Case,
    Options,
    Report,
    asked_of,
    cases_from,
    of_flags,
    questions_in,
    recorded,
    verify,
)

if TYPE_CHECKING:
    from downhaul.config import Settings

_WITHIN: Final = 30.0  # seconds in which both sides must have their flags


def prove(
    settings: Settings,
    source: str,
    target: str,
    *,
    keys: Sequence[str] = (),
    traffic: Sequence[Path] = (),
    options: Options | None = None,
    ready_within: float = _WITHIN,
) -> Report:
    """Ask both sides about flags that both have, and return how they compare.

    The questions are made of the rules of the source's flags; ``traffic`` are files with recorded
    contexts, asked beside them. No kill lies over either side. Raises FlagNotFound for a key that
    the source has not, Refused where a side does not get ready, and what reading a side raises.
    """
    here, there = side_settings(settings, source), side_settings(settings, target)
    with reading(here) as old, reading(there) as new:
        exported = old.export().flag_set()
        chosen = list(keys) or sorted(exported.flags.keys() & new.export().flag_set().flags.keys())
        for key in chosen:
            if key not in exported.flags:
                message = f'{source} has no flag "{key}"'
                raise FlagNotFound(message, flag=key, provider=old.name)
        questions = questions_in(exported.flags, exported.segments, chosen)
        kinds = {key: flag.kind for key, flag in exported.flags.items()}
        with (
            asked_of(old, kinds, here.flags, ready_within=ready_within) as asked_old,
            asked_of(new, kinds, there.flags, ready_within=ready_within) as asked_new,
        ):
            return verify(
                asked_old,
                asked_new,
                chain(of_flags(questions), _from_traffic(traffic, chosen)),
                flags=chosen,
                kinds=kinds,
                coverage={key: one.coverage for key, one in zip(chosen, questions, strict=True)},
                options=options,
            )


def note_in_step(
    settings: Settings,
    source: str,
    target: str,
    report: Report,
    *,
    actor: str | None = None,
    reason: str = "",
) -> tuple[str, ...]:
    """Write down which flags the report proves to be in step; return those that are on their way.

    Those count that by themselves reach the report's threshold, without an error. Of those that
    don't, it is written down how many cases differ.
    """
    proved = [one.flag for one in report.flags if not report.falls_short(one) and not one.error]
    differing = {
        one.flag: f"{one.compared - one.agreeing} of {one.compared} cases differ"
        for one in report.flags
        if one.compared and report.falls_short(one)
    }
    said = reason or f"{report.cases} cases compared"
    sides = tuple(ref_of(one, side_settings(settings, one)).name for one in (source, target))
    return note_verified(
        settings, (sides[0], sides[1]), proved, differing, actor=actor, reason=said
    )


def _from_traffic(traffic: Sequence[Path], keys: Sequence[str]) -> Iterator[Case]:
    for path in traffic:
        yield from cases_from(recorded(path), keys, path.name)
