"""flagd's document as it stands, or every reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.flagd.logic import Inexpressible, Logic
from downhaul.documents.reading import read_data, refused
from downhaul.documents.sanity import insane

_HINT: Final = 'write {"flags": {"my-flag": {"state": "ENABLED", "variants": {"on": true, ...}}}}'
_STATES: Final = ("ENABLED", "DISABLED")
_FIELDS: Final = frozenset({"key", "state", "variants", "defaultVariant", "targeting", "metadata"})


@dataclass(frozen=True, slots=True)
class SourceFlag:
    """One flag. ``default`` is its default variant, None the code's; ``beside`` what is unknown."""

    key: str
    place: Place
    raw: Mapping[str, Any]
    enabled: bool
    variants: Mapping[str, Any]
    default: str | None
    targeting: Mapping[str, Any]
    metadata: Mapping[str, Any]
    beside: Mapping[str, Any]


class Evaluators:
    """What ``$ref`` may name. ``used`` are the names that were asked for."""

    def __init__(self, definitions: Mapping[str, Logic]) -> None:
        self.definitions = definitions
        self.used: set[str] = set()

    def expanded(self, logic: Logic) -> Logic:
        """Return an expression with every reference written out. Raises Inexpressible."""
        name = _reference(logic)
        if name is not None:
            if name not in self.definitions:
                raise Inexpressible(f"there is no evaluator {quoted(name)}", fragment=logic)
            self.used.add(name)
            found = self.definitions[name]
            if any(True for _ in _references(found)):
                raise Inexpressible(
                    f"flagd takes no references within evaluators, and {quoted(name)} has some",
                    fragment=logic,
                )
            return found
        if isinstance(logic, dict):
            return {word: self.expanded(args) for word, args in logic.items()}
        return [self.expanded(one) for one in logic] if isinstance(logic, list) else logic

    def faults(self) -> Iterator[Fault]:
        """Yield a fault for each evaluator that comes back to itself."""
        for name in self.definitions:
            reached, open_ = set[str](), [name]
            while open_:
                for other in _references(self.definitions.get(open_.pop())):
                    if other not in reached:
                        reached.add(other)
                        open_.append(other)
            if name in reached:
                message = f"evaluator {quoted(name)} refers to itself"
                yield Fault(("$evaluators", name), message, "flagd resolves no such reference")


@dataclass(slots=True)
class Source:
    """A whole document. ``faults`` are gathered on, by whoever reads the targeting."""

    flags: list[SourceFlag] = field(default_factory=list)
    evaluators: Evaluators = field(default_factory=lambda: Evaluators({}))
    beside: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_source(document: Mapping[str, Any] | str | bytes) -> Source:
    """Return what a document says. Raises DocumentError for what can't be looked into at all."""
    data: Any = document
    if isinstance(document, (str, bytes, bytearray)):
        data = read_data(document if isinstance(document, str) else bytes(document), "json", "")
    elif faults := list(insane(_plain(document))):
        raise refused(problems_of(faults), "")
    source = Source()
    if not isinstance(data, Mapping) or "flags" not in data:
        fault = Fault((), "this is no flagd document: it has no flags", _HINT)
        raise refused(problems_of([fault]), "")
    definitions = data.get("$evaluators") or {}
    if isinstance(definitions, Mapping):
        source.evaluators = Evaluators(definitions)
        source.faults += source.evaluators.faults()
    else:
        fault = Fault(("$evaluators",), f"should be an object, not {quoted(definitions)}")
        source.faults.append(fault)
    source.faults += _metadata_faults(data.get("metadata"), ("metadata",))
    source.beside = {
        name: value for name, value in data.items() if name not in ("flags", "$evaluators")
    }
    for key, place, raw in _listed(data["flags"], source.faults):
        faults = list(_flag_faults(raw, place))
        source.faults += faults
        if not faults:
            source.flags.append(_flag(key, place, raw))
    if source.faults and not source.flags:
        raise refused(problems_of(source.faults), "")
    return source


