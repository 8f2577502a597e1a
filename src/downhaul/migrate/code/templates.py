"""References in Django's templates and Jinja's: the tags and functions of django-waffle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from downhaul.migrate.code.model import Certainty, Reference
from downhaul.migrate.code.sdks import ALL_FLAGS, WAFFLES

_TOKEN: Final = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}")
_CLOSED: Final = {"comment": "endcomment", "verbatim": "endverbatim", "raw": "endraw"}
_TAG: Final = re.compile(r"\{%[-+]?\s*(\w+)\s*(.*?)\s*[-+]?%\}")
_ARGUMENT: Final = re.compile(r""""(?:[^"\\]|\\.)*"\S*|'(?:[^'\\]|\\.)*'\S*|\S+""")
_QUOTED: Final = re.compile(r"""(["'])((?:(?!\1)[^\\]|\\.)*)\1""")
_NAME: Final = re.compile(r"[\w.-]+")
_FUNCTION: Final = re.compile(r"\bwaffle\.(flag|switch|sample)\(\s*([^()]*?)\s*\)")
_LOADS: Final = re.compile(r"\{%\s*load\s[^%]*\bwaffle_tags\b")


def template_references(path: str, text: str) -> Iterator[Reference]:
    """Yield the references of a template.

    A tag without quotes (``{% flag name %}``) is asked with the variable of that name if there is
    one, else with the name itself: the name stands as the key, and the certainty is LIKELY.
    """
    if "{%" not in text and "waffle." not in text:
        return
    loaded = Certainty.PROVEN if _LOADS.search(text) else Certainty.LIKELY
    until = ""
    for token in _TOKEN.finditer(text):
        tag = _TAG.fullmatch(token[0])
        name = tag[1] if tag is not None else ""
        if until:
            until = "" if name == until else until
        elif name in _CLOSED:
            until = _CLOSED[name]
        elif not token[0].startswith("{#"):
            yield from _functions(path, text, token)
            if tag is not None:
                yield from _tag(path, text, tag, token.start(), loaded)


def _tag(
    path: str, text: str, tag: re.Match[str], offset: int, loaded: Certainty
) -> Iterator[Reference]:
    line, column = _place(text, offset)
    if tag[1] == "wafflejs":
        yield Reference(
            path, line, column, "waffle", "{% wafflejs %}", certainty=loaded, bulk=ALL_FLAGS
        )
    argument = _ARGUMENT.match(tag[2])
    if tag[1] not in WAFFLES or argument is None:
        return
    certainty = loaded if _QUOTED.fullmatch(argument[0]) else Certainty.LIKELY
    key = _key(argument[0])
    yield _made(path, (line, column), f"{{% {tag[1]} %}}", tag[1], argument[0], key, certainty)


def _functions(path: str, text: str, token: re.Match[str]) -> Iterator[Reference]:
    for found in _FUNCTION.finditer(token[0]):
        quoted = _QUOTED.fullmatch(found[2])
        place = _place(text, token.start() + found.start())
        key = quoted[2] if quoted is not None else None
        call = f"waffle.{found[1]}"
        yield _made(path, place, call, found[1], found[2], key, Certainty.LIKELY)


def _key(argument: str) -> str | None:
    quoted = _QUOTED.fullmatch(argument)
    if quoted is not None:
        return quoted[2]
    return argument if _NAME.fullmatch(argument) else None


def _made(
    path: str,
    place: tuple[int, int],
    call: str,
    sort: str,
    source: str,
    key: str | None,
    certainty: Certainty,
) -> Reference:
    return Reference(
        path,
        *place,
        sdk="waffle",
        call=call,
        keys=() if key is None else (key,),
        dynamic=source if key is None else None,
        default=WAFFLES[sort],
        certainty=certainty,
    )


def _place(text: str, offset: int) -> tuple[int, int]:
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - start + 1
