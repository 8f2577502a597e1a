"""Backend URLs: their scheme, their secrets, and the paths in them.

A password may hold characters that a URL gives a meaning to. Where they stand in it raw and there
is one way to read them, they are percent-encoded here, so that every driver reads the same URL.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from downhaul.config.secret import MASK, is_secret_name
from downhaul.plugins.known import reached_by

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?!\d+(?:/|$))")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_PARAMETER: Final = re.compile(r"([?&;])([^=&;#?]+)=([^&;#]*)")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORT: Final = re.compile(r"\d*")
_PLAIN_IN_PATHS: Final = "/~!$&'()*+,;=:@ "
_NAMES_USERS: Final = ("postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql")
"""Schemes whose lone ``name@`` is a user; elsewhere it may as well be a token."""


def scheme_of(url: str) -> str:
    """Return a URL's scheme in lower case, or an empty string where it has none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def redacted(url: str) -> str:
    """Return a URL fit to be shown: no password, no token, whatever its form.

    What cannot be read for certain is hidden: an ``@`` behind a colon makes all between a password.
    """
    start, userinfo, rest = _parts(url)
    if userinfo is not None:
        user, colon, _ = userinfo.partition(":")
        lone = _place(url) in _NAMES_USERS
        shown = f"{user}:{MASK}" if colon else (user if lone else MASK)
        start = f"{start}{shown}@"
    return start + _PARAMETER.sub(_mask_parameter, rest)


def secrets_of(url: str) -> frozenset[str]:
    """Return every secret in a URL, as it is written and as a driver decodes it."""
    _, userinfo, rest = _parts(url)
    found = {value for _, name, value in _PARAMETER.findall(rest) if is_secret_name(name)}
    if userinfo is not None and redacted(url) != url:
        user, colon, password = userinfo.partition(":")
        found.add(password if colon else user)
    return frozenset(
        form for one in found for form in (one, unquote(one), quote(unquote(one), safe="")) if form
    )


def encoded(url: str) -> str:
    """Return a URL whose user and password are percent-encoded where they hold raw ``@:/?#%``.

    A URL with several readings stays as it is.
    """
    start, separator, tail = url.partition("://")
    authority = _AUTHORITY_END.split(tail, maxsplit=1)[0]
    if not separator or is_ambiguous(url):
        return url
    if "@" in authority:
        cut = authority.rindex("@")
    elif "@" in tail and _is_cut_short(authority):
        cut = tail.rindex("@")
    else:
        return url
    user, colon, password = tail[:cut].partition(":")
    return f"{start}{separator}{_quoted(user)}{colon}{_quoted(password)}{tail[cut:]}"


def is_ambiguous(url: str) -> bool:
    """Return whether a raw ``/`` in the password could as well begin the path of the URL."""
    start, _, tail = url.partition("://")
    authority = _AUTHORITY_END.split(tail, maxsplit=1)[0]
    path = tail[len(authority) :].partition("?")[0]
    return bool(start) and "@" in authority and "@" in path


def absolute(url: str, directory: Path) -> str:
    """Return a URL with the path that it names, if any, made absolute under ``directory``."""
    path = local_path(url)
    if path is None:
        return url
    full = str(directory / path.expanduser())
    head, question, query = url.partition("?")
    scheme = head.partition(":")[0]
    if _place(url) == "file":
        return f"{scheme}://{quote(full, safe=_PLAIN_IN_PATHS)}{question}{query}"
    return f"{scheme}:///{full}{question}{query}"


def local_path(url: str) -> Path | None:
    """Return the path that a ``file:``, ``sqlite:`` or ``table+sqlite:`` URL names, or None.

    ``sqlite:///x`` and ``file:x`` are relative, ``sqlite:////x`` and ``file:///x`` absolute, as
    SQLAlchemy and RFC 8089 have it; only the latter are percent-encoded. SQLite in memory, or by a
    URI of its own, has no path, and neither has a file on another host.
    """
    rest = url.partition(":")[2].partition("?")[0]
    match _place(url):
        case "sqlite":
            name = rest.removeprefix("///") if rest.startswith("///") else ""
            return Path(name) if name and not name.startswith((":memory:", "file:")) else None
        case "file":
            if rest.startswith("//"):
                host, slash, name = rest[2:].partition("/")
                rest = slash + name if host in ("", "localhost") else ""
            return Path(unquote(rest)) if rest else None
        case _:
            return None


def _place(url: str) -> str:
    """Return the word of a scheme that says what the URL leads to, such as ``sqlite``."""
    return reached_by(scheme_of(url)).partition("+")[0]


def _parts(url: str) -> tuple[str, str | None, str]:
    """Split a URL at its user and password: what is before, they, what comes after the ``@``."""
    start, separator, tail = url.partition("://")
    if not separator:
        scheme = scheme_of(url)
        start, tail = (url[: len(scheme) + 1], url[len(scheme) + 1 :]) if scheme else ("", url)
    authority = _AUTHORITY_END.split(tail, maxsplit=1)[0]
    if "@" not in authority and not (":" in authority and "@" in tail):
        return start + separator, None, tail
    cut = authority.index("@") if _is_plain(authority, tail) else tail.rindex("@")
    return start + separator, tail[:cut], tail[cut + 1 :]


def _is_plain(authority: str, tail: str) -> bool:
    """Return whether a URL has just one reading: one ``@`` in the authority, none in the path."""
    path = tail[len(authority) :].partition("?")[0]
    return authority.count("@") == 1 and "@" not in path


def _is_cut_short(authority: str) -> bool:
    """Return whether this is no ``host:port``, but a user and the beginning of a password."""
    host, colon, port = authority.rpartition(":")
    return bool(colon) and not _PORT.fullmatch(port) and not host.startswith("[")


def _quoted(text: str) -> str:
    return quote(_BAD_PERCENT.sub("%25", text), safe="%!$&'()*+,;=~")


def _mask_parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    return f"{mark}{name}={MASK if is_secret_name(name) and value else value}"
