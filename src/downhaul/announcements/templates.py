"""Templates of announcements: text with ``{fields}``, and nothing that could run or fail.

A template is checked when it is read, and can always be filled: a field that an event does not have
is empty, and a line whose fields are all empty is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final
from urllib.parse import quote

COMMON: Final = ("event", "severity", "flag", "environment", "actor", "reason", "at", "id")
LINKED: Final = ("link", "command")
ROLLOUT: Final = ("rollout", "variant", "phase", "step", "percent", "because", "changed")
SWITCH_OFF: Final = ("provider", "seconds", "error")

_ALONE: Final = frozenset({"killed", "revived", "kill_ends_soon", "kill_ended", "test"})
_SWITCH_OFFS: Final = frozenset({"not_switched_off", "switched_off"})
_RAW: Final = frozenset({"link", "command", "id"})  # addresses and code: nothing is escaped
_MARKED: Final = re.compile(r"([\\`*\[\]<])")


@dataclass(frozen=True, slots=True)
class Template:
    """How an event is told: a title, plain text, markdown, and the command to type.

    What is None is as it is by default; where only ``text`` is given, it stands for the markdown
    too.
    """

    title: str | None = None
    text: str | None = None
    markdown: str | None = None
    command: str | None = None

    def over(self, other: Template) -> Template:
        """Return this template, with what it leaves open taken from another."""
        markdown = self.markdown
        if markdown is None:
            markdown = other.markdown if self.text is None else self.text
        return Template(
            other.title if self.title is None else self.title,
            other.text if self.text is None else self.text,
            markdown,
            other.command if self.command is None else self.command,
        )


def fields_of(what: str) -> tuple[str, ...]:
    """Return the fields that a title, text or markdown of an event can have."""
    if what in _SWITCH_OFFS:
        return (*COMMON, *LINKED, *SWITCH_OFF)
    return (*COMMON, *LINKED) if what in _ALONE else (*COMMON, *LINKED, *ROLLOUT)


def fields_of_command(what: str) -> tuple[str, ...]:
    """Return the fields that the command of an event can have.

    ``where`` are the options that name the environment: ``-e production``.
    """
    return (*(one for one in fields_of(what) if one not in LINKED), "where")


LINK_FIELDS: Final = (*(one for one in COMMON if one not in ("reason", "at")), "rollout")
"""The fields that ``[alerts] link`` can have."""


def trouble(template: str, fields: Iterable[str]) -> str | None:
    """Return what is wrong with a template, with the fields that exist; None for a sound one."""
    known = tuple(fields)
    try:
        parsed = list(_parsed(template))
    except ValueError as error:
        return f"is no template: {error} (write {{{{ and }}}} for braces)"
    for _, name in parsed:
        if name is not None and name not in known:
            return f"has no field {{{name}}}; there are {', '.join(f'{{{one}}}' for one in known)}"
    return None


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a text with its fields; lines whose fields are all empty are left out."""
    return _filled(template, values, lambda _name, value: value)


def filled_markdown(template: str, values: Mapping[str, str]) -> str:
    """Return markdown with its fields, in which no value means anything but itself."""
    return _filled(template, values, _in_markdown)


def filled_link(template: str, values: Mapping[str, str]) -> str:
    """Return a URL with its fields, each quoted as a part of a path is."""
    return "".join(
        literal + ("" if name is None else quote(values.get(name, ""), safe=""))
        for literal, name in _parsed(template)
    )


def _filled(template: str, values: Mapping[str, str], escape: Callable[[str, str], str]) -> str:
    lines = []
    for line in template.splitlines():
        parts = list(_parsed(line))
        names = [name for _, name in parts if name is not None]
        if names and not any(values.get(name) for name in names):
            continue
        lines.append(
            "".join(
                literal + ("" if name is None else escape(name, values.get(name, "")))
                for literal, name in parts
            )
        )
    return "\n".join(lines).strip("\n")


def _parsed(template: str) -> Iterator[tuple[str, str | None]]:
    """Yield literals, each with the field behind it. Raises ValueError for all but plain fields."""
    for literal, name, form, conversion in Formatter().parse(template):
        if name is not None and (form or conversion or not name.isidentifier()):
            message = f"{{{name}}} is to be a plain name"
            raise ValueError(message)
        yield literal, name


def _in_markdown(name: str, value: str) -> str:
    if name in _RAW:
        return value.replace("`", "'") if name == "command" else value
    return _MARKED.sub(r"\\\1", value)
