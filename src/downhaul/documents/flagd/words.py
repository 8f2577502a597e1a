"""What flagd's documents call things, where both directions must agree."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "https://flagd.dev/schema/v0/flags.json"

OWNER: Final = "owner"
TYPE: Final = "type"
TAGS: Final = "tags"
"""One text with commas between the tags: flagd's metadata hold no lists."""
DESCRIPTION: Final = "description"
