"""What an answer of a vendor's API must have for a provider to read it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails


class Shape(BaseModel):
    """What an answer must have; whatever else it has may come.

    Field names are ours: ``default_rule`` is the answer's ``defaultRule``. What may be missing has
    a default, and nothing is taken for what it only looks like.
    """

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        defer_build=True,  # an application that only evaluates asks for none
        hide_input_in_errors=True,
    )

    @classmethod
    def lacks(cls, body: Any) -> list[tuple[str, str]]:
        """Return where an answer has not this shape, and what is wrong there."""
        try:
            cls.model_validate(body)
        except ValidationError as error:
            wrong = error.errors(include_url=False)
            return [(_place_of(one["loc"]), _lack_of(one)) for one in wrong]
        return []


def _place_of(loc: tuple[int | str, ...]) -> str:
    """Return a place in a document, as ``objects[3].name``."""
    parts = [f"[{one}]" if isinstance(one, int) else f".{one}" for one in loc]
    return "".join(parts).removeprefix(".") or "an object"


def _lack_of(wrong: ErrorDetails) -> str:
    said = {"missing": "it is missing", "model_type": "it is no object"}
    return said.get(wrong["type"], wrong["msg"])
