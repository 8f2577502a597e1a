"""Read an Unleash document, or refuse it whole with every problem and its place.

Three forms are known: what a server answers at ``/api/client/features``, the events that it
answers at ``/api/client/delta``, and a file of Unleash's client specification, which has one of
these as its ``state``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from downhaul.errors import DocumentError
from downhaul_unleash.fields import Fields, Problems
from downhaul_unleash.source import (
    Constraint,
    Dependency,
    Feature,
    Override,
    Remark,
    SegmentSource,
    Source,
    Strategy,
    Variant,
)

_EXPECTED: Final = (
    'expected what a server answers at /api/client/features, {"version": 2, "features": [...], '
    '"segments": [...]}, or at /api/client/delta, {"events": [...]}'
)
_LOOKALIKES: Final = {
    "toggles": "this is the frontend API's answer, which holds decisions and no strategies",
    "featureStrategies": "this is an export of the admin API, which this reader does not know",
}
_SCOPES: Final = {
    "query": "says which features the server was asked for",
    "meta": "says which revision the server answered with",
    "version": "the version of Unleash's format",
}


def read(document: Mapping[str, Any] | str | bytes) -> Source:
    """Return what a document says. Raises DocumentError, with every problem, for any other."""
    data = _parsed(document) if isinstance(document, (str, bytes, bytearray)) else document
    if not isinstance(data, Mapping):
        message = f"an Unleash document is a JSON object, not {type(data).__name__}"
        raise DocumentError(message, hint=_EXPECTED)
    if isinstance(data.get("state"), Mapping) and "features" not in data:
        data = data["state"]
    problems = Problems()
    if "features" in data:
        found = _snapshot(data, problems)
    elif "events" in data:
        found = _events(data, problems)
    else:
        said = next((text for name, text in _LOOKALIKES.items() if name in data), None)
        raise DocumentError(said or "there are no features in it", hint=_EXPECTED)
    if problems.found:
        message = "this is no Unleash document"
        raise DocumentError(message, problems.found, hint=_EXPECTED)
    return found


def _parsed(text: str | bytes | bytearray) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"it is no JSON: {error}"
        raise DocumentError(message, hint=_EXPECTED) from error


class _State:
    """Features and segments as they pile up; what comes later replaces what has the same name."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.features: dict[str, Feature] = {}
        self.segments: dict[int, SegmentSource] = {}
        self.remarks: list[Remark] = []

    def put_features(self, fields: Fields, name: str = "features") -> None:
        """Read a list of features, in which a name that comes again replaces the one before."""
        for one in fields.objects(name, _feature, required=True):
            if one.name in self.features:
                before = self.features.pop(one.name)
                reason = f"another feature of this name follows it, at {one.path}"
                self.remarks.append(Remark(one.name, before.path, reason, before.raw))
            self.features[one.name] = one

    def put_segments(self, fields: Fields, name: str = "segments") -> None:
        """Read a list of segments, in which an id that comes again replaces the one before."""
        for one in fields.objects(name, _segment):
            if one.id in self.segments:
                before = self.segments.pop(one.id)
                reason = f"another segment of this id follows it, at {one.path}"
                self.remarks.append(Remark("", before.path, reason, before.raw))
            self.segments[one.id] = one

    def done(self) -> Source:
        """Return what is there at the end."""
        return Source(self.features, self.segments, (*self.remarks, *self.problems.remarks))


def _snapshot(data: Mapping[str, Any], problems: Problems) -> Source:
    state = _State(problems)
    fields = Fields("", data, problems)
    state.put_features(fields)
    state.put_segments(fields)
    state.remarks += [
        Remark("", str(name), _SCOPES.get(str(name), "a field that decides nothing"), value)
        for name, value in data.items()
        if name not in ("features", "segments") and value is not None
    ]
    return state.done()


