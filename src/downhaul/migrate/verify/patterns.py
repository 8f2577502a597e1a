"""Texts that a regular expression may match: guesses, which whoever asks for them tries out."""

from __future__ import annotations

from typing import Final

_ALTERNATIVES: Final = 4
_REPEATED: Final = 32
_CLASSES: Final = {
    "d": "5", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a",
    "t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v",
    "b": "", "B": "", "A": "", "z": "", "Z": "",
}  # fmt: skip


def samples(pattern: str) -> tuple[str, ...]:
    """Return a few texts that are likely to match, one for each of the first alternatives."""
    try:
        found = _Reader(pattern).alternatives()
    except (IndexError, ValueError, RecursionError):
        found = []
    return tuple(dict.fromkeys([*found[:_ALTERNATIVES], pattern.strip("^$")]))


class _Reader:
    """Reads an expression from left to right, and writes what each part asks for, once."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def alternatives(self) -> list[str]:
        """Return one text for each alternative, up to the end or the bracket that closes."""
        found, parts = [], [""]
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                found += parts
                parts = [""]
                continue
            pieces = self._repeated(self._part())
            parts = [part + piece for part in parts for piece in pieces][:_ALTERNATIVES]
        return [*found, *parts]

    def _part(self) -> list[str]:
        letter = self._next()
        if letter == "(":
            return self._group()
        if letter == "[":
            return [self._class()]
        if letter == "\\":
            return [self._escaped()]
        if letter in "^$":
            return [""]
        return ["x" if letter == "." else letter]

    def _group(self) -> list[str]:
        if self._text.startswith("?", self._at):
            while self._next() not in ":>)":  # flags and names of groups, which say no text
                pass
            if self._text[self._at - 1] == ")":
                return [""]
        found = self.alternatives()
        self._at += 1
        return found

    def _class(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        members = [self._member()]
        while self._text[self._at] != "]":
            members.append(self._member())
        self._at += 1
        if not negated:
            return members[0]
        return next((one for one in "a5_~ é" if one not in members), "Z")

    def _member(self) -> str:
        letter = self._next()
        return self._escaped() if letter == "\\" else letter

    def _escaped(self) -> str:
        letter = self._next()
        if letter in "pPQxux":
            message = "what this stands for takes a table"
            raise ValueError(message)
        return _CLASSES.get(letter, letter)

    def _repeated(self, pieces: list[str]) -> list[str]:
        mark = self._text[self._at : self._at + 1]
        if mark and mark in "*+?":
            self._at += 1
        elif mark == "{" and self._text[self._at + 1 : self._at + 2].isdigit():
            end = self._text.index("}", self._at)
            least = int(self._text[self._at + 1 : end].split(",")[0])
            self._at = end + 1
            pieces = [piece * min(least, _REPEATED) for piece in pieces]
        else:
            return pieces
        self._at += self._text.startswith(("?", "+"), self._at)
        return pieces

    def _next(self) -> str:
        letter = self._text[self._at]
        self._at += 1
        return letter
