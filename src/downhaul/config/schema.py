"""The shape of a configuration, and what pydantic finds wrong with one, in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from downhaul.config.settings import RolloutMode
from downhaul.config.sinks import TABLES, AlertsTable
from downhaul.errors import Problem
from downhaul.evaluator.asking import portable_bucketing
from downhaul.flag import FlagKind, Scheme
from downhaul.spans import seconds_of

_IN_WORDS: Final = {
    "string_type": "must be a string",
    "list_type": "must be a list",
    "missing": "is missing",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def _environment(name: str) -> str:
    if name == "*" or not name.strip() or name != name.strip():
        message = "must be a name, not blank and not *"
        raise ValueError(message)
    return name


def _joined(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    return value


def _somebody(names: list[str] | None) -> list[str] | None:
    if names is not None and not all(one.strip() for one in names):
        message = "a name in it is empty"
        raise ValueError(message)
    if names == []:
        message = "names nobody, so that nobody could: leave it out, or name who may"
        raise ValueError(message)
    return names


_Span = Annotated[float, BeforeValidator(seconds_of)]
_Actors = Annotated[list[str] | None, AfterValidator(_somebody)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ProviderTable(_Table):
    """``[provider]``. All other keys are the provider's own."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    url: str
    wrap: list[str] = Field(default_factory=list)


class BackendEntry(_Table):
    """``[backends.NAME]``: shaped as ``[provider]``, without wrappers.

    ``url`` may be missing: it may be kept where this process, which may not need it, can't read it.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    url: str = ""


class ControlTable(_Table):
    """``[control]``."""

    url: str | None = None
    on_unknown_kills: Literal["serve", "off"] = "serve"
    kill_file: str | None = None
    kill: Annotated[str, BeforeValidator(_joined)] = ""


class PolicyTable(_Table):
    """``[policy]``."""

    revive_needs_second_person: bool = False
    alone_after: _Span | None = None
    may_revive: _Actors = None
    may_promote_full: _Actors = None
    refuse_login_names: bool = False
    ttl_at_most: Annotated[float, Field(ge=0, le=100)] = 1.0


class RolloutTable(_Table):
    """``[rollout]``."""

    templates: str = "rollout-templates"
    groups: dict[str, list[str]] = Field(default_factory=dict)


class DeclarationTable(_Table):
    """``[flags."key"]``."""

    kind: FlagKind | None = None
    off: str | None = None
    tags: list[str] = Field(default_factory=list)
    rollout: RolloutMode = RolloutMode.NATIVE
    salt: str | None = None
    scheme: Scheme = Scheme.DOWNHAUL

    @model_validator(mode="after")
    def _can_bucket(self) -> Self:
        if self.rollout is RolloutMode.PORTABLE:
            portable_bucketing(self.scheme, self.salt)
        return self


class Document(_Table):
    """A whole configuration."""

    environment: Annotated[str, AfterValidator(_environment)] = "default"
    cache_dir: str | Literal[False] | None = None
    provider: ProviderTable
    backends: dict[str, BackendEntry] = Field(default_factory=dict)
    control: ControlTable = Field(default_factory=ControlTable)
    alerts: AlertsTable = Field(default_factory=AlertsTable)
    policy: PolicyTable = Field(default_factory=PolicyTable)
    application: str = ""
    rollout: RolloutTable = Field(default_factory=RolloutTable)
    flags: dict[str, DeclarationTable] = Field(default_factory=dict)


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[tuple[str, ...], str],
    under: tuple[str, ...] = (),
) -> list[Problem]:
    """Return every problem that pydantic found, each with its path, origin and fix."""
    found: dict[tuple[str, ...], Problem] = {}
    for one in error.errors(include_input=False, include_url=False):
        path = _written(one["loc"], under, origins)
        item = _item(one["loc"][len(path) - len(under) :])
        message, hint = _in_words(one["type"], one["msg"]), None
        if one["type"] == "extra_forbidden":
            message, hint = _unknown(str(one["loc"][-1]), _names(model, one["loc"][:-1]))
        origin = origin_of(origins, path)
        found.setdefault((*path, item), Problem(f"{dotted(path)}{item}", message, origin, hint))
    return list(found.values())


def origin_of(origins: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> str:
    """Return where a path was written; for a table or an item, where the nearest thing was."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
        inside = [origin for at, origin in origins.items() if at[:length] == path[:length]]
        if inside:
            return inside[0]
    return ""


def dotted(path: Iterable[str]) -> str:
    """Return a path as it is written in TOML."""
    plain = [
        part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"' for part in path
    ]
    return ".".join(plain)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return the question whether something like ``name`` was meant, or None."""
    near = get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else None


def _written(
    loc: tuple[int | str, ...], under: tuple[str, ...], origins: Mapping[tuple[str, ...], str]
) -> tuple[str, ...]:
    """Cut from a location what pydantic adds to it, such as the branch of a union."""
    path = (*under, *(str(part) for part in loc))
    for at in origins:
        if path[: len(at)] == at:
            return at
    return path


def _item(loc: tuple[int | str, ...]) -> str:
    """Return where in a list something is, which is written whole: ``[3].until``."""
    if not loc or not isinstance(loc[0], int):
        return ""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)


def _names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    fields: type[BaseModel] = _item_model(model, loc) or model
    if model is Document and loc:
        tables: dict[str, type[BaseModel]] = {
            "provider": ProviderTable,
            "control": ControlTable,
            "alerts": AlertsTable,
            "policy": PolicyTable,
            "rollout": RolloutTable,
            "flags": DeclarationTable,
        }
        fields = tables.get(str(loc[0]), model)
        if fields is AlertsTable and len(loc) > 1:
            fields = TABLES.get(str(loc[1]), fields)
    return [one.alias or name for name, one in fields.model_fields.items()]


def _item_model(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model of a list's items where a location is within one, else None."""
    if len(loc) < 2 or not isinstance(loc[-1], int) or loc[-2] not in model.model_fields:  # noqa: PLR2004  (a list and an index)
        return None
    inside = get_args(model.model_fields[str(loc[-2])].annotation)
    return next(
        (one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)), None
    )


def _unknown(name: str, known: list[str]) -> tuple[str, str]:
    hint = did_you_mean(name, known)
    return "unknown key", hint or f"known: {', '.join(sorted(known)) or 'none'}"


def _in_words(kind: str, message: str) -> str:
    if kind in _IN_WORDS:
        return _IN_WORDS[kind]
    return message.removeprefix("Value error, ").replace("Input should be", "must be")
