"""Why Unleash can't keep something of a flag."""

from __future__ import annotations


class CantSay(Exception):
    """Unleash has no words for it; the message says for what, and why."""
