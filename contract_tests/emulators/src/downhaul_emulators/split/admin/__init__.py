"""Split's admin API over the account whose flags SDKs are sent."""

from downhaul_emulators.split.admin.limits import Limits
from downhaul_emulators.split.admin.routing import answer_admin

__all__ = ["Limits", "answer_admin"]
