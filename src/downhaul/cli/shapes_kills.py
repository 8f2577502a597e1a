"""The shape of what ``kill``, ``revive``, ``kills`` and ``drill`` print with ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from downhaul.cli.shape_words import (
    ANY,
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    list_of,
    object_of,
    one_of,
    or_null,
)

_WORD: Final[Mapping[str, Shape]] = {
    "scope": TEXT,
    "sequence": COUNT,
    "killed": FLAG,
    "actor": TEXT,
    "reason": TEXT,
    "at": TEXT,
    "environment": TEXT,
    "store": TEXT,
    "lifts": COUNT,
    "waits": FLAG,
}
RECORD: Final = object_of(**_WORD)
"""A store's word on a scope."""

_HEARD: Final = list_of(
    object_of(host=TEXT, pid=COUNT, application=TEXT, environment=TEXT, seen_seconds_ago=NUMBER)
)
_RECEIPTS: Final = object_of(
    known=COUNT,
    obeyed=COUNT,
    p50_ms=or_null(NUMBER),
    max_ms=or_null(NUMBER),
    behind=_HEARD,
    silent=_HEARD,
    gone=COUNT,
    forked=_HEARD,
    applications={"type": "object", "additionalProperties": COUNT},
)
_ENDS: Final = object_of(at=TEXT, seconds=NUMBER, lifts=FLAG, why=TEXT, outcome=TEXT)
_REQUEST: Final = object_of(actor=TEXT, reason=TEXT, at=TEXT, as_was=FLAG)
_LAST_DRILL: Final = object_of(
    scope=TEXT,
    actor=TEXT,
    reason=TEXT,
    days_ago=COUNT,
    processes=COUNT,
    confirmed=COUNT,
    lifted=COUNT,
    p50_ms=or_null(NUMBER),
    max_ms=or_null(NUMBER),
)
_BLAST: Final = object_of(
    flags=list_of(
        object_of(key=TEXT, exposure=TEXT, percent=NUMBER, safe=TEXT_OR_NULL, owner=TEXT)
    ),
    everybody=COUNT,
    part=COUNT,
    rollouts=list_of(object_of(flag=TEXT, id=TEXT)),
    followers=or_null(_RECEIPTS),
    drill=or_null(_LAST_DRILL),
    ends=or_null(_ENDS),
)
_DOCUMENT: Final = object_of(key=TEXT)
_KILLED: Final[Mapping[str, Shape]] = {
    "scope": TEXT,
    "killed": FLAG,
    "already": FLAG,
    "dry_run": FLAG,
    "environment": TEXT,
    "actor": TEXT,
    "reason": TEXT,
    "record": or_null(RECORD),
    "before": or_null(RECORD),
    "kill_file": TEXT_OR_NULL,
    "at_provider": one_of("not_needed", "switched_off", "not_offered", "owed", "left"),
    "covers": list_of(TEXT),
    "flag_before": or_null(_DOCUMENT),
    "flag": or_null(_DOCUMENT),
    "commit_ms": NUMBER,
    "warnings": list_of(TEXT),
    "receipts": or_null(_RECEIPTS),
    "ends": or_null(_ENDS),
    "blast": or_null(_BLAST),
    "request": or_null(_REQUEST),
}
_STANDING: Final = object_of(
    **_WORD, receipts=or_null(_RECEIPTS), ends=or_null(_ENDS), request=or_null(_REQUEST)
)
_DRILL: Final = object_of(
    scope=TEXT,
    environment=TEXT,
    actor=TEXT,
    reason=TEXT,
    killed=_RECEIPTS,
    lifted=or_null(_RECEIPTS),
    warnings=list_of(TEXT),
)
_IN_KILLED_STATE: Final = object_of(
    key=TEXT, kind=TEXT, variant=TEXT_OR_NULL, value=ANY, problem=TEXT, advice=TEXT
)
KILL_BODIES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "kill": _KILLED,
    "revive": _KILLED,
    "kills": {"environment": TEXT, "kills": list_of(_STANDING), "drill": or_null(_LAST_DRILL)},
    "drill": {"ok": FLAG, "drill": or_null(_DRILL), "flags": or_null(list_of(_IN_KILLED_STATE))},
}
"""What each command's document holds beside the version and the command's name."""
