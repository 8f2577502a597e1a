"""What differs between two documents of a flag, field by field, as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downhaul.flag import WHOLE

_NAMED_BY: Final = ("key", "variant", "id", "name")  # what tells the elements of a list apart
_LONGEST: Final = 72  # characters of a value in a line; the whole value stays in the fields
_NOTHING: Final = "(none)"
_UNSHOWN: Final = frozenset({"version"})  # moves with every write, and is shown beside it


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs. A field that was, or is, not there has the value None, and says so.

    ``added`` and ``removed`` are set for lists of plain values (tags, keys): the elements that came
    and went. ``total`` is what a weight is a part of.
    """

    path: str
    before: Any = None
    after: Any = None
    added: tuple[Any, ...] = ()
    removed: tuple[Any, ...] = ()
    total: int = WHOLE
    was_there: bool = True
    is_there: bool = True

    def __str__(self) -> str:
        if self.added or self.removed:
            signs = [f"+{_show(one)}" for one in self.added]
            signs += [f"-{_show(one)}" for one in self.removed]
            return f"{self.path}: {_cut(' '.join(signs))}"
        if _last(self.path) == "weight":
            before, after = _share(self.before, self.total), _share(self.after, self.total)
            return f"{self.path}: {before} -> {after}"
        before = _show(self.before) if self.was_there else _NOTHING
        after = _show(self.after) if self.is_there else _NOTHING
        return f"{self.path}: {before} -> {after}"


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[Difference, ...]:
    """Return what changed from one document to the other, in the order of the fields.

    None is a document that isn't there: of a created or deleted flag every field is listed.
    """
    return tuple(_mappings("", before or {}, after or {}, WHOLE))


def _mappings(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any], total: int
) -> Iterable[Difference]:
    if "split" in before or "split" in after:
        bucketing = (after if "split" in after else before).get("bucketing") or {}
        total = bucketing.get("total", WHOLE)
    for name in dict.fromkeys([*before, *after]):
        if not path and name in _UNSHOWN:
            continue
        field = f"{path}.{name}" if path else str(name)
        if name in before and name in after:
            yield from _values(field, before[name], after[name], total)
        else:
            # Not there and null differ: without an off variant `off` is meant, null is none.
            was, now = before.get(name), after.get(name)
            yield Difference(
                field, was, now, total=total, was_there=name in before, is_there=name in after
            )


def _values(path: str, before: Any, after: Any, total: int) -> Iterable[Difference]:
    if _same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _mappings(path, before, after, total)
    elif _is_list(before) and _is_list(after):
        yield from _lists(path, before, after, total)
    else:
        yield Difference(path, before, after, total=total)


def _lists(
    path: str, before: Sequence[Any], after: Sequence[Any], total: int
) -> Iterable[Difference]:
    name = _naming(before, after)
    if name is not None:
        old = {one[name]: one for one in before}
        new = {one[name]: one for one in after}
        if list(old) != [key for key in new if key in old] and set(old) == set(new):
            yield Difference(f"{path} (order)", list(old), list(new))
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}[{key}]"
            if key in old and key in new:
                yield from _values(where, old[key], new[key], total)
            else:
                yield Difference(
                    where,
                    old.get(key),
                    new.get(key),
                    total=total,
                    was_there=key in old,
                    is_there=key in new,
                )
    elif any(isinstance(one, (Mapping, list, tuple)) for one in (*before, *after)):
        for index in range(max(len(before), len(after))):
            where = f"{path}[{index}]"
            if index >= len(after):
                yield Difference(where, before[index], None, total=total, is_there=False)
            elif index >= len(before):
                yield Difference(where, None, after[index], total=total, was_there=False)
            else:
                yield from _values(where, before[index], after[index], total)
    else:
        added = tuple(one for one in after if one not in before)
        removed = tuple(one for one in before if one not in after)
        yield Difference(path, list(before), list(after), added, removed)


def _naming(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """Return the field whose values tell the elements apart, if there is one."""
    elements = [*before, *after]
    if not all(isinstance(one, Mapping) for one in elements):
        return None
    for name in _NAMED_BY:
        if all(isinstance(one.get(name), str) and one[name] for one in elements) and all(
            len({one[name] for one in side}) == len(side) for side in (before, after)
        ):
            return name
    return None


def _same(before: Any, after: Any) -> bool:
    # JSON tells True from 1 and 1 from 1.0; so does a flag (rule E2), and Python's == does not.
    return json.dumps(before, sort_keys=True, default=str) == json.dumps(
        after, sort_keys=True, default=str
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _share(weight: Any, total: int) -> str:
    if isinstance(weight, int) and not isinstance(weight, bool):
        return f"{round(weight * 100 / total, 4):g} %"
    return _show(weight)


def _show(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
