"""How the demo is shown: as it goes on stderr, and summed up on stdout."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from typing import Any, Final

from downhaul.demo.claims import Claim
from downhaul.demo.imported import Imported
from downhaul.demo.rollouts import RolloutsReport
from downhaul.demo.story import BackendReport, StepReport

_WIDTH: Final = 110  # of a line of the summary, if it can be
_EXAMPLES: Final = 20  # answers that should not have been, in the document


class Show:
    """Tells the run as it goes, on stderr, and sums it up, on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def note(self, text: str) -> None:
        """Say what is going on."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def backend(self, name: str) -> None:
        """Say on which backend the story is told now."""
        self.note(f"\n{name}")
        self.act("somebody raises a flag by hand, and kills it")
        self.note(f"    {'command':>9}  {'asked':>7}  {'served':>8}  {'lost':>4}  seen after")

    def act(self, title: str) -> None:
        """Say which act begins."""
        self.note(f"\n  {title}")

    def event(self, second: float, text: str) -> None:
        """Show what happened to a rollout, or to who moves it."""
        self.note(f"    {max(0.0, second):5.1f} s  {text}")

    def step(self, step: StepReport) -> None:
        """Show what one command did."""
        bar = "█" * round(step.share * 30)
        seen = " ".join(f"{second * 1000:.0f} ms" for second in step.latencies)
        lost = "all" if step.command == "kill" else str(step.lost)
        self.note(
            f"    {step.command:>9}  {step.asked:>7.1%}  {step.share:>8.2%}  {lost:>4}  "
            f"{seen:<14} {bar}"
        )

    def summary(
        self, reports: Sequence[BackendReport], claims: Sequence[Claim], imported: Imported,
        skipped: str | None,
    ) -> None:  # fmt: skip
        """Print the figures and the claims."""
        if self._as_json:
            sys.stdout.write(f"{json.dumps(_data(reports, claims, imported, skipped), indent=2)}\n")
            return
        lines = [""]
        for report in reports:
            spread = _spread(report.latencies)
            lines.append(
                f"{report.backend}: {report.requests} requests of {report.users} users at "
                f"{report.processes} processes; command to changed answer {spread}"
            )
        if imported.source:
            lines.append(
                f"imported {imported.source}: {len(imported.flag_set.flags)} flags, "
                f"{len(imported.flag_set.segments)} segments; {_fidelity(imported)}"
            )
        for act in dict.fromkeys(claim.act for claim in claims):
            lines += ["", act]
            mine = [claim for claim in claims if claim.act == act]
            for text in dict.fromkeys(claim.text for claim in mine):
                lines += _lines([claim for claim in mine if claim.text == text])
        if skipped:
            lines += ["", f"PostgreSQL was left out: {skipped}"]
        held = sum(claim.held for claim in claims)
        lines += ["", f"{held} of {len(claims)} claims held."]
        sys.stdout.write("\n".join(lines) + "\n")


def _lines(claims: Sequence[Claim]) -> list[str]:
    """Return one sentence with what each backend measured for it; once, if it is the same."""
    held = all(claim.held for claim in claims)
    text = f"  {'held' if held else 'FAILED':6}  {claims[0].text}"
    if len({(claim.measured, claim.held) for claim in claims}) == 1:
        return [f"{text}: {claims[0].measured}"]
    told = [
        f"{claim.backend} {claim.measured}{'' if claim.held else ' (FAILED)'}" for claim in claims
    ]
    line = f"{text}: {'; '.join(told)}"
    return [line] if len(line) <= _WIDTH else [f"{text}:", *(f"            {one}" for one in told)]


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "not measured"
    middle = statistics.median(seconds) * 1000
    return f"{middle:.0f} ms in the middle, {max(seconds) * 1000:.0f} ms at most"


def _fidelity(imported: Imported) -> str:
    counts: dict[str, int] = {}
    for entry in imported.ledger:
        name = str(getattr(entry.fidelity, "value", entry.fidelity)).upper()
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "empty ledger"


def _data(
    reports: Sequence[BackendReport],
    claims: Sequence[Claim],
    imported: Imported,
    skipped: str | None,
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "command": "demo",
        "held": all(claim.held for claim in claims),
        "claims": [
            {
                "act": one.act,
                "backend": one.backend or None,
                "claim": one.text,
                "held": one.held,
                "measured": one.measured,
            }
            for one in claims
        ],
        "skipped": skipped,
        "imported": {
            "source": imported.source,
            "flags": len(imported.flag_set.flags),
            "segments": len(imported.flag_set.segments),
            "questions": len(imported.questions),
            "expectations": len(imported.expectations),
        }
        if imported.source
        else None,
        "backends": [
            {
                "backend": report.backend,
                "users": report.users,
                "processes": report.processes,
                "requests": report.requests,
                "failed": report.failed,
                "lost": report.lost,
                "wrong_after_kill": report.wrong_after_kill,
                "steps": [
                    {
                        "command": step.command,
                        "asked": step.asked,
                        "share": step.share,
                        "lost": step.lost,
                        "unlike": step.unlike,
                        "latencies_ms": [round(second * 1000, 2) for second in step.latencies],
                    }
                    for step in report.steps
                ],
                "rollouts": None if report.rollouts is None else _rollouts(report.rollouts),
            }
            for report in reports
        ],
    }


def _rollouts(report: RolloutsReport) -> dict[str, Any]:
    return {
        "controller_killed_at": report.killed_at,
        "controller_held_lease": report.held,
        "resumed_after": round(report.resumed, 3) if math.isfinite(report.resumed) else None,
        "controller_slept": round(report.slept, 3),
        "taken_back_ms": [round(one * 1000, 2) for one in report.taken_back],
        "kill_ms": [round(one * 1000, 2) for one in report.kill],
        "answers": report.logged,
        "observed": report.observed,
        "wrong": list(report.wrong[:_EXAMPLES]),
        "stories": {
            name: {
                "variant": tale.variant,
                "planned": tale.planned,
                "raised": tale.raised,
                "phase": tale.phase,
                "because": tale.because,
                "message": tale.message,
                "seconds": round(tale.seconds, 3),
                "answers": tale.answers,
                "failed": tale.failed,
                "users": tale.met,
                "lost": tale.lost,
                "moved": tale.moved,
            }
            for name, tale in report.tales.items()
        },
    }
