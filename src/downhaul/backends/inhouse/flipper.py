"""The tables of Flipper for Ruby, as ActiveRecord and Sequel keep them: ``flipper+sqlite:``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from downhaul.backends.inhouse.database import Wanted, their_database
from downhaul.backends.inhouse.flipper_gates import translate
from downhaul.backends.inhouse.following import POLL, FollowingProvider
from downhaul.backends.inhouse.tables import TablesSource

if TYPE_CHECKING:
    from downhaul.config import Settings


def create(settings: Settings) -> FollowingProvider:
    """Return the provider of ``flipper+sqlite:///PATH`` or ``flipper+postgresql://``.

    Opens nothing. Raises ProviderNotFound where what drives the database is not installed.
    """
    from downhaul.backends.inhouse.options import FlipperOptions  # noqa: PLC0415  (pydantic)

    options = FlipperOptions(**settings.provider.options)
    features = {"key": "key"}
    gates = {"feature": "feature_key", "key": "key", "value": "value"}
    wanted = (
        Wanted(options.features, features, frozenset(features)),
        Wanted(options.gates, gates, frozenset(gates)),
    )
    source = TablesSource(their_database(settings), wanted, partial(translate, options=options))
    return FollowingProvider("flipper", source, poll=options.poll or POLL)
