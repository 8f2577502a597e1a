"""Who answers to the URL of a sink: Apprise, if it is installed and knows the scheme.

Apprise's errors and logs quote tokens, so what it says goes through :class:`Redactor` first.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import unquote

from downhaul.config.secret import MASK, Secret
from downhaul.config.urls import scheme_of

WEB: Final = frozenset({"http", "https"})
"""Schemes of the webhook, which needs no Apprise."""

INSTALL: Final = 'pip install "downhaul[alerts]"'

_PIECE: Final = re.compile(r"[/?#&;=:@,]+")
_SHORTEST: Final = 5  # characters of a piece of a URL that is looked for in what others say
_SPEAKERS: Final = ("apprise", "urllib3.connectionpool")  # loggers that name the URLs they call
_REQUIREMENT: Final = re.compile(r"[<>=!~;\[ ].*")


class Unusable(Exception):
    """Nothing here can send to this URL. ``hint`` says what to do; neither holds a secret."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Redactor(logging.Filter):
    """Takes secrets out of what is logged, whoever logs it."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def hide(self, url: Secret) -> None:
        """Never let pieces of this URL into a log again."""
        with self._lock:
            self._secrets |= pieces(url.reveal())
            for name in _SPEAKERS:
                logging.getLogger(name).addFilter(self)  # again is once

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace what is secret in a record."""
        text = record.getMessage()
        clean = without_pieces(text, self._secrets)
        if clean != text:
            record.msg, record.args = clean, None
        return True

    def clean(self, text: str) -> str:
        """Return a text without what is secret."""
        return without_pieces(text, self._secrets)


REDACTOR: Final = Redactor()
"""The one of this process."""


def pieces(url: str) -> frozenset[str]:
    """Return the parts of a URL that may be secret: all but its scheme, port and host names.

    A host without a dot is a token in most of Apprise's URLs.
    """
    _, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = host_of(url)
    found = {rest, rest.partition("@")[2] if "@" in authority else rest}
    found |= set(_PIECE.split(rest))
    found |= {authority.rpartition("@")[0]}
    found |= {unquote(one) for one in found}
    public = {host, "localhost"} if "." in host else {"localhost"}
    return frozenset(one for one in found if len(one) >= _SHORTEST and one.lower() not in public)


def without_pieces(text: str, secrets: Iterable[str]) -> str:
    """Return a text with each secret replaced, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def host_of(url: str) -> str:
    """Return the host of a URL in lower case, which may as well be a token."""
    rest = url.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def load(url: Secret) -> Any:
    """Return Apprise's notifier for a URL. Raises Unusable.

    The first call imports all of Apprise's plugins, which takes a second.
    """
    try:
        import apprise  # noqa: PLC0415  (an extra, and slow)
        from apprise import manager_plugins  # noqa: PLC0415
    except ImportError:
        message = f"{scheme_of(url.reveal())}:// needs Apprise, which is not installed"
        raise Unusable(message, INSTALL) from None
    REDACTOR.hide(url)
    scheme = scheme_of(url.reveal())
    manager: Any = manager_plugins.NotificationManager  # which has no types
    known = manager()
    if scheme not in known:
        raise _unknown(scheme, known.schemas())
    plugin: Any = known[scheme]
    if not plugin.enabled:
        raise _disabled(scheme, plugin)
    asset = apprise.AppriseAsset(
        app_id="Downhaul",
        app_desc="Feature flags, rollouts and kills",
        async_mode=False,
        secure_logging=True,
    )
    made, why = None, "it can't be read"
    try:
        made = apprise.Apprise.instantiate(url.reveal(), asset=asset, suppress_exceptions=False)
    except Exception as error:  # noqa: BLE001  (a plugin raises what it likes, and quotes tokens)
        why = REDACTOR.clean(str(error))
    if made is None:  # said here, so that no error has the plugin's own within it
        raise _misread(scheme, plugin, why)
    return made


def _unknown(scheme: str, known: Iterable[str]) -> Unusable:
    near = get_close_matches(scheme, sorted(known), n=1)
    hint = f"did you mean {near[0]}://? " if near else ""
    hint += "a newer Apprise may know it: pip install --upgrade apprise"
    return Unusable(f"Apprise knows nothing that answers to {scheme}://", hint)


def _disabled(scheme: str, plugin: Any) -> Unusable:
    needed = plugin.requirements.get("packages_required") or ()
    wanted = [needed] if isinstance(needed, str) else list(needed)
    packages = " ".join(_REQUIREMENT.sub("", str(one)) for one in wanted)
    if not packages:
        return Unusable(f"Apprise can't use {scheme}:// on this system", f"see {_page(plugin)}")
    message = f"{scheme}:// needs {packages}, which is not installed"
    return Unusable(message, f"pip install {packages}")


def _misread(scheme: str, plugin: Any, why: str) -> Unusable:
    message = f"it is no {scheme}:// URL as Apprise takes one: {why.rstrip('.')}"
    return Unusable(message, f"see {_page(plugin)}")


def _page(plugin: Any) -> str:
    return str(getattr(plugin, "setup_url", "") or "https://appriseit.com/services/")
