"""Printing the result of one write, for people or for programs."""

from __future__ import annotations

from downhaul.cli import render
from downhaul.cli.session import Session
from downhaul.control import FlagResult, SegmentResult


def written(session: Session, result: FlagResult | SegmentResult) -> None:
    """Print what a write did, and warn of what should be known besides."""
    if session.as_json:
        session.out.json(render.write_data(result))
        return
    for line in render.write_lines(result):
        session.out.line(line)
    for warning in result.warnings:
        session.out.warning(warning)
