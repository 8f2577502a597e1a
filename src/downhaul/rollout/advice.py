"""Advice in the three weights, as lints give it."""

from __future__ import annotations

from downhaul.rollout.results import Advice, Severity


def error(path: str, message: str, hint: str = "") -> Advice:
    """Return what refuses the start."""
    return Advice(Severity.ERROR, path, message, hint)


def warning(path: str, message: str, hint: str = "") -> Advice:
    """Return what may do harm."""
    return Advice(Severity.WARNING, path, message, hint)


def note(path: str, message: str, hint: str = "") -> Advice:
    """Return what is easily overlooked."""
    return Advice(Severity.NOTE, path, message, hint)
