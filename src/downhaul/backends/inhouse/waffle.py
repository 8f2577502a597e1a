"""The tables of django-waffle: ``waffle+sqlite:``, ``waffle+postgresql:``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from downhaul.backends.inhouse.database import Found, Wanted, their_database
from downhaul.backends.inhouse.following import POLL, FollowingProvider
from downhaul.backends.inhouse.tables import TablesSource
from downhaul.backends.inhouse.waffle_rows import translate
from downhaul.ledger import Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import WaffleOptions
    from downhaul.config import Settings

_NEEDED: Final = ("id", "name", "everyone", "percent", "superusers", "staff", "authenticated")
_OPTIONAL: Final = ("languages", "testing", "rollout", "note")  # of all versions but the oldest


def create(settings: Settings) -> FollowingProvider:
    """Return the provider of ``waffle+sqlite:///PATH`` or ``waffle+postgresql://``.

    Opens nothing. Raises ProviderNotFound where what drives the database is not installed.
    """
    from downhaul.backends.inhouse.options import WaffleOptions  # noqa: PLC0415  (pydantic)

    options = WaffleOptions(**settings.provider.options)
    wanted = _wanted(options)

    def translated(found: tuple[Found, ...]) -> Translation:
        return translate(dict(zip(wanted, found, strict=True)), options)

    source = TablesSource(their_database(settings), tuple(wanted.values()), translated)
    return FollowingProvider("waffle", source, poll=options.poll or POLL)


def _wanted(options: WaffleOptions) -> dict[str, Wanted]:
    """Return the tables to read, by what is in them."""
    wanted: dict[str, Wanted] = {}
    if options.flags:
        wanted["flags"] = _table(options.flags, _NEEDED, _OPTIONAL)
        wanted["users"] = _table(f"{options.flags}_users", ("flag_id", "user_id"))
        wanted["groups"] = _table(f"{options.flags}_groups", ("flag_id", "group_id"))
        wanted["group_names"] = _table(options.group_table, ("id", "name"))
    if options.flags and options.users == "username":
        wanted["usernames"] = _table(options.user_table, ("id", "username"))
    if options.switches:
        wanted["switches"] = _table(options.switches, ("name", "active"), ("note",))
    if options.samples:
        wanted["samples"] = _table(options.samples, ("name", "percent"), ("note",))
    return wanted


def _table(name: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> Wanted:
    return Wanted(name, {one: one for one in (*needed, *optional)}, frozenset(needed))
