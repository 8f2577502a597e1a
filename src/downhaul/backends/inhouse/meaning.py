"""What one flag of a team's own says, cell by cell, and the flag of ours that decides the same.

The order of a decision: the blacklist denies, the whitelist allows, the percentage decides, and who
gets the flag gets its value. ``enabled`` means one of two things. ``everyone``, the guide's own
code: whoever is not denied gets an enabled flag, and one that is not enabled goes by its whitelist
and its percentage. ``switch``: a flag that is not enabled is off for all, and an enabled one
without a percentage is on for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from downhaul.backends.inhouse import cells
from downhaul.backends.inhouse.database import Row
from downhaul.backends.inhouse.entries import Entries, NotMeant, as_json
from downhaul.backends.inhouse.hashing import Hashing
from downhaul.flag import Flag, FlagKind, Serve, Target

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import Meaning

_T = TypeVar("_T")
_NOBODY: Final[tuple[str, ...]] = ()
_SAY: Final = "say so by enabled_means"


@dataclass(frozen=True, slots=True)
class _Meant:
    """What one row says."""

    enabled: bool
    part: Decimal | None
    """The percentage as a part of one."""
    whitelist: tuple[str, ...]
    blacklist: tuple[str, ...]
    kind: FlagKind
    on: str
    """The name of the variant that is served to whoever gets the flag."""
    off: str | None
    """That of the others, where the row says what is served to them."""
    variants: Mapping[str, Any]


@dataclass(slots=True)
class _Cells:
    """One row, read cell by cell; what can't be meant leaves the flag out."""

    row: Row
    columns: Mapping[str, str]
    entries: Entries

    def read(self, role: str, reader: Callable[[Any], _T], absent: _T) -> _T:
        """Return what a cell means; what is ``absent`` for NULL, or without such a column."""
        value = self.row.get(role)
        if value is None:
            return absent
        try:
            return reader(value)
        except NotMeant as error:
            self.manual(role, str(error))
            return absent

    def told(self, role: str) -> bool:
        """Return whether something was noted of a cell."""
        return role in self.columns and self.entries.told(self.columns[role])

    def manual(self, role: str, reason: str) -> None:
        """Leave the flag out because of a cell."""
        self.entries.manual(self.columns[role], reason, self.row.get(role))

    def full(self, role: str, reason: str = "") -> None:
        """Note a cell that is carried, if there is anything in it."""
        if role in self.columns and self.row.get(role) is not None:
            self.entries.full(self.columns[role], reason)

    def partial(self, role: str, reason: str) -> None:
        """Note a cell that is carried but for the reason."""
        self.entries.partial(self.columns[role], reason, self.row.get(role))

    def skipped(self, role: str, reason: str) -> None:
        """Note a cell that decides nothing."""
        self.entries.skipped(self.columns[role], reason, self.row.get(role))


def flag_of(
    key: str,
    row: Row,
    columns: Mapping[str, str],
    entries: Entries,
    options: Meaning,
    *,
    unsaid: bool,
    listed: tuple[str, ...] = (),
) -> Flag | None:
    """Return the flag of one row, whose cells ``columns`` name; None where one can't be meant.

    ``listed`` are users of the whitelist that stand elsewhere. ``unsaid`` is what ``enabled`` is
    where there is no such column.
    """
    found = _Cells(row, columns, entries)
    meant = _meant(found, listed, options, unsaid=unsaid)
    on, default = _decided(key, found, meant, options)
    targets = _targets(found, meant)
    tags = found.read("tags", cells.names, _NOBODY)
    flag = Flag(
        key=key,
        on=on,
        default=default,
        kind=meant.kind,
        variants=meant.variants,
        off_variant=meant.off,
        targets=targets,
        tags=tags,
        owner=found.read("owner", _text, ""),
        description=found.read("description", _text, ""),
        version=_version(row, listed),
    )
    for role in ("key", "whitelist", "blacklist", "value", "off_value", "kind", "tags", "owner"):
        found.full(role)
    found.full("description")
    found.full("updated_at", "it is in the version of the flag")
    return entries.accepted(flag, dict(row))


def _meant(found: _Cells, listed: tuple[str, ...], options: Meaning, *, unsaid: bool) -> _Meant:
    scale = Decimal(str(options.percentage_scale or 100))
    absent = options.null_enabled if "enabled" in found.columns else unsaid
    whitelist = dict.fromkeys((*found.read("whitelist", cells.names, _NOBODY), *listed))
    blacklist = found.read("blacklist", cells.names, _NOBODY)
    kind, values = _values(found)
    names = _variant_names(kind, values)
    return _Meant(
        enabled=found.read("enabled", cells.truth, absent),
        part=found.read("percentage", lambda value: cells.share(value, scale), None),
        whitelist=tuple(whitelist),
        blacklist=blacklist,
        kind=kind,
        on=names[0],
        off=names[1] if len(names) > 1 else None,
        variants=dict(zip(names, values, strict=True)),
    )


