"""What the ``[metrics]`` of plans is checked by: models of tables, and the kinds of fields in them.

For sources of others too. Everything here is read without contacting anybody: a secret and an
address out of the environment are looked up when they are used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from downhaul.analysis.patience import LONGEST, TIMEOUT
from downhaul.analysis.variants import Variants
from downhaul.config.secret import Secret
from downhaul.config.urls import redacted, secrets_of
from downhaul.documents.faults import Fault, Place, did_you_mean, quoted
from downhaul.errors import ConfigError, Problem

_WORDS: Final = {
    "bool_type": "should be true or false",
    "dict_type": "should be a table",
    "finite_number": "should be a number",
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "string_type": "should be text",
}
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def told(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return the error that says this of a value, with what to do about it."""
    return PydanticCustomError("told", "{message}", {"message": message, "hint": hint})


class Kept:
    """Text that is kept elsewhere: ``{ env = "NAME" }`` or ``{ file = "/run/secrets/token" }``.

    As a field of a pydantic model it takes such a table, and refuses the text itself, because plans
    are kept and shown. It is looked up each time it is asked for, so that a file that is replaced
    takes effect.
    """

    __slots__ = ("kind", "name")

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name

    def reveal(self, where: str = "metrics") -> Secret:
        """Return the text. Raises ConfigError where there is none; ``where`` is its field."""
        if self.kind == "env":
            value = os.environ.get(self.name, "")
            message = f"{where}: the variable {quoted(self.name)} is not set"
            hint = "set it where this runs, and where the controller runs"
        else:
            value, why = _text_of(Path(self.name))
            message = f"{where}: the file {quoted(self.name)} {why}"
            hint = "it has to be there, and readable, where the controller runs"
        if not value:
            raise ConfigError(message, hint=hint)
        return Secret(value)

    def __repr__(self) -> str:
        return f"Kept({self.kind}={self.name!r})"

    @classmethod
    def read(cls, value: Any) -> Kept:
        """Return what a plan says. Raises PydanticCustomError."""
        if isinstance(value, Kept):
            return value
        if isinstance(value, str):
            hint = 'keep it elsewhere: { env = "NAME" } or { file = "/run/secrets/name" }'
            raise told("holds a secret, and plans are kept and shown", hint)
        return _kept(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        """Tell pydantic how it is read."""
        return core_schema.no_info_plain_validator_function(cls.read)


def _kept(value: Any) -> Kept:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise told("is not of this form", 'such as { env = "NAME" } or { file = "/run/name" }')
    ((kind, name),) = value.items()
    if kind not in ("env", "file") or not isinstance(name, str) or not name or "\0" in name:
        raise told("is not of this form", 'such as { env = "NAME" } or { file = "/run/name" }')
    if kind == "file" and not Path(name).is_absolute():
        raise told(f"{quoted(name)} is another file in each folder", "write its whole path")
    return Kept(kind, name)


def _text_of(file: Path) -> tuple[str, str]:
    """Return what a file holds without the line's end, and why it can't be used."""
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        return "", f"can't be read: {error.strerror or type(error).__name__}"
    except UnicodeDecodeError:
        return "", "is no text in UTF-8"
    return text, "" if text else "is empty"


class Address:
    """The URL of a server over HTTP: as it is, without secrets, or out of the environment."""

    __slots__ = ("_given",)

    def __init__(self, given: str | Kept) -> None:
        self._given = given

    def url(self, where: str = "metrics.url") -> str:
        """Return the URL. Raises ConfigError."""
        if isinstance(self._given, str):
            return self._given
        found = self._given.reveal(where).reveal()
        wrong = _no_address(found)
        if wrong:
            message = f"{where}: what {self._given.name} holds {wrong}"
            raise ConfigError(message, hint="such as https://metrics.internal")
        return found

    def __repr__(self) -> str:
        return f"Address({self._given!r})"

    @classmethod
    def read(cls, value: Any) -> Address:
        """Return what a plan says. Raises PydanticCustomError."""
        if isinstance(value, Address):
            return value
        if not isinstance(value, str):
            return cls(_kept(value))
        if secrets_of(value):
            hint = 'put it into the environment: url = { env = "NAME" }'
            raise told("holds a secret, and plans are kept and shown", hint)
        wrong = _no_address(value)
        if wrong:
            raise told(wrong, "such as https://metrics.internal")
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        """Tell pydantic how it is read."""
        return core_schema.no_info_plain_validator_function(cls.read)


def _no_address(url: str) -> str:
    """Return what is wrong with an address, without its secrets."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good else f"is no http:// or https:// URL: {quoted(redacted(url))}"


def _header(value: Any) -> str | Kept:
    if isinstance(value, str):
        if not value.isascii() or not value.isprintable():
            raise told("should be one line of plain text")
        return value
    return Kept.read(value)


def _headers(value: Any) -> Any:
    for name in value if isinstance(value, Mapping) else ():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise told(f"{quoted(name)} is no name of a header")
        if name.lower() in ("authorization", "host", "content-length", "content-type"):
            raise told(f"the header {quoted(name)} is not for plans", "see token and password")
    return value


def _variants(value: Any) -> Variants:
    if isinstance(value, Variants):
        return value
    problems: list[Problem] = []
    read = Variants.read(value, problems)
    for one in problems:
        raise told(one.message, one.hint)
    return read


Lag = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Seconds that counting stays behind, for what arrives late."""

Header = Annotated[str | Kept, BeforeValidator(_header)]
VariantsOption = Annotated[Variants, BeforeValidator(_variants)]


class SourceTable(BaseModel):
    """A base for the tables of metric sources: strict, and nothing in it that isn't read."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class WebTable(SourceTable):
    """A base for sources that are asked over HTTP."""

    timeout: Annotated[float, Field(gt=0, le=LONGEST)] = TIMEOUT
    """seconds that one look may take, whatever it takes"""
    headers: Annotated[dict[str, Header], BeforeValidator(_headers)] = Field(default_factory=dict)
    """sent along, such as the tenant that is asked for"""


def faults_of(error: ValidationError, model: type[BaseModel], under: Place) -> list[Fault]:
    """Return what pydantic found wrong with a table, in words, at their places in the plan."""
    return [_fault(one, model, under) for one in error.errors(include_url=False)]


def _fault(error: Any, model: type[BaseModel], under: Place) -> Fault:
    place: Place = (*under, *error["loc"])
    kind = error["type"]
    if kind == "told":
        return Fault(place, error["ctx"]["message"], error["ctx"]["hint"])
    if kind == "extra_forbidden":
        names = [one.alias or name for name, one in model.model_fields.items()]
        message = "no metric source of this kind has such a field"
        return Fault(place, message, did_you_mean(place[-1], names, all_of="known"))
    if kind == "missing":
        return Fault(place, "is missing")
    message = _WORDS.get(kind) or str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should", "should")
    value = error.get("input")
    simple = isinstance(value, (str, int, float, bool)) or value is None
    return Fault(place, f"{message}, not {quoted(value)}" if simple else message)
