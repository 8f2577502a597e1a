"""Read the fields of a JSON object by type, and gather what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from downhaul.errors import Problem
from downhaul_unleash.source import Remark

T = TypeVar("T")

_MOST: Final = (1 << 31) - 1  # the engine's integers have 32 bits
_AS_TEXT: Final = "Unleash's engine takes only text here; read as the text of the same value"


class Problems:
    """What is wrong with a document, and what is odd about it but can be read."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.remarks: list[Remark] = []


class Fields:
    """The fields of one object of the document. What can't be read is noted, and read as empty."""

    def __init__(
        self, path: str, raw: Mapping[str, Any], problems: Problems, flag: str = ""
    ) -> None:
        self.path = path
        self._raw = raw
        self._problems = problems
        self._flag = flag

    def of(self, flag: str) -> Fields:
        """Return the same fields, for remarks about this flag."""
        return Fields(self.path, self._raw, self._problems, flag)

    def wrong(self, name: str, message: str, hint: str | None = None) -> None:
        """Note a problem with a field."""
        self._problems.found.append(Problem(self._at(name), message, hint=hint))

    def text(self, name: str, *, required: bool = False) -> str:
        """Read text; null is none."""
        value = self._raw.get(name)
        if value is None:
            if required:
                self._missing(name, "text")
            return ""
        return self._text(name, value)

    def boolean(self, name: str, *, required: bool = False, default: bool = False) -> bool:
        """Read true or false; null is the default."""
        value = self._raw.get(name)
        if value is None:
            if required:
                self._missing(name, "true or false")
            return default
        if isinstance(value, bool):
            return value
        self.wrong(name, f"should be true or false, not {_shown(value)}")
        return default

    def integer(self, name: str, *, least: int = -_MOST - 1) -> int:
        """Read an integer that must be there, of 32 bits."""
        value = self._raw.get(name)
        if value is None:
            self._missing(name, "a whole number")
            return 0
        return self._integer(name, value, least)

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; null is an empty one."""
        return tuple(self._text(f"{name}[{i}]", one) for i, one in enumerate(self._list(name)))

    def integers(self, name: str) -> tuple[int, ...]:
        """Read a list of integers; null is an empty one."""
        found = enumerate(self._list(name))
        return tuple(self._integer(f"{name}[{i}]", one, -_MOST - 1) for i, one in found)

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Read an object of texts, without those that are null; null is an empty one."""
        value = self._raw.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(name, f"should be an object of texts, not {_shown(value)}")
            return {}
        return {
            str(each): self._text(f"{name}.{each}", one)
            for each, one in value.items()
            if one is not None
        }

    def object(self, name: str, make: Callable[[Fields, Mapping[str, Any]], T]) -> tuple[T, ...]:
        """Read one object, as a tuple of it; null is an empty one."""
        value = self._raw.get(name)
        return () if value is None else self._made(name, value, make)

    def objects(
        self,
        name: str,
        make: Callable[[Fields, Mapping[str, Any]], T],
        *,
        required: bool = False,
    ) -> tuple[T, ...]:
        """Read a list of objects; null is an empty one."""
        if required and self._raw.get(name) is None:
            self._missing(name, "a list")
        made: list[T] = []
        for index, one in enumerate(self._list(name)):
            made += self._made(f"{name}[{index}]", one, make)
        return tuple(made)

    def _made(
        self, name: str, value: Any, make: Callable[[Fields, Mapping[str, Any]], T]
    ) -> tuple[T, ...]:
        if not isinstance(value, Mapping):
            self.wrong(name, f"should be an object, not {_shown(value)}")
            return ()
        return (make(Fields(self._at(name), value, self._problems, self._flag), value),)

    def _list(self, name: str) -> list[Any]:
        value = self._raw.get(name)
        if value is None:
            return []
        if isinstance(value, (list, tuple)):
            return list(value)
        self.wrong(name, f"should be a list, not {_shown(value)}")
        return []

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, int, float)):
            text = str(value).lower() if isinstance(value, bool) else _number(value)
            remark = Remark(self._flag, self._at(name), _AS_TEXT, value, lossy=True)
            self._problems.remarks.append(remark)
            return text
        self.wrong(name, f"should be text, not {_shown(value)}")
        return ""

    def _integer(self, name: str, value: Any, least: int) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(name, f"should be a whole number, not {_shown(value)}")
            return 0
        if not least <= value <= _MOST:
            self.wrong(name, f"should lie between {least} and {_MOST}")
            return 0
        return value

    def _missing(self, name: str, wanted: str) -> None:
        self.wrong(name, f"is missing: it should be {wanted}")

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _number(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return "a number too long"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:
        return "a number too long"
    most = 60
    return text if len(text) <= most else f"{text[:most]}..."
