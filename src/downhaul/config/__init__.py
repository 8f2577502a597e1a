"""Settings from file, environment and arguments, through one resolver that names every problem.

Here is how a setting is found, merged, checked and shown. What a provider makes of its settings is
the provider's; which plugin answers to a URL is :mod:`downhaul.plugins`.

The settings themselves are plain data and cheap to import. Resolving them imports pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from downhaul.config.secret import Secret
from downhaul.config.settings import (
    BackendSettings,
    ControlSettings,
    Declaration,
    PolicySettings,
    ProviderSettings,
    RolloutMode,
    Settings,
)

if TYPE_CHECKING:
    from downhaul.config.report import Row, show
    from downhaul.config.resolver import check, resolve

__all__ = [
    "BackendSettings",
    "ControlSettings",
    "Declaration",
    "PolicySettings",
    "ProviderSettings",
    "RolloutMode",
    "Row",
    "Secret",
    "Settings",
    "check",
    "resolve",
    "show",
]

# No module here is called as a name is: importing it would put the module in the function's place.
_HOME = {
    "Row": "downhaul.config.report",
    "check": "downhaul.config.resolver",
    "resolve": "downhaul.config.resolver",
    "show": "downhaul.config.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
