"""One flag for many contexts: the scalar decision, run as a pipeline of built-in functions.

A loop in Python costs twice the hashing itself. For the common shape (user targets and a split in
two) the stages run in C over lists; for any other shape, and any context that is no plain
non-empty string, the scalar decision is called. The answers are the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Any

import mmh3

from downhaul.evaluator.bucketing import Heads
from downhaul.evaluator.outcome import Decide
from downhaul.evaluator.shapes import salt_of, two_way
from downhaul.flag import USER, Flag, FlagKind, Split
from downhaul.result import Result

_CHUNK = 10_000  # keeps the lists between the stages in the processor's cache


def results_of(flag: Flag | None, decide: Decide[Result], contexts: Sequence[Any]) -> list[Result]:
    """Return the decision for each context, in order. ``flag`` None: nothing is known of its shape.

    Both are of one moment (:meth:`.View.decision`). Raises what the decision raises
    (InvalidContext).
    """
    shape = None if flag is None else _shape(flag)
    if shape is None:
        return [decide(context) for context in contexts]
    targeted, salt, limit = shape
    heads = Heads(salt)
    samples: dict[bool, Result] = {}
    answers: list[Result] = []
    for start in range(0, len(contexts), _CHUNK):
        chunk = contexts[start : start + _CHUNK]
        plain = set(map(type, chunk)) == {str} and "" not in chunk
        if not plain or not targeted.isdisjoint(chunk):
            answers.extend(map(decide, chunk))
            continue
        texts = list(map(str.encode, chunk))
        digests = map(
            mmh3.mmh3_32_uintdigest, map(add, map(heads.__getitem__, map(len, texts)), texts)
        )
        within = list(map(limit.__gt__, digests))
        if len(samples) < 2:  # noqa: PLR2004  (inside and outside)
            for side in {True, False} - samples.keys():
                if side in within:
                    samples[side] = decide(chunk[within.index(side)])
        answers.extend(map(samples.__getitem__, within))
    return answers


def _shape(flag: Flag) -> tuple[frozenset[str], str, int] | None:
    """Return (targeted keys, salt, hash limit) of a flag that the pipeline can run."""
    found = two_way(flag.default)
    if found is None or not flag.on or flag.rules or flag.prerequisites:
        return None
    if flag.kind is FlagKind.OBJECT:
        return None  # each caller gets a copy of his own
    inside, outside, limit = found
    if inside is None or outside is None or any(t.context_kind != USER for t in flag.targets):
        return None
    assert isinstance(flag.default, Split)  # noqa: S101  (for the type checker: two_way asked)
    targeted = frozenset().union(*(target.keys for target in flag.targets))
    return targeted, salt_of(flag, flag.default), limit
