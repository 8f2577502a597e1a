"""Flags in LaunchDarkly, evaluated by LaunchDarkly's own SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from downhaul.config import RolloutMode
from downhaul.context import Context
from downhaul.errors import ConfigError
from downhaul.flag import FlagKind, FlagSet, Segment
from downhaul.ledger import Translation
from downhaul.provider import Capability, Change, Listener
from downhaul.result import ErrorCode, Result
from downhaul.vendors.life import error_of
from downhaul.vendors.managing import ManagingProvider
from downhaul_launchdarkly.admin import Admin
from downhaul_launchdarkly.api import NAME, Api
from downhaul_launchdarkly.contexts import their_context
from downhaul_launchdarkly.exporting import exported, told_by_file, told_by_service
from downhaul_launchdarkly.fitting import fitted
from downhaul_launchdarkly.known import Known, Outcome, by_share, reason_of
from downhaul_launchdarkly.session import Connection, Session
from downhaul_launchdarkly.settings import ADMIN_URL, DEADLINE

if TYPE_CHECKING:
    from ldclient import Context as TheirContext
    from ldclient.evaluation import EvaluationDetail

    from downhaul.config import Declaration, Settings

MANAGING: Final = frozenset(
    {
        Capability.READ,
        Capability.WRITE,
        Capability.SEGMENTS,
        Capability.COMPARE_AND_SET,
        Capability.SNAPSHOT,
    }
)
_CODES: Final[Mapping[str, ErrorCode]] = {
    "CLIENT_NOT_READY": ErrorCode.PROVIDER_NOT_READY,
    "FLAG_NOT_FOUND": ErrorCode.FLAG_NOT_FOUND,
    "USER_NOT_SPECIFIED": ErrorCode.INVALID_CONTEXT,
    "MALFORMED_FLAG": ErrorCode.PARSE_ERROR,
}
_NO_KEY: Final = "a share of users is served by their key, and the context has none"


class LaunchDarklyProvider(ManagingProvider[Session, Admin]):
    """Evaluates through LaunchDarkly's SDK, which streams flags. Manages through the REST API.

    The SDK is started in a thread, closed within the caller's time, and made anew in a forked
    child, which goes on with the flags of its parent until its own come.
    """

    name: str = NAME
    capabilities: frozenset[Capability] = frozenset({Capability.RESOLVE, Capability.WATCH})
    # The stream names no moment up to which it has told everything; it is behind by less than this.
    publishes_within = 2.0
    archives = True

    def __init__(
        self,
        connection: Connection,
        admin: Admin | None = None,
        declared: Mapping[str, Declaration] = MappingProxyType({}),
    ) -> None:
        super().__init__(admin, MANAGING)
        self._connection = connection
        self._declared = declared
        self._last: tuple[Context | None, Mapping[str, Any], TheirContext | None] = (None, {}, None)

    def _opened(self, listener: Listener, before: Session | None) -> Session:
        return Session(self._connection, listener, before)

    # Evaluating

    def resolve(  # noqa: PLR0911  (one for each way that it may end)
        self, key: str, context: Context, kind: FlagKind | None
    ) -> Result:
        """Ask the SDK for one flag. Raises nothing, and never answers with the SDK's default."""
        session = self._session
        serving = None if session is None else session.serving
        if serving is None:
            return self._not_ready(key)
        ask, flags, bearers, here = serving
        if bearers and key in bearers:
            bearing, decidable = bearers[key].borne(context)
            if not decidable and (decided := here.decide(key, context)) is not None:
                return _decided(key, decided)
            context = bearing
        last, seen, theirs = self._last
        if last is not context or seen != context.attributes or context.kinds is not None:
            try:
                theirs = their_context(context)
            except ValueError as error:
                return error_of(NAME, key, ErrorCode.INVALID_CONTEXT, str(error))
            seen = context.attributes
            self._last = context, {**seen} if seen else seen, theirs
        known = flags.get(key)
        if known is None:
            message = f'LaunchDarkly has no flag "{key}"'
            return error_of(NAME, key, ErrorCode.FLAG_NOT_FOUND, message)
        try:
            detail = ask(key, theirs, None)
        except Exception as error:  # noqa: BLE001  (the SDK raises what it did not foresee: rule E1)
            return error_of(NAME, key, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")
        said = detail.reason.get
        outcome = detail.variation_index, said("kind"), said("ruleIndex")
        given = known.answers.get(outcome)
        # The SDK may be one version ahead of what is known: then its value is another object.
        if given is None or given.value is not detail.value or context.targeting_key is None:
            return _result(key, detail, known, outcome, keyless=context.targeting_key is None)
        return given

    # Beside the verbs that every vendor has

    def export(self) -> Translation:
        """Return all flags and segments as LaunchDarkly tells them to its SDKs, by one request.

        Where there is an admin token, what no SDK is told comes along: tags, owner, type,
        description. A connection to a file reads the file. Raises Unreachable, ProviderError.
        """
        one = self._connection
        if one.file is not None:
            return exported(told_by_file(one.file), {}, self._declared)
        payload = told_by_service(one.sdk_key, one.poll_url, one.deadline)
        about = {} if self._admin is None else self._admin.everything().flags
        return exported(payload, about, self._declared)

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return the flags and segments as LaunchDarkly would keep them, and a ledger of each."""
        return fitted(flag_set)

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Raise Refused for what ``set_rollout`` would refuse as the flag is."""
        self._managed(Capability.WRITE).check_rollout(key, variant, weights)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment of the environment."""
        return self._managed(Capability.SEGMENTS).put_segment(segment, change, expected)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment that nothing names."""
        self._managed(Capability.SEGMENTS).delete_segment(key, expected)


def _result(
    key: str, detail: EvaluationDetail, known: Known, outcome: Outcome, *, keyless: bool
) -> Result:
    """Return what the SDK said as a result of ours, and keep it for whoever comes next."""
    said = detail.reason
    vendor = str(said.get("kind", ""))
    if vendor == "ERROR":
        kind = str(said.get("errorKind", ""))
        message = f'LaunchDarkly could not evaluate "{key}": {kind}'
        return error_of(NAME, key, _CODES.get(kind, ErrorCode.GENERAL), message)
    if keyless and by_share(said, known):
        return error_of(NAME, key, ErrorCode.TARGETING_KEY_MISSING, _NO_KEY)
    served = detail.variation_index is not None
    made = Result(
        detail.value if served else None,
        known.name_of(detail.variation_index),
        reason_of(said, known),
        flag_version=known.flag.version,
        provider=NAME,
        authoritative=served,
        metadata=MappingProxyType({"vendor_reason": vendor}),
        flag=key,
    )
    known.answers[outcome] = made
    return made


def _decided(key: str, result: Result) -> Result:
    """Return what was decided here, as the provider tells what it could not decide."""
    if result.error_code is None:
        return result
    return error_of(NAME, key, result.error_code, result.error_message or _NO_KEY)


def create(settings: Settings) -> LaunchDarklyProvider:
    """Return the provider for a ``launchdarkly:`` URL. Contacts nobody. Raises ConfigError."""
    options = settings.provider.options
    transport = settings.provider.scheme.partition("+")[2]
    origin = settings.origins.get("provider.url")
    if transport == "file":
        path = unquote(urlsplit(settings.provider.url).path)
        return LaunchDarklyProvider(Connection(file=path), declared=settings.flags)
    if transport not in ("", "http", "https"):
        message = f'"{settings.provider.safe_url}" does not say how LaunchDarkly is reached'
        hint = (
            "write launchdarkly: for the service, launchdarkly+https://HOST for a Relay Proxy, or "
        )
        raise ConfigError(
            message, hint=f"{hint}launchdarkly+file:///PATH for flags from a file", origin=origin
        )
    key = options.get("sdk_key")
    if key is None:
        message = "LaunchDarkly tells its flags to nobody without a key"
        hint = 'set `sdk_key = { env = "LAUNCHDARKLY_SDK_KEY" }` in [provider]'
        raise ConfigError(message, hint=hint, origin=origin)
    base = settings.provider.url.partition("+")[2].rstrip("/") if transport else None
    return LaunchDarklyProvider(
        Connection(
            key,
            stream_url=options.get("stream_url") or base,
            poll_url=options.get("poll_url") or base,
            events_url=options.get("events_url") or base,
            events=options.get("events", False),
            private=options.get("private", True),
            deadline=options.get("deadline", DEADLINE),
        ),
        _admin_of(settings),
        settings.flags,
    )


def _admin_of(settings: Settings) -> Admin | None:
    options = settings.provider.options
    token = options.get("admin_token")
    if token is None:
        return None
    url = options.get("admin_url", ADMIN_URL)
    api = Api(url, token, options.get("project", "default"), options.get("deadline", DEADLINE))
    portable = frozenset(
        key for key, one in settings.flags.items() if one.rollout == RolloutMode.PORTABLE
    )
    environment = options.get("environment") or settings.environment
    return Admin(api, environment, portable=portable, declared=settings.flags)
