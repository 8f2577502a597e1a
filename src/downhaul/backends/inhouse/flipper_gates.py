"""From Flipper's gates to flags of ours.

Any gate that is open turns a feature on, in whatever order. The percentage of actors is kept bit
by bit: ``crc32(feature + actor) % 100_000 < percentage * 1000``, as lib/flipper/gates has it. The
targeting key is the actor's ``flipper_id``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from downhaul.backends.inhouse.database import Found
from downhaul.backends.inhouse.entries import Entries, NotMeant
from downhaul.backends.inhouse.flipper_expressions import rules_of
from downhaul.documents.faults import quoted
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Flag,
    Gate,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Target,
    Weight,
)
from downhaul.ledger import Ledger, LedgerEntry, Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import FlipperOptions

_TRUE: Final = (True, 1, "true", "1")
_SETS: Final = ("actors", "groups")
_SCALARS: Final = ("boolean", "percentage_of_actors", "percentage_of_time", "expression")
_SENT: Final = "the application has to send {} as attributes of its contexts"


@dataclass(slots=True)
class _Made:
    """What the gates of one feature come to."""

    feature: str
    entries: Entries
    gates: Mapping[str, list[Any]]
    rules: list[Rule] = field(default_factory=list)
    targets: tuple[Target, ...] = ()
    default: Serve = "off"
    groups: set[str] = field(default_factory=set)

    def one(self, gate: str) -> Any:
        """Return the value of a gate that has one; None where it is not set."""
        values = self.gates.get(gate, [])
        if len(values) > 1:
            reason = f"{len(values)} rows say what this gate is, and which one counts is not said"
            self.entries.manual(gate, reason, values)
        return values[0] if len(values) == 1 else None

    def share(self, gate: str) -> float | None:
        """Return a percentage, as Ruby reads it; None where it is not set or can't be read."""
        value = self.one(gate)
        if value is None:
            return None
        try:
            found = float(str(value)) if "." in str(value) else int(str(value))
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            self.entries.manual(gate, f"{quoted(value)} is no percentage", value)
            return None
        return found


def bucketing_of(feature: str) -> Bucketing:
    """Return how Flipper places an actor. Who is no actor is in no bucket."""
    return Bucketing(Scheme.FLIPPER, feature, no_key=NoKey.MISS)


def translate(found: tuple[Found, ...], options: FlipperOptions) -> Translation:
    """Return a flag for each feature, in the order of their keys, and the ledger of all gates."""
    features, gates = found
    by_feature: dict[str, dict[str, list[Any]]] = {}
    for row in features.rows:
        by_feature[str(row["key"])] = {}
    for row in gates.rows:
        of_one = by_feature.setdefault(str(row["feature"]), {})
        of_one.setdefault(str(row["key"]), []).append(row["value"])
    flags: list[Flag] = []
    entries: list[LedgerEntry] = []
    segments: dict[str, Segment] = {}
    for name in sorted(by_feature):
        told = Entries(name, f'{options.gates}[feature_key="{name}"]')
        made = _Made(name, told, by_feature[name])
        flag = told.accepted(_flag_of(made, options), by_feature[name])
        if flag is not None:
            flags.append(flag)
            segments |= {_segment_key(one): _segment(one, options) for one in made.groups}
        entries += told.made
    for table, its in ((features, options.features), (gates, options.gates)):
        others = Entries("", its)
        for column in table.others:
            others.skipped(column, "Flipper decides nothing by it")
        entries += others.made
    return Translation(tuple(flags), tuple(segments.values()), Ledger(tuple(entries)))


def _flag_of(made: _Made, options: FlipperOptions) -> Flag:
    feature, entries = made.feature, made.entries
    if made.one("boolean") in _TRUE:
        entries.full("boolean")
        for gate in made.gates:
            if gate != "boolean":
                entries.skipped(gate, "the boolean gate is open to everybody", made.gates[gate])
        return Flag(key=feature, on=True, default="on")
    if "boolean" in made.gates:
        entries.full("boolean", "it is closed")
    _actors(made)
    _expression(made)
    _groups(made, options)
    _time(made)
    _share_of_actors(made)
    for gate in made.gates:
        if gate not in (*_SETS, *_SCALARS):
            entries.skipped(gate, "Flipper knows no gate of this name", made.gates[gate])
    opens = bool(made.targets or made.rules or made.default != "off")
    entries.full("", "" if opens else "no gate is open")
    return Flag(
        key=feature,
        on=opens,
        default=made.default if opens else "on",
        targets=made.targets,
        rules=tuple(made.rules),
    )


def _actors(made: _Made) -> None:
    actors = frozenset(str(one) for one in made.gates.get("actors", ()) if one not in (None, ""))
    if actors:
        made.targets = (Target("on", actors),)
        made.entries.full("actors")


def _groups(made: _Made, options: FlipperOptions) -> None:
    names = sorted(str(one) for one in made.gates.get("groups", ()))
    if not names:
        return
    if options.groups is None:
        reason = "groups are code of the application: name an attribute with an actor's groups"
        made.entries.manual("groups", f"{reason} by the option `groups`", names)
        return
    made.groups.update(names)
    keys = tuple(_segment_key(one) for one in names)
    made.rules.append(Rule("on", (Clause("", Operator.IN_SEGMENT, keys),), id="groups"))
    made.entries.partial("groups", _SENT.format(f'an actor\'s groups in "{options.groups}"'), names)


def _segment_key(group: str) -> str:
    return f"flipper-{group}"


def _segment(group: str, options: FlipperOptions) -> Segment:
    clause = Clause(options.groups or "", Operator.HAS_ANY, (group,))
    return Segment(
        _segment_key(group),
        rules=(SegmentRule((clause,)),),
        description=f"Flipper's group {group}",
    )


def _expression(made: _Made) -> None:
    raw = made.one("expression")
    if raw in (None, ""):
        return
    try:
        data = json.loads(raw) if isinstance(raw, (str, bytes)) else raw
        rules, sent = rules_of(data, bucketing_of(made.feature))
    except (NotMeant, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, NotMeant) else "it is broken JSON"
        made.entries.manual("expression", reason, raw)
        return
    made.rules += rules
    if sent:
        told = _SENT.format(f"the properties {', '.join(sorted(sent))}")
        made.entries.partial("expression", told, data)
    else:
        made.entries.full("expression")


def _time(made: _Made) -> None:
    share = made.share("percentage_of_time")
    if share is None:
        return
    exact = share * 1000
    weight = round(min(max(exact, 0), WHOLE))
    if weight:
        gate = Gate(weight, Bucketing(Scheme.RANDOM))
        made.rules.append(Rule("on", gate=gate, id="percentage-of-time"))
    if math.isclose(exact, round(exact), abs_tol=1e-9) or not 0 < share < 100:  # noqa: PLR2004  (percent)
        made.entries.full("percentage_of_time", "drawn anew at each request, as there")
    else:
        made.entries.partial(
            "percentage_of_time", "it is finer than 0.001 %, and was rounded", share
        )


def _share_of_actors(made: _Made) -> None:
    share = made.share("percentage_of_actors")
    if share is None:
        return
    # Ruby compares a whole bucket with the float share * 1000, noise and all.
    weight = min(max(math.ceil(share * 1000), 0), WHOLE)
    weights = (Weight("on", weight), Weight("off", WHOLE - weight))
    made.default = Split(weights, bucketing_of(made.feature))
    made.entries.full("percentage_of_actors")
