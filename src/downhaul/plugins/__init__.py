"""Who provides which URL scheme: what is installed, found without importing it.

Here are discovery, loading and building. What a plugin implements is in
:mod:`downhaul.hookspecs`; what a provider does is in :mod:`downhaul.provider`.
"""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.plugins.build import build_control, build_provider, load_translator, load_writer
from downhaul.plugins.registry import (
    Installed,
    Registry,
    installed,
    registry,
    spec_for,
    spec_named,
)

__all__ = [
    "Installed",
    "ProviderSpec",
    "Registry",
    "build_control",
    "build_provider",
    "hookimpl",
    "installed",
    "load_translator",
    "load_writer",
    "registry",
    "spec_for",
    "spec_named",
]
