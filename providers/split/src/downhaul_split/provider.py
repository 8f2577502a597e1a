"""Flags in Split, evaluated by Split's own SDK."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from downhaul.config import RolloutMode, Secret
from downhaul.errors import ConfigError
from downhaul.provider import Capability, Listener
from downhaul.result import ErrorCode, Result
from downhaul.vendors.life import error_of
from downhaul.vendors.managing import ManagingProvider
from downhaul_split.admin import Admin
from downhaul_split.api import NAME, Place, api_of
from downhaul_split.carrying import Unknown
from downhaul_split.contexts import asked_of, their_attributes, their_key
from downhaul_split.feed import Feed, document_in
from downhaul_split.fitting import fitted
from downhaul_split.recording import recorder_of
from downhaul_split.session import Connection, Session
from downhaul_split.settings import ADMIN_URL, DEADLINE, REFRESH
from downhaul_split.translate import flags_from
from downhaul_split.values import CONTROL, value_for, values_of

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.context import Context
    from downhaul.flag import FlagKind, FlagSet
    from downhaul.ledger import Translation
    from downhaul_split.known import Known

MANAGING: Final = frozenset({Capability.READ, Capability.WRITE, Capability.SNAPSHOT})
_FILES: Final = (".json", ".yaml", ".yml")
_NO_KEY: Final = "a share of users is served by their key, and the context has none"
_UNSUPPORTED: Final = "targeting rule type unsupported by sdk"


class SplitProvider(ManagingProvider[Session, Admin]):
    """Evaluates through Split's SDK, which follows a stream or polls. Manages by the admin API.

    The SDK is started in a thread, closed within the caller's time, and made anew in a forked
    child, which goes on with the flags of its parent until its own come.
    """

    name: str = NAME
    capabilities: frozenset[Capability] = frozenset({Capability.RESOLVE, Capability.WATCH})
    publishes_within = 2.0  # what the admin API took reaches SDKs by way of a cache

    def __init__(self, connection: Connection, admin: Admin | None = None) -> None:
        super().__init__(admin, MANAGING)
        self._connection = connection

    def _opened(self, listener: Listener, before: Session | None) -> Session:
        return Session(self._connection, listener, before)

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the SDK for one flag. Raises nothing, and never answers with ``control``."""
        session = self._session
        client = None if session is None else session.client
        if session is None or client is None:
            return self._not_ready(key)
        known = session.known.get(key)
        if known is None:
            return error_of(NAME, key, ErrorCode.FLAG_NOT_FOUND, f'Split has no flag "{key}"')
        carry = session.carries.get(key)
        if carry is not None:
            context = carry.into(context)
        about = asked_of(context, known.traffic_type)
        last = recorder_of(client).last
        last.label = None
        try:
            attributes = their_attributes(context, about)
            unknown: list[Unknown] = []
            if carry is not None and carry.required:
                attributes = attributes or {}
                unknown = carry.unknown(attributes)
            treatment, configuration = client.get_treatment_with_config(
                their_key(about), key, attributes
            )
        except ValueError as error:
            return error_of(NAME, key, ErrorCode.INVALID_CONTEXT, str(error))
        except Exception as error:  # noqa: BLE001  (the SDK raises what it did not foresee: rule E1)
            return error_of(NAME, key, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")
        label = last.label
        if treatment == CONTROL:
            return _no_answer(key, label)
        keyless = about.targeting_key is None and known.is_by_key(label)
        keyless = keyless or any(one.asked for one in unknown)
        outcome = (kind, treatment, configuration, label, keyless)
        result = known.results.get(outcome)
        if result is None:
            result = _result(known, kind, treatment, configuration, label, keyless=keyless)
            known.results[outcome] = result
        return result

    def export(self) -> Translation:
        """Return all flags as they decide here, with Split's seeds; needs no admin token.

        With one, tags and descriptions of the console come along.
        """
        connection = self._connection
        if connection.file is not None:
            return flags_from(document_in(connection.file))
        key = connection.sdk_key or Secret("")
        found = flags_from(Feed(key, connection.sdk_url, connection.deadline).document())
        return found if self._admin is None else self._admin.described(found)

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return the flags as Split would keep them. A flag is whole in it, or left out."""
        return fitted(flag_set)

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Raise Refused for percentages and targets that Split can't keep."""
        self._managed(Capability.READ).check(key, variant, weights, targets)


def _result(
    known: Known,
    kind: FlagKind | None,
    treatment: str,
    configuration: str | None,
    label: str | None,
    *,
    keyless: bool,
) -> Result:
    flag = known.flag
    if keyless:
        return error_of(NAME, flag.key, ErrorCode.TARGETING_KEY_MISSING, _NO_KEY)
    value: Any = flag.variants.get(treatment, CONTROL)
    if value == CONTROL:  # a treatment that came with a change which is not taken up yet
        value = values_of([treatment], {treatment: configuration})[treatment]
    return Result(
        value_for(kind, treatment, value),
        treatment,
        known.reason_of(label),
        flag_version=flag.version,
        provider=NAME,
        authoritative=True,
        metadata={"vendor_reason": label or ""},
        flag=flag.key,
    )


def _no_answer(key: str, label: str | None) -> Result:
    if label == _UNSUPPORTED:
        message = f'the SDK can\'t read a rule of "{key}": it is of a type it does not know'
        return error_of(NAME, key, ErrorCode.PARSE_ERROR, message)
    message = f'Split\'s SDK could not evaluate "{key}": {label or "it does not say why"}'
    return error_of(NAME, key, ErrorCode.GENERAL, message)


def create(settings: Settings) -> SplitProvider:
    """Return the provider for a ``split:`` URL. Contacts nobody. Raises ConfigError."""
    options = settings.provider.options
    transport = settings.provider.scheme.partition("+")[2]
    origin = settings.origins.get("provider.url")
    if transport == "file":
        path = unquote(urlsplit(settings.provider.url).path)
        if not path.endswith(_FILES):
            message = f"Split's SDK reads no file {path}"
            raise ConfigError(
                message, hint="give it the ending .json (or .yaml, read once)", origin=origin
            )
        return SplitProvider(Connection(file=path))
    if transport not in ("", "http", "https"):
        message = f'"{settings.provider.safe_url}" does not say how Split is reached'
        hint = "write split: for the service, split+https://HOST for a proxy, or "
        raise ConfigError(
            message, hint=f"{hint}split+file:///PATH.json for flags from a file", origin=origin
        )
    key = options.get("sdk_key")
    if key is None:
        message = "Split tells its flags to nobody without a key"
        hint = 'set `sdk_key = { env = "SPLIT_SDK_KEY" }` in [provider]'
        raise ConfigError(message, hint=hint, origin=origin)
    base = settings.provider.url.partition("+")[2].rstrip("/") if transport else None
    api = None if base is None else f"{base}/api"
    return SplitProvider(
        Connection(
            key,
            sdk_url=options.get("sdk_url") or api,
            events_url=options.get("events_url") or api,
            auth_url=options.get("auth_url") or api,
            streaming_url=options.get("streaming_url") or base,
            telemetry_url=options.get("telemetry_url") or api,
            refresh=options.get("refresh", REFRESH),
            streaming=options.get("streaming", True),
            events=options.get("events", False),
            deadline=options.get("deadline", DEADLINE),
        ),
        _admin_of(settings, Feed(key, options.get("sdk_url") or api)),
    )


def _admin_of(settings: Settings, feed: Feed) -> Admin | None:
    options = settings.provider.options
    token = options.get("admin_token")
    if token is None:
        return None
    url, deadline = options.get("admin_url", ADMIN_URL), options.get("deadline", DEADLINE)
    api = api_of(url, token, deadline, header=options.get("admin_header", "Authorization"))
    environment = options.get("environment") or settings.environment
    place = Place(options.get("workspace"), environment, options.get("traffic_type", "user"))
    portable = frozenset(
        key for key, one in settings.flags.items() if one.rollout == RolloutMode.PORTABLE
    )
    return Admin(api, place, portable=portable, declared=settings.flags, seeds=feed.seeds)
