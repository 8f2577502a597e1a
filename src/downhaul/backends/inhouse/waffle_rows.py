"""From django-waffle's rows to flags of ours.

A flag that is not decided for everyone is on if any of its conditions holds: one of its users or
groups, a language, who the user is, or the percentage. What waffle reads from a Django request has
to come as attributes of the context here: ``language``, ``is_authenticated``, ``is_staff``,
``is_superuser`` and ``groups``, the names of the user's groups.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from downhaul.backends.inhouse import cells
from downhaul.backends.inhouse.database import Found, Row
from downhaul.backends.inhouse.entries import Entries, NotMeant
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Flag,
    Operator,
    Rule,
    Scheme,
    Serve,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.ledger import Ledger, LedgerEntry, Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import WaffleOptions

_WHO: Final = {
    "authenticated": "is_authenticated",
    "staff": "is_staff",
    "superusers": "is_superuser",
}
_SENT: Final = 'waffle reads it from the request: the application has to send the attribute "{}"'
_DRAWN: Final = (
    "waffle draws who is in by chance and remembers it in a cookie of that browser: no assignment"
    " could be carried over, and our own buckets, by the user, stand in"
)
_TESTED: Final = "in test mode a cookie, a header or the query can turn it on, which has no like"
_EVERYONE: Final = "everyone is decided, whatever else the flag says"


class _Read:
    """One row, with its entries."""

    def __init__(self, row: Row, table: str, prefix: str = "") -> None:
        self.row = row
        self.key = f"{prefix}{row['name']}"
        self.entries = Entries(self.key, f'{table}[name="{row["name"]}"]')

    def truth(self, column: str) -> bool | None:
        """Return a truth; None for NULL, or where it can't be one."""
        value = self.row.get(column)
        try:
            return None if value is None else cells.truth(value)
        except NotMeant as error:
            self.entries.manual(column, str(error), value)
            return None

    def part(self) -> Decimal:
        """Return the percentage as a part of one; NULL is none."""
        value = self.row.get("percent")
        try:
            return Decimal(0) if value is None else cells.share(value, Decimal(100))
        except NotMeant as error:
            self.entries.manual("percent", str(error), value)
            return Decimal(0)

    def flag(self, **fields: Any) -> Flag | None:
        """Return the flag of this row, or None where it can't be one."""
        note = str(self.row.get("note") or "").strip()
        self.entries.full("name")
        if note:
            self.entries.full("note", "it is the description")
        words = repr(sorted((name, repr(one)) for name, one in self.row.items()))
        version = hashlib.blake2s(words.encode(errors="replace"), digest_size=6).hexdigest()
        made = Flag(key=self.key, description=note, version=version, **fields)
        return self.entries.accepted(made, dict(self.row))


def translate(found: Mapping[str, Found], options: WaffleOptions) -> Translation:
    """Return flags, switches and samples as flags of ours; tables are by what is in them."""
    users, groups, lost = _lists(found, options)
    rows = [
        _Read(
            {**row, "users": users.get(row["id"], ()), "groups": groups.get(row["id"], ())},
            options.flags,
        )
        for row in _rows(found, "flags")
    ]
    made = [(one, _flag(one)) for one in rows]
    switches = [
        _Read(row, options.switches, options.switch_prefix) for row in _rows(found, "switches")
    ]
    made += [(one, _switch(one)) for one in switches]
    samples = [
        _Read(row, options.samples, options.sample_prefix) for row in _rows(found, "samples")
    ]
    made += [(one, _sample(one)) for one in samples]
    made.sort(key=lambda each: each[0].key)
    flags = _apart(made)
    entries = [entry for one, _ in made for entry in one.entries.made]
    return Translation(flags, ledger=Ledger((*entries, *lost, *_columns(found, options))))


def _rows(found: Mapping[str, Found], what: str) -> tuple[Row, ...]:
    return found[what].rows if what in found else ()


def _apart(made: Iterable[tuple[_Read, Flag | None]]) -> tuple[Flag, ...]:
    """Return the flags whose key is their own; tell of the others."""
    made = list(made)
    times = Counter(one.key for one, _ in made)
    for one, _ in made:
        if times[one.key] > 1:
            reason = "a flag, a switch or a sample of this name is there too: set a prefix for one"
            one.entries.manual("", reason, one.key)
    return tuple(flag for one, flag in made if flag is not None and times[one.key] == 1)


