"""The floor: the least that pure Python can do for the case, with the hash of rule E6.

A dictionary of slotted flags, a frozenset for the targets, the bytes before the key made beforehand
for every length of key in the case, one call into mmh3, one comparison. No kills, contexts,
results, errors or threads are thought of: it is what is left when a flag library does nothing but
decide.
"""

from __future__ import annotations

from collections.abc import Callable

import case
import mmh3
from contestant import Measure, Prepared


class Flag:
    """A flag as slots."""

    __slots__ = ("heads", "limit", "on", "targets")

    def __init__(self, plain: case.Plain) -> None:
        self.on = plain.on
        self.targets = frozenset(plain.targets)
        self.limit = -(-plain.percent * 1000 * (1 << 32) // 100_000)
        salt = plain.key.encode()
        before = b"\x82" + _head(len(salt)) + salt
        self.heads = [before + _head(n) if n in _LENGTHS else b"" for n in range(_LONGEST + 1)]


_LENGTHS = {len(user) for user in case.USERS}
_LONGEST = max(_LENGTHS)


def _head(length: int) -> bytes:
    return bytes([0x60 | length]) if length < 24 else bytes([0x78, length])


def decider() -> Callable[[str, str], bool]:
    """Load the flags, and return the one function that decides."""
    flags = {plain.key: Flag(plain) for plain in case.flags()}
    flags[case.OFF] = Flag(case.Plain(case.OFF, on=False))

    def is_enabled(flag: str, user: str, digest=mmh3.mmh3_32_uintdigest) -> bool:  # noqa: ANN001
        found = flags[flag]
        if not found.on:
            return False
        if user in found.targets:
            return True
        key = user.encode()
        return digest(found.heads[len(key)] + key) < found.limit

    return is_enabled


def prepare() -> Prepared:
    """Load the flags."""
    is_enabled = decider()
    users, pairs, flag, off = case.USERS, case.pairs(), case.FLAG, case.OFF

    def run_case() -> None:
        for user in users:
            is_enabled(flag, user)

    def run_off() -> None:
        for user in users:
            is_enabled(off, user)

    def run_scattered() -> None:
        for another, user in pairs:
            is_enabled(another, user)

    def run_nothing() -> None:
        for _user in users:
            pass

    return Prepared(
        {
            "case": Measure(run_case, len(users)),
            "off": Measure(run_off, len(users)),
            "scattered": Measure(run_scattered, len(pairs)),
            "empty loop": Measure(run_nothing, len(users)),
        },
        lambda: [is_enabled(flag, user) for user in users],
        "mmh3",
    )
