"""Templates of plans: files that a team shares, with a name, a version, and arguments.

A template's ``[plan]`` is a plan as a file has it, with ``${name}`` where an argument goes. Alone
in a text it becomes the argument's value, whatever its type; within a text it becomes its words.
``$$`` is a dollar sign. What comes of it is a plan like any other, which remembers its template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.reading import read_data
from downhaul.errors import DocumentError, Problem, Refused
from downhaul.rollout.plan import Plan
from downhaul.rollout.planfields import STRICT
from downhaul.rollout.planfile import parse_plan
from downhaul.rollout.results import Advice, Severity

BUILT_IN: Final = "built in"
"""Where a template is from that comes with Downhaul."""

_MARK: Final = re.compile(r"\$(?:\$|\{([^{}]*)\})")
_NAME: Final = r"^[a-z][a-z0-9_-]*$"
_FILLED_IN: Final = ("flag", "template")
_FLAG: Final = "flag"


class _ArgumentTable(BaseModel):
    model_config = STRICT

    default: Any = None
    description: str = ""


class _TemplateTable(BaseModel):
    model_config = STRICT

    name: Annotated[str, Field(pattern=_NAME)]
    version: Annotated[int, Field(ge=1)]
    description: str = ""
    arguments: dict[str, _ArgumentTable] = {}
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Argument:
    """What a template asks for. Without a ``default`` (None) it has to be given."""

    name: str
    default: Any = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A template of plans. ``origin`` is its file, or :data:`BUILT_IN`."""

    name: str
    version: int
    description: str
    arguments: tuple[Argument, ...]
    plan: Mapping[str, Any]
    origin: str

    @property
    def title(self) -> str:
        """Its name and version, as a plan remembers them: ``guide@1``."""
        return f"{self.name}@{self.version}"


def templates(folder: Path | None = None, *, needed: bool = False) -> dict[str, Template]:
    """Return all templates by name: those that come with Downhaul, and those of a folder.

    A folder that is not there holds none, unless it is ``needed``. Raises DocumentError with every
    problem of the files, for two of one name, and OSError.
    """
    found: dict[str, Template] = {}
    for one in [*_built_in(), *_in_folder(folder, needed=needed)]:
        other = found.setdefault(one.name, one)
        if other is not one:
            problems = [
                Problem("name", f"the template {quoted(one.name)} is there twice", each.origin)
                for each in (other, one)
            ]
            message = f"two templates are called {quoted(one.name)}"
            raise DocumentError(message, problems, hint="give one of them another name")
    return found


def _built_in() -> Iterator[Template]:
    for file in sorted(
        resources.files("downhaul.rollout").joinpath("templates").iterdir(),
        key=lambda one: one.name,
    ):
        if file.name.endswith(".toml"):
            yield parse_template(file.read_bytes(), BUILT_IN)


def _in_folder(folder: Path | None, *, needed: bool) -> Iterator[Template]:
    if folder is None or (not needed and not folder.is_dir()):
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".toml":
            yield parse_template(path.read_bytes(), str(path))


def parse_template(text: str | bytes, origin: str = "") -> Template:
    """Return the template that a text in TOML says. Raises DocumentError with every problem."""
    data = read_data(text, "toml", origin)
    try:
        table = _TemplateTable.model_validate(data)
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors(include_url=False)]
        raise _refused(faults, origin) from None
    faults = [*_unfit(table)]
    if faults:
        raise _refused(faults, origin)
    arguments = tuple(
        Argument(name, one.default, one.description) for name, one in table.arguments.items()
    )
    return Template(
        table.name, table.version, table.description, arguments, table.plan, origin or BUILT_IN
    )


def _refused(faults: Iterable[Fault], origin: str) -> DocumentError:
    problems = problems_of(faults, origin)
    count = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    return DocumentError(f"the template is refused: {count}", problems, origin=origin or None)


def _fault(error: Mapping[str, Any]) -> Fault:
    place: Place = tuple(error["loc"])
    if error["type"] == "missing":
        return Fault(place, "is missing")
    if error["type"] == "extra_forbidden":
        inside = place[:1] == ("arguments",)
        known = (_ArgumentTable if inside else _TemplateTable).model_fields
        return Fault(
            place, "there is no such field", did_you_mean(place[-1], known, all_of="known")
        )
    message = str(error["msg"]).replace("Input should", "should").replace("String", "it")
    return Fault(place, f"{message}, not {quoted(error.get('input'))}")


def _unfit(table: _TemplateTable) -> Iterator[Fault]:
    for name in _FILLED_IN:
        if name in table.plan:
            yield Fault(("plan", name), "it is filled in", "leave it out")
    odd = [name for name in table.arguments if not re.match(_NAME, name) or name == _FLAG]
    for name in odd:
        hint = "small letters, digits, - and _; flag is there already"
        yield Fault(("arguments", name), f"{quoted(name)} is no name of an argument", hint)
    used: set[str] = set()
    for place, name in _marks(table.plan, ("plan",)):
        used.add(name)
        if name not in (*table.arguments, _FLAG):
            near = did_you_mean(name, [*table.arguments, _FLAG], all_of="its arguments are")
            yield Fault(place, f"there is no argument {quoted(name)}", near)
    for name in table.arguments:
        if name not in (*used, *odd):
            yield Fault(("arguments", name), "nothing in the plan uses it", f"write ${{{name}}}")


