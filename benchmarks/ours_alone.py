"""Downhaul with the case's flag and no ordinary one: what the other 10,000 cost."""

from __future__ import annotations

import case
from contestant import Measure, Prepared
from ours import client


def prepare() -> Prepared:
    """Load one flag, and the few that the kills name."""
    flags, users, flag = client(1), case.USERS, case.FLAG

    def run() -> None:
        for user in users:
            flags.is_enabled(flag, user)

    return Prepared(
        {"case": Measure(run, len(users))},
        lambda: [flags.is_enabled(flag, user) for user in users],
        "downhaul",
    )
