"""The case that every contestant answers: the same flags, the same users, in plain data.

Imports nothing, so that a contestant's process holds what its SDK brings and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FLAGS = 10_000
PERCENT = 30

FLAG = "new-checkout"
"""A boolean flag at 30 %, with 100 targets."""
OFF = "old-banner"
"""Off."""
RULED = "team-export"
"""Two clauses over attributes, then a rollout at 30 %."""
KILLED = "bad-idea"
"""Killed by name, which leaves it nothing to decide."""
TAGGED = "agent-tools"
"""Carries the tag that is killed."""
KILLED_TAG = "agents"

TARGETS = tuple(f"user-{number * 97}" for number in range(100))
"""Who always gets the flag: among the users, as in life, so a hundredth of all calls."""

PLANS = ("team", "business")
COUNTRIES = ("DE", "FR", "PL")

USERS = tuple(f"user-{number}" for number in range(10_000))


@dataclass(frozen=True, slots=True)
class Plain:
    """A flag in nobody's format."""

    key: str
    on: bool = True
    percent: int = PERCENT
    targets: tuple[str, ...] = ()
    tag: str = ""


def flags(count: int = FLAGS) -> Iterator[Plain]:
    """Yield the case's flag first, then ``count - 1`` ordinary ones of two targets each."""
    yield Plain(FLAG, targets=TARGETS)
    yield from ordinary(count - 1)


def ordinary(count: int) -> Iterator[Plain]:
    """Yield ordinary flags: 30 %, two targets and one tag each."""
    for number in range(count):
        targets = (f"tester-{number}", f"owner-{number}")
        yield Plain(f"feature-{number:05}", targets=targets, tag=f"team-{number % 40}")


def pairs() -> list[tuple[str, str]]:
    """Return (flag, user) for every user, each with another of the ordinary flags, scattered."""
    keys = [flag.key for flag in ordinary(FLAGS - 1)]
    return [(keys[number * 7919 % len(keys)], user) for number, user in enumerate(USERS)]


ATTRIBUTES: tuple[dict[str, str], ...] = tuple(
    {"plan": plan, "country": country, "language": "en"} for plan in PLANS for country in COUNTRIES
)
"""Attributes of users. All pass both clauses, so that the rollout is reached."""


def attributes(number: int) -> dict[str, str]:
    """Return the attributes of a user, whom others share them with.

    A mapping for each of 10,000 users would be fetched from main memory at each call, where an
    application has just made the one that it asks with: what is measured is deciding.
    """
    return ATTRIBUTES[number % len(ATTRIBUTES)]