def _columns(found: Mapping[str, Found], options: WaffleOptions) -> list[LedgerEntry]:
    tables = {"flags": options.flags, "switches": options.switches, "samples": options.samples}
    made: list[LedgerEntry] = []
    for what, table in tables.items():
        entries = Entries("", table)
        for column in found[what].others if what in found else ():
            entries.skipped(column, "waffle decides nothing by it")
        made += entries.made
    return made


# --- flags


def _flag(one: _Read) -> Flag | None:
    everyone = one.truth("everyone")
    if everyone is not None:
        one.entries.full("everyone")
        for part in (*_WHO, "users", "groups", "languages", "percent", "testing"):
            if one.row.get(part) not in (None, False, 0, "", ()):
                one.entries.skipped(part, _EVERYONE, one.row[part])
        return one.flag(on=everyone, default="on")
    rules = [*_languages(one), *_who(one), *_groups(one)]
    users = frozenset(one.row["users"])
    if users:
        one.entries.full("users")
    if one.truth("testing"):
        one.entries.partial("testing", _TESTED, one.row["testing"])
    if one.truth("rollout"):
        one.entries.skipped("rollout", "it says how long the cookie lives", one.row["rollout"])
    default = _percent(one)
    opens = bool(rules or users or default != "off")
    return one.flag(
        on=opens,
        default=default if opens else "on",
        targets=(Target("on", users),) if users else (),
        rules=tuple(rules),
    )


def _languages(one: _Read) -> list[Rule]:
    text = str(one.row.get("languages") or "")
    if not text:
        return []
    languages = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    one.entries.partial("languages", _SENT.format("language"), text)
    return [Rule("on", (Clause("language", Operator.IN, languages),), id="languages")]


def _who(one: _Read) -> list[Rule]:
    rules = []
    for column, attribute in _WHO.items():
        if one.truth(column):
            one.entries.partial(column, _SENT.format(attribute), one.row[column])
            rules.append(Rule("on", (Clause(attribute, Operator.IN, (True,)),), id=column))
    return rules


def _groups(one: _Read) -> list[Rule]:
    names = tuple(sorted(one.row["groups"]))
    if not names:
        return []
    one.entries.partial("groups", _SENT.format("groups"), names)
    return [Rule("on", (Clause("groups", Operator.HAS_ANY, names),), id="groups")]


def _percent(one: _Read) -> Serve:
    part = one.part()
    if not part:
        return "off"
    one.entries.partial("percent", _DRAWN, one.row["percent"])
    return percentage("on", round(float(part) * 100, 3), rest="off")


# --- switches and samples


def _switch(one: _Read) -> Flag | None:
    active = one.truth("active")
    if active is None:
        one.entries.manual("active", "NULL says neither on nor off")
    one.entries.full("active")
    return one.flag(on=bool(active), default="on")


def _sample(one: _Read) -> Flag | None:
    if one.row.get("percent") is None:
        one.entries.manual("percent", "NULL says not how often it is on")
    weight = round(one.part() * WHOLE)
    one.entries.full("percent", "drawn anew at each request, as there")
    weights = (Weight("on", weight), Weight("off", WHOLE - weight))
    return one.flag(on=True, default=Split(weights, Bucketing(Scheme.RANDOM)))


# --- who belongs to what


def _lists(
    found: Mapping[str, Found], options: WaffleOptions
) -> tuple[dict[Any, list[str]], dict[Any, list[str]], list[LedgerEntry]]:
    """Return users and groups by the id of the flag, and entries for those that are gone."""
    names = {row["id"]: str(row["name"]) for row in _rows(found, "group_names")}
    known: Mapping[Any, str] | None = None
    if options.users == "username":
        known = {row["id"]: str(row["username"]) for row in _rows(found, "usernames")}
    lost = Entries("", options.flags)
    users = _by_flag(_rows(found, "users"), "user_id", known, lost)
    groups = _by_flag(_rows(found, "groups"), "group_id", names, lost)
    return users, groups, lost.made


def _by_flag(
    rows: Iterable[Row], column: str, names: Mapping[Any, str] | None, lost: Entries
) -> dict[Any, list[str]]:
    lists: dict[Any, list[str]] = {}
    for row in rows:
        name = str(row[column]) if names is None else names.get(row[column])
        if name is None:
            lost.skipped(column, "there is nobody of this id any more", dict(row))
        else:
            lists.setdefault(row["flag_id"], []).append(name)
    return lists
