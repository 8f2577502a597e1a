"""Flags in Unleash: evaluated by Unleash's own SDK, managed through its admin API."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul.context import Context
from downhaul.errors import InvalidContext
from downhaul.flag import FlagKind, FlagSet
from downhaul.ledger import Translation
from downhaul.provider import Capability, Listener
from downhaul.result import ErrorCode, Reason, Result
from downhaul.vendors.life import error_of
from downhaul.vendors.managing import ManagingProvider
from downhaul_unleash.absence import tell
from downhaul_unleash.asked import asked_with, flattened
from downhaul_unleash.known import Known
from downhaul_unleash.session import Connection, Serving, Session

if TYPE_CHECKING:
    from UnleashClient.clients.unleash_client import UnleashClient

    from downhaul.config import Declaration, Settings
    from downhaul_unleash.admin import Admin

NAME: Final = "unleash"
_PLAIN: Final = frozenset({bool, str, int, float})
MANAGING: Final = frozenset({Capability.READ, Capability.WRITE, Capability.SNAPSHOT})


class UnleashProvider(ManagingProvider[Session, "Admin"]):
    """Evaluates through Unleash's SDK; manages where ``admin`` is given.

    ``declared`` are the declarations of a configuration: Unleash has no off variants.
    """

    name: str = NAME
    capabilities: frozenset[Capability] = frozenset({Capability.RESOLVE, Capability.WATCH})
    # The server looks for news once a second (up to 0.63 s was measured), and may be busy.
    publishes_within = 2.0
    archives = True

    def __init__(
        self,
        connection: Connection,
        *,
        admin: Admin | None = None,
        declared: Mapping[str, Declaration] | None = None,
    ) -> None:
        super().__init__(admin, MANAGING)
        self._connection = connection
        self._off = {key: one.off for key, one in (declared or {}).items() if one.off is not None}

    def _opened(self, listener: Listener, before: Session | None) -> Session:
        # In a forked child: the parent's client has no thread here, and maybe a held lock.
        return Session(self._connection, listener, None if before is None else before.inheritance)

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask Unleash's engine for one flag. Raises nothing, and waits for nothing."""
        session = self._session
        serving = None if session is None else session.serving
        if session is None or serving is None or self._closed:
            return self._not_ready(key)
        known = serving.known.get(key)
        if known is None:
            return error_of(NAME, key, ErrorCode.FLAG_NOT_FOUND, f'Unleash has no flag "{key}"')
        try:
            return self._resolved(serving, known, context, kind or known.flag.kind)
        except InvalidContext as error:
            return error_of(NAME, key, ErrorCode.INVALID_CONTEXT, str(error))
        except Exception as error:  # noqa: BLE001  (the SDK's, or a hostile context: rule E1)
            return error_of(NAME, key, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")

    def _resolved(self, serving: Serving, known: Known, context: Context, kind: FlagKind) -> Result:
        key = known.flag.key
        if not known.flag.on:
            return self._off_result(known, kind, Reason.DISABLED)
        carried = known.carried
        if carried is not None and carried.carry is not None:
            context = carried.carry(context)
        asked = asked_with(context)
        if known.draws and "userId" not in asked and "sessionId" not in asked:
            message = f'"{key}" is split by targeting key, and the context has none'
            return error_of(NAME, key, ErrorCode.TARGETING_KEY_MISSING, message)
        if carried is not None:
            if carried.lacks(context):
                return self._by_reference(serving, known, context, kind)
            tell(asked, carried.absent)
        if kind is FlagKind.BOOLEAN:
            return self._boolean(serving.client, known, asked)
        return self._valued(serving.client, known, asked, kind)

    def _valued(
        self, client: UnleashClient, known: Known, asked: dict[str, Any], kind: FlagKind
    ) -> Result:
        """Return the answer of a flag with variants."""
        variant = client.get_variant(known.flag.key, asked)
        enabled = bool(variant["feature_enabled"])
        if not enabled and not _parents_hold(client, known, asked):
            return self._off_result(known, kind, Reason.DISABLED)
        reason = known.reason(asked.get("userId"), enabled=enabled)
        if not enabled:
            return self._off_result(known, kind, reason)
        return _on_result(known, variant, kind, reason)

    def _boolean(self, client: UnleashClient, known: Known, asked: dict[str, Any]) -> Result:
        """Return the answer of a boolean: one of a few, each made once."""
        key = known.flag.key
        unknown: list[str] = []
        enabled = client.is_enabled(key, asked, lambda name, _: _miss(unknown, name))
        if unknown:
            return error_of(NAME, key, ErrorCode.FLAG_NOT_FOUND, f'Unleash has no flag "{key}"')
        depends = not enabled and known.flag.prerequisites
        if depends and not _parents_hold(client, known, asked):
            return self._off_result(known, FlagKind.BOOLEAN, Reason.DISABLED)
        user = asked.get("userId")
        outcome = enabled, user in (known.allowed if enabled else known.denied)
        found = known.results.get(outcome)
        if found is None:
            reason, kind = known.reason(user, enabled=enabled), FlagKind.BOOLEAN
            found = (
                _on_result(known, {}, kind, reason)
                if enabled
                else self._off_result(known, kind, reason)
            )
            known.results[outcome] = found
        return found

    def _by_reference(
        self, serving: Serving, known: Known, context: Context, kind: FlagKind
    ) -> Result:
        """Return the answer for who lacks a bucket that the flag can't be decided without."""
        found = serving.reference.decide(known.flag.key, flattened(context))
        if found.error_code is not None:
            message = found.error_message or "it can't be decided"
            return error_of(NAME, known.flag.key, found.error_code, message)
        if found.variant in (None, known.off, known.table.off):
            return self._off_result(known, kind, found.reason)
        value = True if kind is FlagKind.BOOLEAN else found.value
        return _result(known, value, str(found.variant), found.reason)

    def _off_result(self, known: Known, kind: FlagKind, reason: Reason) -> Result:
        """Return what somebody gets who is not enabled: the off variant, where there is one."""
        declared = self._off.get(known.flag.key)
        if declared is None and known.table.kind is not FlagKind.BOOLEAN:
            declared = known.flag.off_variant
        if kind is FlagKind.BOOLEAN:
            return _result(known, False, declared or known.flag.off_variant or "off", reason)
        if declared is not None and declared in known.flag.variants:
            return _result(known, known.flag.variants[declared], declared, reason)
        if declared is not None and kind is FlagKind.STRING:
            return _result(known, declared, declared, reason)
        return _nothing(known, reason)

    def export(self) -> Translation:
        """Return all flags as the server tells them to its SDKs; with the tags where it manages.

        Asks the server anew, with the SDK's token.
        """
        from downhaul_unleash.exporting import exported  # noqa: PLC0415  (as below)

        tags_of = None if self._admin is None else self._admin.tags_of
        return exported(self._connection, tags_of, self._connection.deadline)

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return the flags as Unleash would keep them, and what becomes of each part."""
        from downhaul_unleash.fitting import fitted  # noqa: PLC0415  (who only evaluates never asks)

        return fitted(flag_set)

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Raise Refused for percentages and targets that Unleash can't keep."""
        self._managed(Capability.READ).check(key, variant, weights, targets)


def create(settings: Settings) -> UnleashProvider:
    """Return the provider for an ``unleash+…`` URL. Connects to nothing yet. Raises ConfigError."""
    from downhaul_unleash.configuring import admin_of, connection_of  # noqa: PLC0415  (a circle)

    connection = connection_of(settings)
    return UnleashProvider(
        connection, admin=admin_of(settings, connection), declared=settings.flags
    )


def _parents_hold(client: UnleashClient, known: Known, asked: dict[str, Any]) -> bool:
    """Return whether what a flag depends on lets it be on. With metrics, the parents count too."""
    for one in known.flag.prerequisites:
        parent = client.get_variant(one.flag, asked)
        enabled = bool(parent["feature_enabled"])
        if enabled is one.negate:
            return False
        if enabled and one.variants and parent["name"] not in one.variants:
            return False
    return True


def _miss(unknown: list[str], name: str) -> bool:
    unknown.append(name)
    return False


def _on_result(known: Known, variant: Mapping[str, Any], kind: FlagKind, reason: Reason) -> Result:
    """Return what somebody gets who is enabled: a variant, or what stands for none of them."""
    if variant.get("enabled"):
        name = str(variant["name"])
        return _result(known, _value(variant.get("payload"), name, kind), name, reason)
    if FlagKind.BOOLEAN in (kind, known.table.kind):
        return _result(known, True, "on", reason)
    if known.plain is None:  # Unleash has no value for who gets none of the variants
        return _nothing(known, reason)
    return _result(known, known.plain, known.plain, reason)


def _value(payload: Mapping[str, str] | None, name: str, kind: FlagKind) -> Any:
    """Return what a variant is worth: its payload as the flag's kind, or its name without one."""
    if payload is None:
        return name
    text = payload["value"]
    if kind is FlagKind.STRING:
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text  # of another type than was asked for: the caller hears so
    if isinstance(found, float) and not math.isfinite(found):
        return text
    return found


def _result(known: Known, value: Any, variant: str, reason: Reason) -> Result:
    flag, kind = known.flag, type(value)
    outcome = (variant, reason, kind, value) if kind in _PLAIN else None
    found = None if outcome is None else known.results.get(outcome)
    if found is None:
        version = flag.version
        found = Result(value, variant, reason, flag_version=version, provider=NAME, flag=flag.key)
        if outcome is not None:
            known.results[outcome] = found
    return found


def _nothing(known: Known, reason: Reason) -> Result:
    """Return the answer of a flag that has no value for this user: the caller's default."""
    version, key = known.flag.version, known.flag.key
    return Result(
        None, reason=reason, flag_version=version, provider=NAME, authoritative=False, flag=key
    )
