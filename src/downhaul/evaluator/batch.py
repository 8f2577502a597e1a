"""One flag for many contexts: the scalar decision, run as a pipeline of built-in functions.

A loop in Python costs twice the hashing itself. For the common shape (user targets and a split in
two) and plain keys the stages run in C over lists; other flags that name no others go by columns
(:mod:`.bulk`). For what is left, and any context that is neither a key nor a user, the scalar
decision is called. The answers are the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import TYPE_CHECKING, Any

import mmh3

from downhaul.context import Context
from downhaul.evaluator.bucketing import Heads
from downhaul.evaluator.compile import World
from downhaul.evaluator.outcome import Decide
from downhaul.evaluator.shapes import salt_of, two_way
from downhaul.flag import USER, Flag, FlagKind, Gate, Missing, NoKey, Scheme, Split
from downhaul.references import clauses_of, named_by
from downhaul.result import Result

if TYPE_CHECKING:
    from downhaul.evaluator.columns import Chunk

_CHUNK = 10_000  # keeps the lists between the stages in the processor's cache
_FEW = 100  # for fewer it isn't worth to compile the flag once more


def results_of(flag: Flag | None, decide: Decide[Result], contexts: Sequence[Any]) -> list[Result]:
    """Return the decision for each context, in order. ``flag`` None: nothing is known of its shape.

    Both are of one moment (:meth:`.View.decision`). Raises what the decision raises
    (InvalidContext).
    """
    shape = None if flag is None else _shape(flag)
    if shape is None or (contexts and type(contexts[0]) is Context):
        if flag is None or len(contexts) < _FEW or not _alone(flag):
            return [decide(context) for context in contexts]
        return _by_columns(flag, decide, contexts)
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


def _alone(flag: Flag) -> bool:
    """Return whether a flag's answers depend on the user alone: no other flag, clock or dice."""
    choices = [flag.default, *(rule.serve for rule in flag.rules), *(r.gate for r in flag.rules)]
    return (
        flag.kind is not FlagKind.OBJECT  # as above
        and next(named_by(flag), None) is None
        and all(clause.missing is not Missing.NOW for clause in clauses_of(flag))
        and not any(
            one.bucketing.scheme is Scheme.RANDOM or one.bucketing.no_key is NoKey.RANDOM
            for one in choices
            if isinstance(one, (Split, Gate))
        )
    )


def _by_columns(flag: Flag, decide: Decide[Result], contexts: Sequence[Any]) -> list[Result]:
    from downhaul.evaluator.bulk import Bulk  # noqa: PLC0415  (not for who asks one at a time)

    bulk = Bulk(World({flag.key: flag}), flag.key)
    samples: dict[int, Result] = {}
    answers: list[Result] = []
    for start in range(0, len(contexts), _CHUNK):
        part = contexts[start : start + _CHUNK]
        chunk = _users(part, bulk.reads)
        if chunk is None:
            answers.extend(map(decide, part))
            continue
        indexes = list(bulk.indexes_of(chunk))
        for index in set(indexes) - samples.keys():
            samples[index] = decide(part[indexes.index(index)])
        answers.extend(map(samples.__getitem__, indexes))
    return answers


def _users(contexts: Sequence[Any], reads: frozenset[str]) -> Chunk | None:
    """Return contexts as columns, if all are targeting keys, or all are of the one kind `user`."""
    from downhaul.evaluator.columns import Chunk  # noqa: PLC0415  (as above)

    types = set(map(type, contexts))
    if types == {str}:
        if "" in contexts:
            return Chunk([one or None for one in contexts])
        return Chunk(contexts, keyed=True)
    if types != {Context} or any(one.kind != USER or one.kinds for one in contexts):
        return None
    attributes = [one.attributes for one in contexts]
    columns = {name: [one.get(name) for one in attributes] for name in reads}
    return Chunk([one.targeting_key for one in contexts], columns)
