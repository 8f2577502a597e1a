"""Reading ``{env = "NAME"}`` and ``{file = "path"}``: a string that is kept somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from downhaul.config.secret import Secret
from downhaul.config.sources import Leaf, Reference


class Unreadable(Exception):
    """A reference leads nowhere. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_reference(leaf: Leaf, environ: Mapping[str, str]) -> Secret:
    """Return what a leaf refers to. A file loses the line ends behind its text.

    Raises Unreadable for a variable that is not set or empty, and for a file that cannot be read
    or is empty.
    """
    reference: Reference = leaf.value
    if reference.kind == "env":
        value = environ.get(reference.name, "")
        if not value:
            message = f"the environment variable {reference.name} is not set"
            raise Unreadable(message, f"set {reference.name}, or write the value another way")
        return Secret(value)
    path = leaf.directory / Path(reference.name).expanduser()
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        message = f"the file {path} cannot be read: {error.strerror or type(error).__name__}"
        raise Unreadable(message, "check its path and who may read it") from None
    except UnicodeDecodeError:
        raise Unreadable(f"the file {path} is not UTF-8", "save it as UTF-8") from None
    if not text:
        raise Unreadable(f"the file {path} is empty", "write the value into it")
    return Secret(text)
