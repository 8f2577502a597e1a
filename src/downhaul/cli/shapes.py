"""The shape of every ``--json`` document, as JSON Schema: what programs may lean on.

Fields may be added under the same ``schema_version``; what stands here stays. ``schema_of`` gives
the schema of one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.cli.output import SCHEMA_VERSION

Shape = dict[str, Any]

_TEXT: Final[Shape] = {"type": "string"}
_FLAG: Final[Shape] = {"type": "boolean"}
_COUNT: Final[Shape] = {"type": "integer"}
_NUMBER: Final[Shape] = {"type": "number"}
_ANY: Final[Shape] = {}
_TEXT_OR_NULL: Final[Shape] = {"type": ["string", "null"]}
_COUNT_OR_NULL: Final[Shape] = {"type": ["integer", "null"]}
_NUMBER_OR_NULL: Final[Shape] = {"type": ["number", "null"]}


def _one_of(*values: str) -> Shape:
    return {"enum": list(values)}


def _list(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def _object(**fields: Shape) -> Shape:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _or_null(shape: Shape) -> Shape:
    return {"anyOf": [shape, {"type": "null"}]}


_DOCUMENT: Final = _object(key=_TEXT)
_DIFFERENCES: Final = _list(_object(path=_TEXT, before=_ANY, after=_ANY))
_CHANGE: Final = _object(id=_TEXT, actor=_TEXT, marked=_FLAG, reason=_TEXT)
_RECORD: Final = _object(
    scope=_TEXT,
    sequence=_COUNT,
    killed=_FLAG,
    actor=_TEXT,
    reason=_TEXT,
    at=_TEXT,
    environment=_TEXT,
    store=_TEXT,
    lifts=_COUNT,
)
_PROBLEM: Final = _object(path=_TEXT, message=_TEXT, origin=_TEXT, hint=_TEXT_OR_NULL)
_LEDGER: Final = _list(
    _object(
        flag=_TEXT,
        path=_TEXT,
        fidelity=_one_of("full", "partial", "manual", "skipped"),
        reason=_TEXT,
        fragment=_ANY,
    )
)
_CHECKS: Final = _list(
    _object(name=_TEXT, status=_one_of("ok", "warn", "fail"), message=_TEXT, hint=_TEXT_OR_NULL)
)
_WRITTEN: Final = {
    "action": _TEXT,
    "key": _TEXT,
    "changed": _FLAG,
    "before": _or_null(_DOCUMENT),
    "after": _or_null(_DOCUMENT),
    "differences": _DIFFERENCES,
    "change": _CHANGE,
    "warnings": _list(_TEXT),
}
_KILLED: Final = {
    "scope": _TEXT,
    "killed": _FLAG,
    "already": _FLAG,
    "dry_run": _FLAG,
    "environment": _TEXT,
    "actor": _TEXT,
    "reason": _TEXT,
    "record": _or_null(_RECORD),
    "before": _or_null(_RECORD),
    "kill_file": _TEXT_OR_NULL,
    "at_provider": _one_of("not_needed", "switched_off", "not_offered", "left"),
    "covers": _list(_TEXT),
    "flag_before": _or_null(_DOCUMENT),
    "flag": _or_null(_DOCUMENT),
    "commit_ms": _NUMBER,
    "warnings": _list(_TEXT),
}
_HERE: Final = {"environment": _TEXT, "provider": _TEXT}
_SUMMARY: Final = _object(
    key=_TEXT,
    kind=_TEXT,
    type=_TEXT,
    on=_FLAG,
    exposure=_TEXT,
    killed=_FLAG,
    tags=_list(_TEXT),
    owner=_TEXT,
    version=_TEXT,
)
_ROW: Final = _object(
    entity=_one_of("flag", "segment"),
    key=_TEXT,
    action=_one_of("create", "replace", "skip", "same"),
    written=_FLAG,
    version=_TEXT,
    error=_TEXT_OR_NULL,
)
_ENTRY: Final = _object(
    id=_COUNT,
    change_id=_TEXT,
    at=_TEXT,
    environment=_TEXT,
    entity=_one_of("flag", "segment", "kill"),
    key=_TEXT,
    action=_TEXT,
    actor=_TEXT,
    marked=_FLAG,
    reason=_TEXT,
    version=_TEXT,
    before=_ANY,
    after=_ANY,
    differences=_DIFFERENCES,
)
_STALE: Final = _object(
    key=_TEXT,
    on=_FLAG,
    variant=_TEXT_OR_NULL,
    type=_TEXT,
    owner=_TEXT,
    changed=_TEXT_OR_NULL,
    days=_COUNT_OR_NULL,
    asked=_TEXT_OR_NULL,
)
_STEP: Final = _object(what=_TEXT, matched=_FLAG, why=_TEXT, parts=_list({"type": "object"}))
_PROVIDER: Final = _object(
    name=_TEXT,
    status=_one_of("ok", "broken", "disabled"),
    package=_TEXT,
    version=_TEXT,
    schemes=_list(_TEXT),
    capabilities=_list(_TEXT),
    evaluates=_FLAG,
    translates=_FLAG,
    problem=_TEXT,
)
_FINDING: Final = _object(
    check=_TEXT,
    verdict=_one_of("regressed", "clean", "undecided", "no_data"),
    value=_NUMBER_OR_NULL,
    control=_NUMBER_OR_NULL,
    requests=_COUNT,
    needed=_COUNT,
    dry_run=_FLAG,
    message=_TEXT,
)
_PLAN: Final = _object(
    schema=_COUNT,
    flag=_TEXT,
    variant=_TEXT,
    strategy=_one_of("canary", "linear", "blue_green"),
    steps=_list(_object(weight=_COUNT, bake=_NUMBER, max_bake=_NUMBER, preview=_FLAG)),
    guardrails=_list(_object(measure=_TEXT)),
    signals=_list(_object(measure=_TEXT)),
)
_ROLLOUT_SUMMARY: Final[Mapping[str, Shape]] = {
    "id": _TEXT,
    **_HERE,
    "flag": _TEXT,
    "variant": _TEXT,
    "strategy": _one_of("canary", "linear", "blue_green"),
    "phase": _one_of(
        "starting",
        "progressing",
        "paused",
        "rolling_back",
        "latched",
        "rolled_back",
        "completed",
        "reverting",
        "reverted",
        "stopped",
    ),
    "live": _FLAG,
    "step": _COUNT,
    "percent": _NUMBER_OR_NULL,
    "because": _TEXT_OR_NULL,
    "created_at": _TEXT_OR_NULL,
    "updated_at": _TEXT_OR_NULL,
    "ended_at": _TEXT_OR_NULL,
    "actor": _TEXT,
    "reason": _TEXT,
}
_ROLLOUT: Final[Mapping[str, Shape]] = {
    **_ROLLOUT_SUMMARY,
    "message": _TEXT,
    "hold": _TEXT_OR_NULL,
    "hold_message": _TEXT,
    "act": _TEXT,
    "foreign": _list(_TEXT),
    "waits": _list(_TEXT),
    "next": _TEXT,
    "steps": _list(
        _object(
            number=_COUNT,
            percent=_NUMBER,
            preview=_FLAG,
            bake=_NUMBER,
            max_bake=_NUMBER,
            entered_at=_TEXT_OR_NULL,
            left_at=_TEXT_OR_NULL,
            baked=_NUMBER,
            findings=_list(_FINDING),
        )
    ),
    "findings": _list(_FINDING),
    "started_at": _TEXT_OR_NULL,
    "looked_at": _TEXT_OR_NULL,
    "due_at": _TEXT_OR_NULL,
    "controllers": _COUNT,
    "pending": _list(_TEXT),
    "plan": _PLAN,
    "digest": _TEXT,
}
_ADVICE: Final = _list(
    _object(
        severity=_one_of("error", "warning", "note"),
        path=_TEXT,
        message=_TEXT,
        hint=_TEXT_OR_NULL,
    )
)
_PLANNED: Final[Mapping[str, Shape]] = {
    "flag": _TEXT,
    "variant": _TEXT,
    "strategy": _TEXT,
    "digest": _TEXT,
    "advice": _ADVICE,
    "rehearsed": _TEXT_OR_NULL,
    "schedule": _list(
        _object(
            number=_COUNT,
            percent=_NUMBER,
            preview=_FLAG,
            enters=_TEXT,
            enters_latest=_TEXT,
            ends=_TEXT,
            ends_latest=_TEXT,
            capped=_FLAG,
        )
    ),
    "plan": _PLAN,
}
_COMMANDED: Final[Mapping[str, Shape]] = {
    "verb": _TEXT,
    "applied": _FLAG,
    "refused": _FLAG,
    "outcome": _TEXT,
    "rollout": _object(**_ROLLOUT),
}
_EVENT: Final = _object(
    id=_COUNT, at=_TEXT, action=_TEXT, actor=_TEXT, reason=_TEXT, detail={"type": "object"}
)
_AUDITED: Final = _object(
    id=_COUNT,
    at=_TEXT,
    environment=_TEXT,
    entity=_one_of("flag", "segment", "kill", "rollout", "rehearsal"),
    key=_TEXT,
    flag=_TEXT_OR_NULL,
    action=_TEXT,
    actor=_TEXT,
    marked=_FLAG,
    reason=_TEXT,
    version=_TEXT,
    detail={"type": "object"},
    summary=_TEXT,
)

_BODIES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "flags list": {**_HERE, "flags": _list(_SUMMARY)},
    "flags show": {**_HERE, "flag": _DOCUMENT, "exposure": _TEXT, "kill": _or_null(_RECORD)},
    **{
        f"flags {verb}": _WRITTEN
        for verb in ("create", "set", "on", "off", "percent", "target", "restore", "delete")
    },
    "flags import": {
        "dry_run": _FLAG,
        "rows": _list(_ROW),
        "change": _CHANGE,
        "stopped_by": _TEXT_OR_NULL,
        "ledger": _LEDGER,
    },
    "flags export": {"document": {"type": "object"}, "ledger": _LEDGER},
    "flags convert": {"document": {"type": "object"}, "ledger": _LEDGER},
    "flags history": {"key": _TEXT_OR_NULL, "changes": _list(_ENTRY)},
    "flags stale": {"days": _COUNT, "asked_known": _FLAG, "flags": _list(_STALE)},
    "segments list": {**_HERE, "segments": _list(_DOCUMENT)},
    "segments show": {"segment": _DOCUMENT},
    "segments set": _WRITTEN,
    "segments delete": _WRITTEN,
    "eval": {
        "flag": _TEXT,
        "context": {"type": "object"},
        "value": _ANY,
        "variant": _TEXT_OR_NULL,
        "reason": _TEXT,
        "error_code": _TEXT_OR_NULL,
        "error_message": _TEXT_OR_NULL,
        "flag_version": _TEXT,
        "provider": _TEXT,
        "authoritative": _FLAG,
        "metadata": {"type": "object"},
        "provider_state": _TEXT,
        "steps": _or_null(_list(_STEP)),
    },
    "kill": _KILLED,
    "revive": _KILLED,
    "kills": {"environment": _TEXT, "kills": _list(_RECORD)},
    "rollout lint": {"flag": _TEXT, "ok": _FLAG, "advice": _ADVICE},
    "rollout plan": _PLANNED,
    "rollout rehearse": {
        "flag": _TEXT,
        "variant": _TEXT,
        "digest": _TEXT,
        "held": _FLAG,
        "at": _TEXT_OR_NULL,
        "population": _COUNT,
        "exposed": _list(_COUNT),
        "served_more": _COUNT,
        "answered_unlike": _COUNT,
        "moved": _list(_object(key=_TEXT, when=_TEXT, before=_TEXT_OR_NULL, got=_TEXT_OR_NULL)),
    },
    "rollout start": {**_PLANNED, "rollout": _object(**_ROLLOUT)},
    "rollout list": {"rollouts": _list(_object(**_ROLLOUT_SUMMARY))},
    "rollout status": _ROLLOUT,
    "rollout explain": {
        "rollout": _object(**_ROLLOUT),
        "stands": _TEXT,
        "why": _TEXT,
        "waits": _list(_TEXT),
        "next": _TEXT,
        "commands": _list(_TEXT),
        "events": _list(_EVENT),
    },
    **{
        f"rollout {verb}": _COMMANDED
        for verb in ("pause", "resume", "promote", "rollback", "revert", "cancel")
    },
    "controller run": {
        "owner": _TEXT,
        "claimed": _COUNT,
        "acted": _COUNT,
        "errors": _list(_TEXT),
        "unreachable": _FLAG,
        "counters": {"type": "object"},
    },
    "audit": {"records": _list(_AUDITED)},
    "providers list": {
        "providers": _list(_PROVIDER),
        "not_installed": _list(_object(name=_TEXT, install=_TEXT)),
    },
    "config show": {
        "settings": _list(_object(path=_TEXT, value=_ANY, origin=_TEXT)),
        "notes": _list(_TEXT),
    },
    "config check": {"ok": _FLAG, "problems": _list(_PROBLEM)},
    "db upgrade": {
        "databases": _list(_object(url=_TEXT, before=_TEXT_OR_NULL, after=_TEXT, changed=_FLAG))
    },
    "db check": {
        "ok": _FLAG,
        "databases": _list(_object(url=_TEXT, found=_TEXT_OR_NULL, wanted=_TEXT_OR_NULL, ok=_FLAG)),
    },
    "db sql": {"sql": _TEXT},
    "db roles": {"sql": _TEXT},
    "doctor": {"ok": _FLAG, "checks": _CHECKS},
    "completion": {"shell": _TEXT, "script": _TEXT},
}

ERROR: Final = _object(
    error={
        "type": "object",
        "properties": {
            "type": _TEXT,
            "message": _TEXT,
            "exit_code": _COUNT,
            "hint": _TEXT,
            "flag": _TEXT,
            "provider": _TEXT,
            "origin": _TEXT,
            "expected": _TEXT_OR_NULL,
            "found": _TEXT_OR_NULL,
            "problems": _list(_PROBLEM),
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
    body = _object(**fields, **_BODIES[command])
    return {"anyOf": [body, {"allOf": [_object(**fields), ERROR]}]}
