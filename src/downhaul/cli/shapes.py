"""The shape of every ``--json`` document, as JSON Schema: what programs may lean on.

Fields may be added under the same ``schema_version``; what stands here stays. ``schema_of`` gives
the schema of one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from downhaul.cli.output import SCHEMA_VERSION
from downhaul.cli.shape_words import (
    ANY,
    COUNT,
    COUNT_OR_NULL,
    FLAG,
    HERE,
    LOSS,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    list_of,
    object_of,
    one_of,
    or_null,
)
from downhaul.cli.shapes_kills import KILL_BODIES, RECORD
from downhaul.cli.shapes_migrate import MIGRATE_BODIES
from downhaul.cli.shapes_rollout import ROLLOUT_BODIES

_DOCUMENT: Final = object_of(key=TEXT)
_DIFFERENCES: Final = list_of(object_of(path=TEXT, before=ANY, after=ANY))
_CHANGE: Final = object_of(id=TEXT, actor=TEXT, marked=FLAG, reason=TEXT)
_PROBLEM: Final = object_of(path=TEXT, message=TEXT, origin=TEXT, hint=TEXT_OR_NULL)
_LEDGER: Final = list_of(LOSS)
_CHECKS: Final = list_of(
    object_of(name=TEXT, status=one_of("ok", "warn", "fail"), message=TEXT, hint=TEXT_OR_NULL)
)
_WRITTEN: Final = {
    "action": TEXT,
    "key": TEXT,
    "changed": FLAG,
    "before": or_null(_DOCUMENT),
    "after": or_null(_DOCUMENT),
    "differences": _DIFFERENCES,
    "change": _CHANGE,
    "warnings": list_of(TEXT),
}
_SUMMARY: Final = object_of(
    key=TEXT,
    kind=TEXT,
    type=TEXT,
    on=FLAG,
    exposure=TEXT,
    killed=FLAG,
    tags=list_of(TEXT),
    owner=TEXT,
    version=TEXT,
)
_ROW: Final = object_of(
    entity=one_of("flag", "segment"),
    key=TEXT,
    action=one_of("create", "replace", "skip", "same"),
    written=FLAG,
    version=TEXT,
    error=TEXT_OR_NULL,
)
_ENTRY: Final = object_of(
    id=COUNT,
    change_id=TEXT,
    at=TEXT,
    environment=TEXT,
    entity=one_of("flag", "segment", "kill"),
    key=TEXT,
    action=TEXT,
    actor=TEXT,
    marked=FLAG,
    reason=TEXT,
    version=TEXT,
    before=ANY,
    after=ANY,
    differences=_DIFFERENCES,
)
_STALE: Final = object_of(
    key=TEXT,
    on=FLAG,
    variant=TEXT_OR_NULL,
    type=TEXT,
    owner=TEXT,
    changed=TEXT_OR_NULL,
    days=COUNT_OR_NULL,
    asked=TEXT_OR_NULL,
)
_STEP: Final = object_of(what=TEXT, matched=FLAG, why=TEXT, parts=list_of({"type": "object"}))
_PROVIDER: Final = object_of(
    name=TEXT,
    status=one_of("ok", "broken", "disabled"),
    package=TEXT,
    version=TEXT,
    schemes=list_of(TEXT),
    capabilities=list_of(TEXT),
    evaluates=FLAG,
    translates=FLAG,
    problem=TEXT,
)
_OUTCOMES: Final = object_of(
    passed=COUNT, declined=COUNT, known_gap=COUNT, failed=COUNT, skipped=COUNT
)
_BINDING: Final = object_of(
    binding=TEXT,
    name=TEXT,
    suite=TEXT,
    provider=TEXT,
    capabilities=list_of(TEXT),
    lacks={"type": "object", "additionalProperties": TEXT},
    known_gaps={"type": "object", "additionalProperties": TEXT},
    partial=FLAG,
    not_run=list_of(TEXT),
    groups={"type": "object", "additionalProperties": _OUTCOMES},
    tests=list_of(
        object_of(
            test=TEXT,
            group=TEXT,
            outcome=one_of("passed", "declined", "known_gap", "failed", "skipped"),
            why=TEXT,
        )
    ),
)
_BODIES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "flags list": {**HERE, "flags": list_of(_SUMMARY)},
    "flags show": {**HERE, "flag": _DOCUMENT, "exposure": TEXT, "kill": or_null(RECORD)},
    **{
        f"flags {verb}": _WRITTEN
        for verb in ("create", "set", "on", "off", "percent", "target", "restore", "delete")
    },
    "flags import": {
        "dry_run": FLAG,
        "rows": list_of(_ROW),
        "change": _CHANGE,
        "stopped_by": TEXT_OR_NULL,
        "ledger": _LEDGER,
    },
    "flags export": {"document": {"type": "object"}, "ledger": _LEDGER},
    "flags convert": {"document": {"type": "object"}, "ledger": _LEDGER},
    "flags history": {"key": TEXT_OR_NULL, "changes": list_of(_ENTRY)},
    "flags stale": {"days": COUNT, "asked_known": FLAG, "flags": list_of(_STALE)},
    "segments list": {**HERE, "segments": list_of(_DOCUMENT)},
    "segments show": {"segment": _DOCUMENT},
    "segments set": _WRITTEN,
    "segments delete": _WRITTEN,
    "eval": {
        "flag": TEXT,
        "context": {"type": "object"},
        "value": ANY,
        "variant": TEXT_OR_NULL,
        "reason": TEXT,
        "error_code": TEXT_OR_NULL,
        "error_message": TEXT_OR_NULL,
        "flag_version": TEXT,
        "provider": TEXT,
        "authoritative": FLAG,
        "metadata": {"type": "object"},
        "provider_state": TEXT,
        "steps": or_null(list_of(_STEP)),
    },
    **KILL_BODIES,
    **ROLLOUT_BODIES,
    **MIGRATE_BODIES,
    "providers list": {
        "providers": list_of(_PROVIDER),
        "not_installed": list_of(object_of(name=TEXT, install=TEXT)),
    },
    "contract run": {
        "report": COUNT,
        "complete": FLAG,
        "problems": list_of(TEXT),
        "suite": TEXT,
        "downhaul": TEXT,
        "python": TEXT,
        "passed": FLAG,
        "provider": object_of(name=TEXT, package=TEXT, version=TEXT),
        "bindings": list_of(_BINDING),
    },
    "config show": {
        "settings": list_of(object_of(path=TEXT, value=ANY, origin=TEXT)),
        "notes": list_of(TEXT),
    },
    "config check": {"ok": FLAG, "problems": list_of(_PROBLEM)},
    "db upgrade": {
        "databases": list_of(object_of(url=TEXT, before=TEXT_OR_NULL, after=TEXT, changed=FLAG))
    },
    "db check": {
        "ok": FLAG,
        "databases": list_of(object_of(url=TEXT, found=TEXT_OR_NULL, wanted=TEXT_OR_NULL, ok=FLAG)),
    },
    "db sql": {"sql": TEXT},
    "db roles": {"sql": TEXT},
    "alerts list": {
        "environment": TEXT,
        "sinks": list_of(
            object_of(
                name=TEXT,
                kind=TEXT,
                severity=one_of("info", "warning", "critical"),
                only=list_of(TEXT),
                environments=list_of(TEXT),
                problem=TEXT_OR_NULL,
            )
        ),
    },
    "alerts test": {
        "ok": FLAG,
        "sinks": list_of(
            object_of(name=TEXT, kind=TEXT, took=FLAG, ms=NUMBER_OR_NULL, error=TEXT_OR_NULL)
        ),
    },
    "doctor": {"ok": FLAG, "checks": _CHECKS},
    "emulate": {
        "vendor": TEXT,
        "facts": {"type": "object", "additionalProperties": TEXT},
        "settings": {"type": "object", "additionalProperties": TEXT},
        "flags": list_of(TEXT),
    },
    "completion": {"shell": TEXT, "script": TEXT},
}

ERROR: Final = object_of(
    error={
        "type": "object",
        "properties": {
            "type": TEXT,
            "message": TEXT,
            "exit_code": COUNT,
            "hint": TEXT,
            "flag": TEXT,
            "provider": TEXT,
            "origin": TEXT,
            "expected": TEXT_OR_NULL,
            "found": TEXT_OR_NULL,
            "problems": list_of(_PROBLEM),
        },
        "required": ["type", "message", "exit_code"],
        "additionalProperties": False,
    }
)
"""What any command prints instead, with ``--json``, when it fails."""


def commands() -> list[str]:
    """Return the commands whose documents have a shape here (``demo`` has its own)."""
    return list(_BODIES)


def schema_of(command: str) -> Shape:
    """Return the JSON Schema of what a command prints with ``--json``. Raises KeyError."""
    fields: dict[str, Shape] = {
        "schema_version": {"const": SCHEMA_VERSION},
        "command": {"const": command},
    }
    body = object_of(**fields, **_BODIES[command])
    return {"anyOf": [body, {"allOf": [object_of(**fields), ERROR]}]}