def _events(data: Mapping[str, Any], problems: Problems) -> Source:
    state = _State(problems)
    fields = Fields("", data, problems)
    for event in fields.objects("events", lambda each, _raw: each, required=True):
        _apply(event, state)
    state.remarks += [
        Remark("", str(name), "a field that decides nothing", value)
        for name, value in data.items()
        if name != "events" and value is not None
    ]
    return state.done()


def _apply(event: Fields, state: _State) -> None:
    kind = event.text("type", required=True)
    if kind == "hydration":
        state.features.clear()
        state.segments.clear()
        state.put_features(event)
        state.put_segments(event)
    elif kind == "feature-updated":
        for feature in event.object("feature", _feature):
            state.features.pop(feature.name, None)
            state.features[feature.name] = feature
    elif kind == "feature-removed":
        state.features.pop(event.text("featureName", required=True), None)
    elif kind == "segment-updated":
        for segment in event.object("segment", _segment):
            state.segments[segment.id] = segment
    elif kind == "segment-removed":
        state.segments.pop(event.integer("segmentId"), None)
    elif kind:
        known = "hydration, feature-updated, feature-removed, segment-updated, segment-removed"
        event.wrong("type", f'"{kind}" is no event', f"there are {known}")


# --- the parts


def _feature(fields: Fields, raw: Mapping[str, Any]) -> Feature:
    name = fields.text("name", required=True)
    within = fields.of(name)
    return Feature(
        path=fields.path,
        raw=raw,
        name=name,
        enabled=within.boolean("enabled", required=True),
        type=within.text("type") or None,
        description=within.text("description"),
        project=within.text("project") or None,
        strategies=within.objects("strategies", _strategy),
        variants=within.objects("variants", _variant),
        dependencies=within.objects("dependencies", _dependency),
    )


def _strategy(fields: Fields, raw: Mapping[str, Any]) -> Strategy:
    return Strategy(
        path=fields.path,
        raw=raw,
        name=fields.text("name", required=True),
        parameters=fields.texts_by_name("parameters"),
        constraints=fields.objects("constraints", _constraint),
        segments=fields.integers("segments"),
        variants=fields.objects("variants", _variant),
        title=fields.text("title"),
        disabled=fields.boolean("disabled"),
    )


def _constraint(fields: Fields, raw: Mapping[str, Any]) -> Constraint:
    return Constraint(
        path=fields.path,
        raw=raw,
        context_name=fields.text("contextName", required=True),
        operator=fields.text("operator", required=True),
        values=fields.texts("values"),
        value=fields.text("value") if raw.get("value") is not None else None,
        inverted=fields.boolean("inverted"),
        ignore_case=fields.boolean("caseInsensitive"),
    )


def _variant(fields: Fields, raw: Mapping[str, Any]) -> Variant:
    payload = fields.object("payload", _payload)
    return Variant(
        path=fields.path,
        raw=raw,
        name=fields.text("name", required=True),
        weight=fields.integer("weight", least=0),
        stickiness=fields.text("stickiness") or None,
        payload=payload[0] if payload else None,
        overrides=fields.objects("overrides", _override),
    )


def _payload(fields: Fields, _raw: Mapping[str, Any]) -> tuple[str, str]:
    return fields.text("type", required=True), fields.text("value", required=True)


def _override(fields: Fields, raw: Mapping[str, Any]) -> Override:
    name = fields.text("contextName", required=True)
    return Override(fields.path, raw, name, fields.texts("values"))


def _dependency(fields: Fields, raw: Mapping[str, Any]) -> Dependency:
    return Dependency(
        path=fields.path,
        raw=raw,
        feature=fields.text("feature", required=True),
        enabled=fields.boolean("enabled", default=True),
        variants=fields.texts("variants"),
    )


def _segment(fields: Fields, raw: Mapping[str, Any]) -> SegmentSource:
    return SegmentSource(
        path=fields.path,
        raw=raw,
        id=fields.integer("id"),
        name=fields.text("name"),
        constraints=fields.objects("constraints", _constraint),
    )
