"""All flags as a server tells them to its SDKs, in our words: one request with the SDK's token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.config import Secret
from downhaul.flag import Flag
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.vendors.rest import Refusal, RestApi
from downhaul_unleash.api import NAME
from downhaul_unleash.features import is_tag
from downhaul_unleash.translate import flags_from

if TYPE_CHECKING:
    from downhaul_unleash.session import Connection

TagsOf = Callable[[Iterable[str]], Mapping[str, tuple[str, ...]]]
"""Gives the tags of flags, by their names."""

_SPECIFICATION: Final = "5.2.0"
"""What a client must say that it knows, or a server writes segments out in strategies."""
_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal("refuses the token (401)", "set `token` to a backend token of this server"),
    403: Refusal(
        "does not let this token read flags (403)", "use a backend token, not a frontend one"
    ),
    404: Refusal("has no API at this URL (404)", "the URL must lead to the API: it ends in /api"),
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        Refusal("sends elsewhere, where no token is taken", "set `url` to where Unleash itself is"),
    ),
}


def exported(connection: Connection, tags_of: TagsOf | None, deadline: float) -> Translation:
    """Return every flag and segment, and a ledger of each part.

    ``tags_of`` asks the admin side. Raises ProviderError, Unreachable, and DocumentError for an
    answer that is no payload of Unleash.
    """
    document: Any = connection.bootstrap
    if document is None:
        document = _asked(connection, deadline)
    made = flags_from(document)
    return made if tags_of is None else _tagged(made, tags_of)


def _asked(connection: Connection, deadline: float) -> Any:
    api = RestApi(
        connection.url,
        connection.token or Secret(""),
        vendor="Unleash",
        provider=NAME,
        headers=lambda token: {
            "Authorization": token,
            "Accept": "application/json",
            "UNLEASH-APPNAME": connection.app_name,
            "Unleash-Client-Spec": _SPECIFICATION,
        },
        refusals=_REFUSALS,
        unexpected="the URL must lead to Unleash's API: it ends in /api",
        deadline=deadline,
    )
    with api.begin() as asking:
        return asking.get("/client/features")


def _tagged(made: Translation, tags_of: TagsOf) -> Translation:
    """Return a translation with the tags that only the admin side tells."""
    found = tags_of(flag.key for flag in made.flags)
    flags: list[Flag] = []
    entries = list(made.ledger)
    for flag in made.flags:
        tags = dict.fromkeys(flag.tags)
        for tag in found.get(flag.key, ()):
            if is_tag(tag):
                tags[tag] = None
            else:
                path = f"tags.{flag.key}"
                why = "no tag can be called so"
                entries.append(LedgerEntry(flag.key, path, Fidelity.SKIPPED, why, tag))
        flags.append(replace(flag, tags=tuple(tags)))
    return Translation(tuple(flags), made.segments, Ledger(tuple(entries)))
