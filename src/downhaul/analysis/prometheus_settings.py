"""What a plan says of its metrics in Prometheus: which counters, and what their labels mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

import re2
from pydantic import BeforeValidator, Field, model_validator

from downhaul.analysis.options import Address, Kept, Lag, VariantsOption, WebTable, told
from downhaul.analysis.variants import Variants
from downhaul.documents.faults import did_you_mean, quoted

LAG: Final = 15.0
"""Seconds that counting stays behind unless said: longer than a scrape may take."""

LOOK_BACK: Final = 3600.0
"""Seconds for which the last value of a counter that was not scraped is remembered."""

_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_SCALARS: Final = (str, int, float, bool)
_FORMS: Final = {"regex": "=~", "not": "!=", "not_regex": "!~"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label is to be: ``=``, ``!=``, ``=~`` or ``!~`` and text, as in PromQL."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{literal(self.value)}"

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether it does, of a series with these labels. Missing is empty."""
        held = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (held == self.value) is (self.operator == "=")
        return (re2.fullmatch(self.value, held) is not None) is (self.operator == "=~")


def literal(text: str) -> str:
    """Return a text as PromQL writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def any_of(texts: tuple[str, ...]) -> str:
    """Return a regular expression that matches these texts and no others."""
    return "|".join(re2.escape(one) for one in texts)


def matcher(label: str, value: Any) -> Matcher:
    """Return what a plan says of a label. Raises PydanticCustomError."""
    if not _LABEL.fullmatch(label):
        raise told(f"{quoted(label)} is no name of a label")
    if isinstance(value, _SCALARS):
        return Matcher(label, "=", _text(value))
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(one, _SCALARS) for one in value)
    ):
        return Matcher(label, "=~", any_of(tuple(_text(one) for one in value)))
    if isinstance(value, Mapping) and len(value) == 1:
        ((form, text),) = value.items()
        if form in _FORMS and isinstance(text, _SCALARS):
            return _formed(label, str(form), _text(text))
    hint = 'such as "500", ["500", "503"], { regex = "5.." } or { not = "200" }'
    raise told(f"{quoted(value)} is nothing that a label is equal to", hint)


def _formed(label: str, form: str, text: str) -> Matcher:
    if form.endswith("regex"):
        try:
            re2.compile(text)
        except re2.error:
            message = f"{quoted(text)} is no regular expression of RE2"
            raise told(message, "Prometheus matches the whole of a label by it") from None
    return Matcher(label, _FORMS[form], text)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matchers(given: Any) -> tuple[Matcher, ...]:
    if isinstance(given, tuple) and all(isinstance(one, Matcher) for one in given):
        return given
    if not isinstance(given, Mapping):
        raise told("is a table of labels", 'such as { job = "checkout" }')
    return tuple(matcher(str(label), value) for label, value in given.items())


def _metric(name: Any) -> Any:
    if isinstance(name, str) and name and not _NAME.fullmatch(name):
        hint = "its name alone: labels stand in where"
        raise told(f"{quoted(name)} is no name of a metric", hint)
    return name


def _labels(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise told("is a table", 'such as { variant = "version" }')
    for role, label in given.items():
        if role not in ("variant", "flag"):
            hint = did_you_mean(role, ("variant", "flag"), all_of="known")
            raise told(f"no label is read for {quoted(role)}", hint)
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise told(f"{quoted(label)} is no name of a label")
    return {"variant": "variant", **given}


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
MetricName = Annotated[str, BeforeValidator(_metric)]
Labels = Annotated[dict[str, str], BeforeValidator(_labels)]


class PrometheusSettings(WebTable):
    """``[metrics]`` with ``source = "prometheus"``."""

    url: Address
    """where Prometheus is, with its path if it has one"""
    requests: MetricName = ""
    """the counter of requests; left out, the count of `latency`"""
    errors: Matchers = ()
    """the labels of a request that is an error"""
    error_counter: MetricName = ""
    """the counter of errors, where it is one of its own"""
    successes: Matchers = ()
    """the labels of a success; left out, whatever is no error"""
    latency: MetricName = ""
    """the histogram of latencies, without `_bucket`, `_sum` and `_count`"""
    latency_unit: Literal["s", "ms", "us"] = "s"
    labels: Labels = Field(default_factory=lambda: {"variant": "variant"})
    """which label holds the variant, and which the flag's key, if any"""
    variants: VariantsOption = Field(default_factory=Variants)
    """what the label calls a variant, or a list of that"""
    where: Matchers = ()
    """what other labels must be, of all these metrics"""
    lag: Lag = LAG
    look_back: Annotated[float, Field(ge=60, le=86_400)] = LOOK_BACK
    """seconds for which the last value of a counter that was not scraped is remembered"""
    new_series: Literal["auto", "zero", "skip"] = "auto"
    """whether a counter that appears began at zero: as far as it can be seen, always, never"""
    token: Kept | None = None
    """sent as `Authorization: Bearer`"""
    username: str | None = None
    password: Kept | None = None
    """sent with `username`, as `Authorization: Basic`"""
    params: dict[str, str] = Field(default_factory=dict)
    """sent along with each query, such as `partial_response` for Thanos"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for wrong in self._misfits():
            raise wrong
        return self

    def _misfits(self) -> Any:
        if not self.requests and not self.latency:
            hint = 'requests = "http_requests_total", or the histogram as latency'
            yield told("name the counter of requests", hint)
        if self.errors and self.error_counter:
            yield told("errors are said twice", "by labels, or as a counter of their own")
        if not self.errors and not self.error_counter and not self.successes:
            hint = 'errors = { code = { regex = "5.." } }, or error_counter = "..."'
            yield told("it says neither what an error is nor what a success is", hint)
        if self.token is not None and (self.username or self.password):
            yield told("there is a token and a password", "Prometheus takes one of them")
        if (self.username is None) != (self.password is None):
            yield told("a username goes with a password", "give both, or neither")
        for one in ("query", "time", "timeout"):
            if one in self.params:
                yield told(f"the parameter {one} is ours to send", "leave it out")
