"""Types of fields that several tables of a plan file have, and how a value is refused in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from downhaul.documents.faults import did_you_mean, quoted
from downhaul.rollout.units import PERCENT_PATTERN, SPAN_PATTERN, seconds_of, weight_from


def told(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return the error that says this of a value, with what to do about it."""
    return PydanticCustomError("told", "{message}", {"message": message, "hint": hint})


def reading(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a validator of what reads a value or raises ValueError."""

    def checked(value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise told(str(error)) from None

    return checked


def _above_zero(value: Any) -> float:
    seconds = seconds_of(value)
    if seconds <= 0:
        message = "should be longer than no time at all"
        raise ValueError(message)
    return seconds


def choice(name: str, words: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a validator of a word out of some, which becomes what it stands for."""

    def chosen(value: Any) -> Any:
        word = value.strip().lower().replace("-", "_") if isinstance(value, str) else ""
        if word not in words:
            shown = [one.replace("_", "-") if one == "blue_green" else one for one in words]
            hint = did_you_mean(value, shown, all_of="known")
            raise told(f"{quoted(value)} is no {name}", hint)
        return words[word]

    return chosen


STRICT: Final = ConfigDict(
    strict=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True
)
"""A table has no field but its own, and none of another type."""

_NUMBER: Final[dict[str, Any]] = {"type": "number", "exclusiveMinimum": 0}
_TIME: Final = {"anyOf": [_NUMBER, {"type": "string", "pattern": SPAN_PATTERN}]}
_SHARE: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 100},
        {"type": "string", "pattern": PERCENT_PATTERN},
    ]
}

Percent = Annotated[int, BeforeValidator(reading(weight_from)), WithJsonSchema(_SHARE)]
"""A percentage, as a weight in thousandths of a percent."""

Seconds = Annotated[float, BeforeValidator(reading(_above_zero)), WithJsonSchema(_TIME)]
"""A time above nothing, in seconds."""
