"""The service's own log, and whether it agrees with what the store says happened.

Nothing here asks the code under test what an answer should have been: the history gives the flag's
documents and their times, the bucket of a user decides, and each logged answer is held against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from downhaul.demo.agents import AGENT
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import WHOLE
from downhaul.provider import ChangeRecord

SECOND: Final = 1.0
"""How long a process may take to follow a change."""

_CLOCK: Final = 0.005  # SQLite rounds its clock to milliseconds


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an agent, as the service logged it; ``at`` is seconds since 1970."""

    at: float
    until: float
    process: int
    user: str
    variant: str
    failed: bool


class AnswerLog:
    """All that the processes logged, in the order of time."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = sorted(answers, key=lambda one: one.at)

    @classmethod
    def read(cls, files: Sequence[Path]) -> Self:
        """Read the logs as they are now; a line that is being written is left out."""
        return cls(one for number, file in enumerate(files) for one in _lines(file, number))

    def between(self, since: float, until: float) -> list[Answer]:
        """Return the answers of requests that came in this time."""
        return [one for one in self.answers if since <= one.at < until]


def _lines(file: Path, process: int) -> Iterator[Answer]:
    if not file.exists():
        return
    *whole, _unfinished = file.read_text(encoding="utf-8").split("\n")
    for line in whole:
        at, user, variant, outcome, took = line.split(" ")
        begun = float(at)
        until = begun + float(took) / 1000
        yield Answer(begun, until, process, user, variant, outcome == "failed")


@dataclass(frozen=True, slots=True)
class Moment:
    """How the flag stood from a moment on: whom it served what, as edges of buckets."""

    since: float
    edges: tuple[tuple[int, str], ...]

    def serves(self, place: int) -> str:
        """Return the variant of a bucket."""
        return next(variant for edge, variant in self.edges if place < edge)


class Course:
    """How the flag stood at every time, out of the store's history."""

    def __init__(self, history: Iterable[ChangeRecord], flag: str = AGENT) -> None:
        self.moments: list[Moment] = []
        document: Mapping[str, Any] = {}
        killed = False
        for one in history:
            if one.key != flag or one.entity not in ("flag", "kill"):
                continue
            if one.entity == "kill":
                killed = one.action == "kill"
            else:
                document = one.after or {}
            self.moments.append(Moment(time_of(one.at), _edges(document, killed=killed)))
        self._flag = flag
        self._buckets: dict[str, int] = {}

    def bucket(self, user: str) -> int:
        """Return a user's bucket for the flag."""
        if user not in self._buckets:
            self._buckets[user] = int(bucket(self._flag, user, WHOLE))
        return self._buckets[user]

    def expected(self, user: str) -> str:
        """Return what a user is to get by the last word of the history."""
        return self.moments[-1].serves(self.bucket(user))

    def allows(self, answer: Answer) -> bool:
        """Return whether an answer is what the flag said then, or at most a second before."""
        place = self.bucket(answer.user)
        ends = [*(one.since for one in self.moments[1:]), float("inf")]
        return any(
            moment.serves(place) == answer.variant
            for moment, end in zip(self.moments, ends, strict=True)
            if moment.since - _CLOCK <= answer.until and end > answer.at - SECOND
        )


def _edges(document: Mapping[str, Any], *, killed: bool) -> tuple[tuple[int, str], ...]:
    if killed or not document["on"]:
        return ((WHOLE, str(document["off_variant"])),)
    default = document["default"]
    if isinstance(default, str):
        return ((WHOLE, default),)
    edge = 0
    found = []
    for weight in default["split"]:
        edge += int(weight["weight"])
        found.append((edge, str(weight["variant"])))
    return tuple(found)


def time_of(text: str) -> float:
    """Return a time of the history in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def lost(answers: Iterable[Answer], variant: str) -> int:
    """Return how many users got the variant once and another one later."""
    had: set[str] = set()
    fell: set[str] = set()
    for one in answers:
        if one.variant == variant:
            had.add(one.user)
        elif one.user in had:
            fell.add(one.user)
    return len(fell)
