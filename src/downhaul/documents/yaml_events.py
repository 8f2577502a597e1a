"""YAML to JSON data, from the parser's events: no tags, no aliases, no surprises.

Plain words are text unless they are numbers, ``true``, ``false`` or ``null`` as in YAML 1.2: so
``on`` and ``off`` are names of variants here, and a date stays the text that it is. A key is
always text. Nothing recurses, so that depth can't break the process.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from downhaul.documents.faults import Fault, Place, quoted
from downhaul.documents.sanity import DEEPEST

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL: Final = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)\Z")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
NUMBERS: Final = (_INTEGER, _FLOAT, _SPECIAL)
"""The plain words that are numbers."""

_LONGEST_NUMBER: Final = 400
_MOST_FAULTS: Final = 100


class YamlFaults(Exception):
    """The text is no YAML that we take; ``faults`` with the line of each."""

    def __init__(self, faults: list[tuple[Fault, int]]) -> None:
        super().__init__(faults)
        self.faults = faults


def read_yaml(text: str, lines: dict[Place, int] | None = None) -> Any:
    """Return the data of one YAML document, and its lines by place if a dict is given for them.

    Raises YamlFaults for broken YAML, several documents, duplicate keys, tags, anchors, aliases.
    """
    builder = _Builder(lines)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlFaults(
            [*builder.faults, (Fault((), f"broken YAML: {said}"), mark.line + 1 if mark else 1)]
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        first = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise YamlFaults([(Fault((), f"broken YAML: {first}"), 1)]) from None
    if builder.faults:
        raise YamlFaults(builder.faults)
    return builder.result


class _Builder:
    """Builds lists and objects from events, on a stack of its own."""

    def __init__(self, lines: dict[Place, int] | None) -> None:
        self.result: Any = None
        self.faults: list[tuple[Fault, int]] = []
        self._lines = lines
        self._documents = 0
        self._open: list[Any] = []  # the lists and objects that we are in
        self._names: list[Any] = []  # in each object the key whose value comes next, or _NO_KEY
        self._steps: list[str | int] = []  # how the lists and objects we are in are reached
        self._depths: list[int] = []  # of each, whether it added a step (the outermost doesn't)

    def take(self, event: Any) -> None:
        """Take in one event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_odd(event)
            if self._wants_key():
                self._key(event.value, event)
            else:
                self._add(self._scalar(event), event)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._refuse_odd(event)
            self._enter([] if isinstance(event, yaml.SequenceStartEvent) else {}, event)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._open.pop()
            self._names.pop()
            if self._depths.pop():
                self._steps.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._fault(event, "an alias is not taken here", "write it out")
            if self._wants_key():
                self._key(f"*{event.anchor}", event)
            else:
                self._add(None, event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(event, "several documents in one file")

    def _enter(self, container: Any, event: Any) -> None:
        if self._wants_key():
            self._stop(event, "a key is a word, not a list or an object")
        if len(self._open) >= DEEPEST:
            self._stop(event, f"nests deeper than {DEEPEST} levels")
        step = self._step()
        self._add(container, event)
        self._steps += step
        self._depths.append(len(step))
        self._open.append(container)
        self._names.append(_NO_KEY)

    def _wants_key(self) -> bool:
        return bool(self._open) and type(self._open[-1]) is dict and self._names[-1] is _NO_KEY

    def _key(self, name: str, event: Any) -> None:
        if name in self._open[-1]:
            self._fault(event, f"{quoted(name)} is given twice", "leave one of them")
        self._names[-1] = name

    def _add(self, value: Any, event: Any) -> None:
        if self._lines is not None:
            self._lines[self._place()] = event.start_mark.line + 1
        if not self._open:
            self.result = value
        elif type(self._open[-1]) is list:
            self._open[-1].append(value)
        else:
            self._open[-1][self._names[-1]] = value
            self._names[-1] = _NO_KEY

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if not event.implicit[0] or event.style:  # quoted, a block, or tagged as text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if len(text) > _LONGEST_NUMBER:
            return text
        if _INTEGER.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text)
        special = _SPECIAL.match(text)
        return float(special[1] + special[2]) if special else text

    def _place(self) -> Place:
        """Return where the value that comes next will stand."""
        return (*self._steps, *self._step())

    def _step(self) -> Place:
        if not self._open:
            return ()
        if type(self._open[-1]) is list:
            return (len(self._open[-1]),)
        return () if self._names[-1] is _NO_KEY else (self._names[-1],)

    def _refuse_odd(self, event: Any) -> None:
        if event.anchor:
            self._fault(event, f"an anchor (&{event.anchor}) is not taken here", "write it out")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._fault(event, f"a tag ({event.tag}) is not taken here", "put text in quotes")

    def _fault(self, event: Any, message: str, hint: str | None = None) -> None:
        self.faults.append((Fault(self._place(), message, hint), event.start_mark.line + 1))
        if len(self.faults) >= _MOST_FAULTS:
            raise YamlFaults(self.faults)

    def _stop(self, event: Any, message: str) -> None:
        self.faults.append((Fault(self._place(), message), event.start_mark.line + 1))
        raise YamlFaults(self.faults)


_NO_KEY: Final = object()
