"""What a plan says of its metrics in Datadog: which counts, and what their tags mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from downhaul.analysis.options import Address, Kept, VariantsOption, WebTable, told
from downhaul.analysis.variants import Variants
from downhaul.documents.faults import did_you_mean, quoted

LAG: Final = 120.0
"""Seconds that counting stays behind unless said: points of a metric come in late and apart."""

_METRIC: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_VALUE: Final = re.compile(r"[\w./:-]+")
_SCALARS: Final = (str, int, float, bool)


def scope_of(tag: str, value: Any) -> str:
    """Return what a plan says of a tag as Datadog's queries write it.

    Raises PydanticCustomError.
    """
    if not _TAG.fullmatch(tag):
        raise told(f"{quoted(tag)} is no name of a tag")
    if isinstance(value, Mapping) and set(value) == {"not"}:
        return f"NOT {scope_of(tag, value['not'])}"
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(isinstance(one, _SCALARS) for one in values):
        hint = 'such as "prod", ["eu", "us"] or { not = "canary" }'
        raise told(f"{quoted(value)} is nothing that a tag is equal to", hint)
    texts = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    for text in texts:
        if not _VALUE.fullmatch(text):
            hint = "tags hold letters, digits and _ - : . /"
            raise told(f"{quoted(text)} is no value that Datadog keeps in a tag", hint)
    return f"{tag}:{texts[0]}" if len(texts) == 1 else f"{tag} IN ({', '.join(texts)})"


def _scopes(given: Any) -> tuple[str, ...]:
    if isinstance(given, tuple):
        return given
    if not isinstance(given, Mapping):
        raise told("is a table of tags", 'such as { service = "checkout" }')
    return tuple(scope_of(str(tag), value) for tag, value in given.items())


def _metric(name: Any) -> Any:
    if isinstance(name, str) and name and not _METRIC.fullmatch(name):
        raise told(f"{quoted(name)} is no name of a metric", "its name alone: tags stand in where")
    return name


def _tags(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise told("is a table", 'such as { variant = "version" }')
    for role, tag in given.items():
        if role not in ("variant", "flag"):
            hint = did_you_mean(role, ("variant", "flag"), all_of="known")
            raise told(f"no tag is read for {quoted(role)}", hint)
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise told(f"{quoted(tag)} is no name of a tag")
    return {"variant": "variant", **given}


Scopes = Annotated[tuple[str, ...], BeforeValidator(_scopes)]
MetricName = Annotated[str, BeforeValidator(_metric)]


class DatadogSettings(WebTable):
    """``[metrics]`` with ``source = "datadog"``."""

    site: str = "datadoghq.com"
    """the site of the account, such as `datadoghq.eu`"""
    url: Address | None = None
    """instead of the site's API, such as a proxy"""
    api_key: Kept
    app_key: Kept
    requests: MetricName = ""
    """the count of requests; left out, the count of `latency`"""
    errors: Scopes = ()
    """the tags of a request that is an error"""
    error_count: MetricName = ""
    """the count of errors, where it is one of its own"""
    latency: MetricName = ""
    """the distribution of latencies"""
    latency_unit: Literal["s", "ms", "us"] = "ms"
    tags: Annotated[dict[str, str], BeforeValidator(_tags)] = Field(
        default_factory=lambda: {"variant": "variant"}
    )
    """which tag holds the variant, and which the flag's key, if any"""
    variants: VariantsOption = Field(default_factory=Variants)
    where: Scopes = ()
    """what other tags must be, of all these metrics"""
    lag: Annotated[float, Field(allow_inf_nan=False)] = LAG
    interval: Annotated[int, Field(ge=1, le=300)] = 10
    """seconds that one point is of; counting goes on by whole points"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for wrong in self._misfits():
            raise wrong
        return self

    def _misfits(self) -> Iterator[PydanticCustomError]:
        if not re.fullmatch(r"[a-z0-9.-]+", self.site):
            yield told(f"{quoted(self.site)} is no site of Datadog", "such as datadoghq.eu")
        if not self.requests and not self.latency:
            hint = 'requests = "checkout.requests", or the distribution as latency'
            yield told("name the count of requests", hint)
        if bool(self.errors) == bool(self.error_count):
            hint = 'errors = { status = "error" }, or error_count = "..."'
            yield told("say what an error is, in one way", hint)
        if self.lag < self.interval:
            hint = f"{self.interval} or more"
            yield told("the lag is shorter than the time that one point is of", hint)
