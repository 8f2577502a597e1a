"""A whole document to a flag set: every problem of every flag at once, and then all or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from downhaul.documents.checks import check_flag, check_segment, cycle_faults, faults_of
from downhaul.documents.clauses import Known
from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.models import FORMAT_VERSION
from downhaul.documents.reading import lines_of, read_data, refused
from downhaul.documents.sanity import insane
from downhaul.documents.structure import Data, structured
from downhaul.encoding import flag_from_data, segment_from_data
from downhaul.flag import Flag, FlagSet, Segment
from downhaul.references import Node

_FIELDS: Final = ("downhaul", "flags", "segments")


def parse_document(
    text: str | bytes,
    format: str,  # noqa: A002  (the field's word)
    origin: str = "",
    beside: FlagSet | None = None,
) -> FlagSet:
    """Read a document in ``json``, ``toml`` or ``yaml``; ``origin`` is its file, for messages.

    ``beside`` holds what is there already where the document goes: its flags may name that too.
    Raises DocumentError, and nothing else, with every problem: its path, its line where known,
    and what to do. Then nothing of the document counts.
    """
    data = read_data(text, format, origin)
    reading = _Reading(beside or FlagSet())
    flag_set = reading.flag_set(data)
    if reading.faults:
        raise refused(problems_of(reading.faults, origin, lines_of(text, format)), origin)
    return flag_set


def read_flag(data: Any, origin: str = "", flag_set: FlagSet | None = None) -> Flag:
    """Return the flag that one flag's document says, checked. Raises DocumentError.

    Given a flag set, what the flag names must exist there.
    """
    stored = _structured(data, "flag", origin)
    flag = flag_from_data(stored)
    if problems := check_flag(flag, flag_set):
        raise refused([*problems], origin)
    return flag


def read_segment(data: Any, origin: str = "", flag_set: FlagSet | None = None) -> Segment:
    """Return the segment that one segment's document says, checked. Raises DocumentError."""
    segment = segment_from_data(_structured(data, "segment", origin))
    if problems := check_segment(segment, flag_set):
        raise refused([*problems], origin)
    return segment


def _structured(data: Any, sort: str, origin: str) -> Data:
    faults = list(insane(data))
    stored: Data | None = None
    if not faults:
        stored, faults = structured(data, sort)
    if stored is None or faults:
        raise refused(problems_of(faults, origin), origin)
    return stored


class _Reading:
    """One document as it is read: what was understood so far, and every fault."""

    def __init__(self, beside: FlagSet) -> None:
        self.faults: list[Fault] = []
        self._beside = beside
        self._named: dict[str, set[str]] = {"flag": set(), "segment": set()}

    def flag_set(self, data: Any) -> FlagSet:
        """Return what the document says; whole only if there are no faults."""
        if not self._envelope(data):
            return FlagSet()
        flags = {place: flag_from_data(one) for place, one in self._many(data, "flags", "flag")}
        segments = {
            place: segment_from_data(one) for place, one in self._many(data, "segments", "segment")
        }
        found = FlagSet.of(flags.values(), segments.values())
        there = {key: flag.variants for key, flag in self._beside.flags.items()}
        known = Known(
            {**there, **{key: _variants_of(found, key) for key in self._named["flag"]}},
            self._named["segment"] | self._beside.segments.keys(),
        )
        everything: list[tuple[Place, Flag | Segment]] = [*flags.items(), *segments.items()]
        for place, one in everything:
            self.faults += [fault.under(place) for fault in faults_of(one, known)]
        starts = [
            *(Node("flag", key) for key in found.flags),
            *(Node("segment", key) for key in found.segments),
        ]
        together = FlagSet(
            {**self._beside.flags, **found.flags}, {**self._beside.segments, **found.segments}
        )
        self.faults += cycle_faults(together, starts)
        return found

    def _envelope(self, data: Any) -> bool:
        if not isinstance(data, Mapping):
            hint = 'begin with "downhaul": 1 and put the flags under "flags"'
            self.faults.append(Fault((), "a document is an object with fields", hint))
            return False
        version = data.get("downhaul")
        if type(version) is not int or version != FORMAT_VERSION:
            missing = version is None
            said = "is missing" if missing else f"{quoted(version)} is no known version"
            fix = f'say "downhaul": {FORMAT_VERSION}, the version of the format'
            self.faults.append(Fault(("downhaul",), said, fix))
        for name in data:
            if name not in _FIELDS:
                near = did_you_mean(name, _FIELDS, all_of="known")
                self.faults.append(Fault((name,), "there is no such field", near))
        return True

    def _many(self, data: Mapping[str, Any], field: str, sort: str) -> Iterator[tuple[Place, Data]]:
        for place, one in self._listed(data.get(field, []), field):
            key = one.get("key") if isinstance(one, Mapping) else None
            if isinstance(key, str):
                if key in self._named[sort]:
                    message = f"there are two {field} {quoted(key)}"
                    self.faults.append(Fault((*place, "key"), message, "leave one of them"))
                self._named[sort].add(key)
            stored, faults = structured(one, sort)
            self.faults += [fault.under(place) for fault in faults]
            if stored is not None:
                yield place, stored

    def _listed(self, many: Any, field: str) -> Iterator[tuple[Place, Any]]:
        if isinstance(many, list):
            yield from (((field, index), one) for index, one in enumerate(many))
        elif isinstance(many, Mapping):
            for name, one in many.items():
                key = str(name)
                place: Place = (field, str(key))
                if not isinstance(one, Mapping):
                    yield place, one
                    continue
                if one.get("key", key) != key:
                    message = f"{quoted(one['key'])} stands under {quoted(key)}"
                    self.faults.append(Fault((*place, "key"), message, "leave the inner key out"))
                yield place, {**one, "key": key}
        else:
            hint = f"a list of {field}, or an object with the {field} by key"
            self.faults.append(Fault((field,), f"should be a list, not {quoted(many)}", hint))


def _variants_of(flag_set: FlagSet, key: str) -> Collection[str] | None:
    flag = flag_set.flags.get(key)
    return None if flag is None else flag.variants