def _marks(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _marks(one, (*place, str(name)))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _marks(one, (*place, index))
    elif isinstance(value, str):
        for found in _MARK.finditer(value):
            if found[0] != "$$":
                yield place, found[1]


# --- filling in


def filled(template: Template, flag: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan, as a file has it, that a template makes for a flag.

    Raises Refused for arguments that it doesn't have, and without those that it needs.
    """
    known = {one.name: one for one in template.arguments}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise Refused(
            f"the template {template.title} has no argument {quoted(unknown[0])}",
            hint=did_you_mean(unknown[0], known, all_of="its arguments are"),
        )
    values = {
        name: given.get(name, one.default)
        for name, one in known.items()
        if given.get(name, one.default) is not None
    }
    missing = [one for one in template.arguments if one.name not in values]
    if missing:
        names = ", ".join(
            f"{one.name} ({one.description})" if one.description else one.name for one in missing
        )
        raise Refused(
            f"the template {template.title} needs {names}",
            hint=f"give it with --arg {missing[0].name}=...",
        )
    values[_FLAG] = flag
    plan = _fill(template.plan, values)
    return {"flag": flag, "template": template.title, **plan}


def _fill(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _fill(one, values) for name, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, values) for one in value]
    if not isinstance(value, str):
        return value
    whole = _MARK.fullmatch(value)
    if whole is not None and whole[0] != "$$":
        return values[whole[1]]
    return _MARK.sub(lambda one: "$" if one[0] == "$$" else _words(values[one[1]]), value)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value)


def plan_text(template: Template, flag: str, given: Mapping[str, Any]) -> str:
    """Return the plan that a template makes for a flag, as text in TOML.

    Raises as :func:`filled` does, and DocumentError where what comes of it is no plan.
    """
    data = filled(template, flag, given)
    head = f"# A plan for {flag}, made of the template {template.title}\n"
    text = head + "".join(_toml(data))
    parse_plan(text, "toml", f"{template.title} for {flag}")
    return text


# --- TOML


def _toml(data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{_key(name)} = {_inline(value)}\n"
    for name, value in data.items():
        many = value if _is_tables(value) else [value] if _is_table(value) else []
        head = f"[[{_key(name)}]]" if _is_tables(value) else f"[{_key(name)}]"
        for one in many:
            yield f"\n{head}\n"
            for inner, field in one.items():
                yield f"{_key(inner)} = {_inline(field)}\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_table(one) for one in value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = ", ".join(f"{_key(name)} = {_inline(one)}" for name, one in value.items())
        return f"{{ {parts} }}" if parts else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(one) for one in value)}]"
    return _text(value)


def _text(value: Any) -> str:
    """Return a text, a number or a boolean: JSON's are TOML's as well, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# --- how a plan stands to its template


def template_advice(plan: Plan, known: Mapping[str, Template]) -> Iterator[Advice]:
    """Yield what is to be said about a plan that was made of a template."""
    if not plan.template:
        return
    name, at, number = plan.template.partition("@")
    if not at or not number.isdecimal():
        message = f"{quoted(plan.template)} is no name and version"
        yield Advice(Severity.ERROR, "template", message, 'such as "guide@1"')
        return
    template = known.get(name)
    if template is None:
        hint = did_you_mean(name, known, all_of="known") or ""
        message = f"no template {quoted(name)} is known here"
        yield Advice(Severity.WARNING, "template", message, hint)
    elif int(number) < template.version:
        message = f"it was made of version {number}, and version {template.version} is there"
        hint = f"see what changed: downhaul rollout new {plan.flag} --template {name}"
        yield Advice(Severity.NOTE, "template", message, hint)
    elif int(number) > template.version:
        message = f"it was made of version {number}, and only {template.version} is known here"
        yield Advice(Severity.WARNING, "template", message, "bring the templates up to date")
    else:
        yield from _left_out(plan, template)


def _left_out(plan: Plan, template: Template) -> Iterator[Advice]:
    """Say what of its template a plan does not have any more."""
    there = {
        "checklist": {one.id for one in plan.gates.checklist},
        "hooks": {one.name for one in plan.gates.hooks},
        "guardrails": {one.measure.value for one in plan.guardrails},
        "signals": {one.measure.value for one in plan.signals},
    }
    called = {"checklist": "id", "hooks": "name", "guardrails": "measure", "signals": "measure"}
    for field, names in there.items():
        wanted = [str(one.get(called[field])) for one in _tables(template.plan.get(field))]
        for name in dict.fromkeys(wanted):
            if name not in names and not _MARK.search(name):
                message = f"{template.title} has {quoted(name)}, and this plan doesn't"
                yield Advice(Severity.WARNING, field, message, "was it left out on purpose?")
    for field, found in (("approvals", plan.gates.approvals), ("freeze", plan.gates.freezes)):
        if template.plan.get(field) and not found:
            message = f"{template.title} has {field}, and this plan has none"
            yield Advice(Severity.WARNING, field, message, "was it left out on purpose?")


def _tables(value: Any) -> list[Mapping[str, Any]]:
    many = value if isinstance(value, list) else [value]
    return [one for one in many if isinstance(one, Mapping)]