def _plain(document: Any) -> Any:
    """Return the same mapping as a dict, which the checks look into."""
    return dict(document) if isinstance(document, Mapping) else document


def _listed(flags: Any, faults: list[Fault]) -> Iterator[tuple[str, Place, Any]]:
    """Yield key, place and definition: flags are an object by key, or the daemon's list."""
    if isinstance(flags, Mapping):
        yield from ((key, ("flags", key), one) for key, one in flags.items())
        return
    if not isinstance(flags, list):
        faults.append(Fault(("flags",), f"should be an object, not {quoted(flags)}", _HINT))
        return
    seen: set[str] = set()
    for index, one in enumerate(flags):
        key = one.get("key") if isinstance(one, Mapping) else None
        place: Place = ("flags", index)
        if not isinstance(key, str) or not key:
            faults.append(Fault(place, "a flag in a list has a key", 'write "key": "my-flag"'))
        elif key in seen:
            faults.append(Fault(place, f"there are two flags {quoted(key)}", "leave one of them"))
        else:
            seen.add(key)
            yield key, place, one


def _flag_faults(raw: Any, place: Place) -> Iterator[Fault]:
    if not isinstance(raw, Mapping):
        yield Fault(place, f"a flag is an object, not {quoted(raw)}", _HINT)
        return
    state = raw.get("state")
    if state not in _STATES:
        said = "is missing" if state is None else f"{quoted(state)} is no state"
        yield Fault((*place, "state"), said, "write ENABLED or DISABLED")
    variants = raw.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        yield Fault((*place, "variants"), "a flag has variants, by name", _HINT)
        return
    for name, value in variants.items():
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            yield Fault((*place, "variants", name), f"{quoted(value)} is no value of a variant")
    yield from _default_faults(raw.get("defaultVariant"), variants, place)
    targeting = raw.get("targeting")
    if targeting is not None and not isinstance(targeting, Mapping):
        yield Fault((*place, "targeting"), f"should be an object, not {quoted(targeting)}")
    yield from _metadata_faults(raw.get("metadata"), (*place, "metadata"))


def _default_faults(default: Any, variants: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    at: Place = (*place, "defaultVariant")
    if default is not None and not isinstance(default, (str, bool)):
        yield Fault(at, f"should be the name of a variant, not {quoted(default)}")
    elif (name := _default(default)) is not None and name not in variants:
        hint = did_you_mean(name, variants, all_of="its variants are")
        yield Fault(at, f"the flag has no variant {quoted(name)}", hint)


def _metadata_faults(metadata: Any, place: Place) -> Iterator[Fault]:
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield Fault(place, f"should be an object, not {quoted(metadata)}")
        return
    for name, value in metadata.items():
        if not name or not isinstance(value, (str, bool, int, float)):
            yield Fault((*place, name), "is text, a number, true or false, and has a name")


def _flag(key: str, place: Place, raw: Mapping[str, Any]) -> SourceFlag:
    return SourceFlag(
        key=key,
        place=place,
        raw=raw,
        enabled=raw["state"] == "ENABLED",
        variants=raw["variants"],
        default=_default(raw.get("defaultVariant")),
        targeting=raw.get("targeting") or {},
        metadata=raw.get("metadata") or {},
        beside={name: value for name, value in raw.items() if name not in _FIELDS},
    )


def _default(name: Any) -> str | None:
    """Return the default variant's name: true and false are names too, the empty one is none."""
    if isinstance(name, bool):
        return str(name).lower()
    return name if isinstance(name, str) and name else None


def _reference(logic: Logic) -> str | None:
    if isinstance(logic, dict) and list(logic) == ["$ref"] and isinstance(logic["$ref"], str):
        return logic["$ref"]
    return None


def _references(logic: Logic) -> Iterator[str]:
    """Yield every name that an expression refers to, at any depth."""
    name = _reference(logic)
    if name is not None:
        yield name
    elif isinstance(logic, dict):
        for args in logic.values():
            yield from _references(args)
    elif isinstance(logic, list):
        for one in logic:
            yield from _references(one)
