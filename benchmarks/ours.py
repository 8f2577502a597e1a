"""Downhaul on the case: what an application calls, and nothing that is private."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import case
from contestant import Measure, Prepared

from downhaul import Context, Flag, Flags
from downhaul.flag import Clause, Operator, Rule, percentage

_THREADS = 16


def flag_of(plain: case.Plain) -> Flag:
    """Return a flag of the case in our model."""
    tags = (plain.tag,) if plain.tag else ()
    return Flag.boolean(
        plain.key, on=plain.on, percent=plain.percent, allow=plain.targets, tags=tags
    )


def special() -> Iterable[Flag]:
    """Yield the flags that only we are asked about, and that have kills and rules."""
    clauses = (
        Clause("plan", Operator.IN, case.PLANS),
        Clause("country", Operator.IN, case.COUNTRIES),
    )
    rule = Rule(percentage("on", case.PERCENT, rest="off"), clauses)
    yield Flag.boolean(case.OFF, on=False)
    yield Flag(key=case.RULED, default="off", on=True, rules=(rule,))
    yield Flag.boolean(case.KILLED, percent=case.PERCENT)
    yield Flag.boolean(case.TAGGED, percent=case.PERCENT, tags=(case.KILLED_TAG,))


def client(count: int = case.FLAGS) -> Flags:
    """Return a client over ``count`` flags, with the kills of the case in place."""
    flags = Flags.in_memory([*map(flag_of, case.flags(count)), *special()])
    with flags.operator("benchmark") as operator:
        operator.kill(case.KILLED, "measured")
        operator.kill(f"tag:{case.KILLED_TAG}", "measured")
    return flags


def prepare() -> Prepared:
    """Load the flags."""
    flags = client()
    measures = {
        **_plain(flags),
        **_with_contexts(flags),
        "threads 1": _threads(flags, 1),
        f"threads {_THREADS}": _threads(flags, _THREADS),
    }
    return Prepared(
        measures, lambda: [flags.is_enabled(case.FLAG, user) for user in case.USERS], "downhaul"
    )


def _plain(flags: Flags) -> dict[str, Measure]:
    users, pairs = case.USERS, case.pairs()

    def asking(flag: str) -> Measure:
        def run() -> None:
            for user in users:
                flags.is_enabled(flag, user)

        return Measure(run, len(users))

    def run_scattered() -> None:
        for another, user in pairs:
            flags.is_enabled(another, user)

    return {
        "case": asking(case.FLAG),
        "off": asking(case.OFF),
        "killed": asking(case.KILLED),
        "killed by tag": asking(case.TAGGED),
        "scattered": Measure(run_scattered, len(pairs)),
    }


def _with_contexts(flags: Flags) -> dict[str, Measure]:
    users, flag, ruled = case.USERS, case.FLAG, case.RULED
    attributes = [case.attributes(number) for number in range(len(users))]
    contexts = [Context(user, one) for user, one in zip(users, attributes, strict=True)]
    rows = list(zip(users, attributes, strict=True))

    def run_evaluate() -> None:
        for context in contexts:
            flags.evaluate(flag, context, False)

    def run_fresh() -> None:
        for user, own in rows:
            flags.evaluate(flag, Context(user, own), False)

    def run_ruled() -> None:
        for context in contexts:
            flags.is_enabled(ruled, context)

    def measure(run: Callable[[], None]) -> Measure:
        return Measure(run, len(users))

    return {
        "evaluate": measure(run_evaluate),
        "evaluate, fresh context": measure(run_fresh),
        "rule": measure(run_ruled),
    }


def _threads(flags: Flags, count: int) -> Measure:
    users, flag = case.USERS, case.FLAG
    each = _THREADS // count

    def work() -> None:
        for _ in range(each):
            for user in users:
                flags.is_enabled(flag, user)

    def run() -> None:
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return Measure(run, each * count * len(users))
