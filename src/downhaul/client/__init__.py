"""What an application holds: :class:`Flags`. What changes flags is :mod:`downhaul.control`."""

from downhaul.client.engine import FlagsStatus
from downhaul.client.flags import Flags

__all__ = ["Flags", "FlagsStatus"]
