"""Counts out of a service of one's own: a URL that is asked, and answers with JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from downhaul.analysis.http_answer import Impossible, read
from downhaul.analysis.model import Sample, Window
from downhaul.analysis.options import Address, Kept, Lag, VariantsOption, WebTable, told
from downhaul.analysis.settings import SourceSettings, no_users
from downhaul.analysis.variants import Variants
from downhaul.analysis.web import Answer, Asking, Web
from downhaul.errors import Unreachable

LAG: Final = 5.0
"""Seconds that counting stays behind unless said."""

_SECOND: Final = 1_000_000


def _method(value: Any) -> Any:
    if isinstance(value, str) and value.upper() in ("GET", "POST"):
        return value.upper()
    raise told("is GET or POST")


class HttpSettings(WebTable):
    """``[metrics]`` with ``source = "http"``."""

    url: Address
    """what is asked"""
    method: Annotated[Literal["GET", "POST"], BeforeValidator(_method)] = "GET"
    """`GET` with parameters, or `POST` with JSON"""
    token: Kept | None = None
    """sent as `Authorization: Bearer`"""
    variants: VariantsOption = Field(default_factory=Variants)
    """what the service calls a variant, or a list of that"""
    lag: Lag = LAG
    users: bool = False
    """whether the service can count people"""


class HttpSource:
    """A service as a :class:`~downhaul.analysis.model.MetricSource`."""

    def __init__(self, options: HttpSettings, settings: SourceSettings) -> None:
        self._options = options
        self._settings = settings
        self._web = Web(
            "the metric service", options.url, options.timeout, options.headers, self._credentials
        )

    @property
    def counts_users(self) -> bool:
        """Whether the plan says that the service can."""
        return self._options.users

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """Ask for the latest second, and see that the answer is one.

        Raises ConfigError, Unreachable. Returns what the service warns of.
        """
        if users and not self._options.users:
            raise no_users("http", "say users = true where the service can tell them apart")
        until = self.watermark()
        since = until - _SECOND
        window = Window(since, until)
        return self.sample(flag, window, thresholds, users_since=since if users else None).warnings

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970."""
        return self._settings.now() - round(self._options.lag * _SECOND)

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window, or of as much of it as the service has counted."""
        users = users_since is not None and self._options.users
        question = self._question(flag, window, thresholds, preview=preview)
        if users:
            question["users_since"] = users_since

        def look(asking: Asking) -> Sample:
            answer = self._ask(asking, question)
            try:
                counted, arms, whole = read(
                    answer.data, window, thresholds, self._options.variants, users=users
                )
            except Impossible as error:
                message = f"{asking.place} answers with counts that can't be: {error}"
                hint = "see docs/metric-sources.md for what it is to answer with"
                raise Unreachable(asking.plain(message), hint=hint) from None
            query = whole.query or f"{self._options.method} {asking.shown('')}"
            warnings = tuple(asking.plain(one) for one in whole.warnings)
            return Sample(counted, arms, asking.plain(query), warnings)

        return self._web.look(look)

    def _question(
        self, flag: str, window: Window, thresholds: Sequence[float], *, preview: bool
    ) -> dict[str, Any]:
        return {
            "flag": flag,
            "environment": self._settings.environment,
            "since": window.since,
            "until": window.until,
            "thresholds": list(thresholds),
            "preview": preview,
            "arms": sorted(self._options.variants.ours),
        }

    def _ask(self, asking: Asking, question: Mapping[str, Any]) -> Answer:
        if self._options.method == "POST":
            return asking.post("", body=question)
        return asking.get("", {name: _parameter(value) for name, value in question.items()})

    def _credentials(self) -> Mapping[str, str]:
        if self._options.token is None:
            return {}
        token = self._options.token.reveal("metrics.token").reveal()
        return {"Authorization": f"Bearer {token}"}


def create(settings: SourceSettings) -> HttpSource:
    """Return the source that a plan describes. Contacts nothing."""
    return HttpSource(settings.options, settings)


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(f"{one:.15g}" if isinstance(one, float) else str(one) for one in value)
    return str(value)