def _values(found: _Cells) -> tuple[FlagKind, list[Any]]:
    """Return the kind, what is served to whoever gets the flag and, if said, to the others."""
    said = found.read("kind", cells.kind_of, None)
    value = found.read("value", lambda one: cells.value_of(one, said), None)
    if value is None:
        if said not in (None, FlagKind.BOOLEAN) and not found.told("value"):
            found.manual("kind", f"a flag of kind {said} serves a value, and there is none")
        return FlagKind.BOOLEAN, [True, False]
    kind = cells.kind_by(value) if said is None else said
    off = found.read("off_value", lambda one: cells.value_of(one, kind), None)
    if off is None and kind is FlagKind.BOOLEAN:
        off = False
        if value is False:
            found.manual("value", "a flag that serves false is on and off at once")
    return kind, [value] if off is None else [value, off]


def _variant_names(kind: FlagKind, values: list[Any]) -> list[str]:
    """Return what the variants are called: a text by itself, all else on and off."""
    plain = kind is FlagKind.STRING and len({*map(str, values)}) == len(values)
    if plain and all(isinstance(one, str) and one and one.isprintable() for one in values):
        return values
    return ["on", "off"][: len(values)]


def _decided(key: str, found: _Cells, meant: _Meant, options: Meaning) -> tuple[bool, Serve]:
    """Return whether the flag is on, and what it serves to whom no list names."""
    everyone = options.enabled_by == "everyone"
    part = meant.part
    if everyone and not meant.enabled and (part or meant.whitelist):
        on, part = True, part or Decimal(0)
    elif everyone:
        on, part = meant.enabled, None
    else:
        on = meant.enabled
    _note_enabled(found, meant, options)
    if part is None:
        if meant.part is not None:
            found.skipped("percentage", "enabled decides for everybody, whatever the percentage")
        return on, meant.on
    if meant.off is None and part < 1:
        found.manual("value", "what the others are served is not said: name the off_value column")
    return on, _served(key, found, meant, part, options)


def _served(key: str, found: _Cells, meant: _Meant, part: Decimal, options: Meaning) -> Serve:
    hashing = Hashing(options.bucketing, options.hashed, options.buckets)
    rest = meant.off or meant.on  # of the same name only where the flag is left out, or all get it
    if part in (0, 1) and (not hashing.stable or meant.off is None):
        found.full("percentage")
        return meant.on if part else rest
    split, lost = hashing.split(key, part, (meant.on, rest))
    cell = found.row.get("percentage")
    if options.percentage_scale is None and 0 < part < Decimal("0.01"):
        lost = "; ".join(filter(None, [lost, f"{cell} is read as {cell} %, see percentage_scale"]))
    if lost:
        found.partial("percentage", lost)
    else:
        found.full("percentage")
    return split


def _note_enabled(found: _Cells, meant: _Meant, options: Meaning) -> None:
    if "enabled" not in found.columns or found.told("enabled"):
        return
    if found.row.get("enabled") is None:
        word = "on" if options.null_enabled else "off"
        found.entries.full(found.columns["enabled"], f"NULL is read as {word}, see null_enabled")
        return
    between = meant.part is not None and 0 < meant.part < 1
    read = ("on for everybody", "on for its percentage and whitelist")
    other = ("the percentage counts", "it is off for all")
    if options.enabled_by == "switch":
        read = ("on for its percentage and whitelist", "off for all")
        other = ("it is on for everybody", "its percentage and whitelist count")
    apart = between if meant.enabled else bool(meant.part or meant.whitelist)
    if options.enabled_means is None and apart:
        at = 0 if meant.enabled else 1
        found.partial("enabled", f"read as {read[at]}; if {other[at]}, {_SAY}")
    else:
        found.full("enabled")


def _targets(found: _Cells, meant: _Meant) -> tuple[Target, ...]:
    denied = frozenset(meant.blacklist)
    allowed = frozenset(meant.whitelist) - denied
    both = sorted(denied.intersection(meant.whitelist))
    if denied and meant.off is None:
        found.manual("blacklist", "what they are served is not said: name the off_value column")
    if both and "whitelist" in found.columns:
        found.full("whitelist", f"{', '.join(both)}: in the blacklist too, which goes first")
    return tuple(
        Target(variant, keys)
        for variant, keys in ((meant.off or meant.on, denied), (meant.on, allowed))
        if keys
    )


def _text(value: Any) -> str:
    return str(value).strip()


def _version(row: Row, listed: Iterable[Any]) -> str:
    """Return what tells one state of a row from another; times of changes are not always kept."""
    words = repr(
        (sorted((name, repr(one)) for name, one in row.items()), sorted(map(repr, listed)))
    )
    digest = hashlib.blake2s(words.encode(errors="replace"), digest_size=6).hexdigest()
    at = row.get("updated_at")
    return digest if at is None else f"{as_json(at)} {digest}"
