"""Secrets are nowhere to be read (rule P7)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable

import pytest

from downhaul.errors import DownhaulError
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Offer
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import ON


@needs(Offer.SECRETS)
class RedactionContract(Contract):
    """For bindings that say what their secrets are."""

    group = "redaction"

    @pytest.mark.rule("P7")
    def test_a_provider_does_not_show_its_secrets(self, case: Case) -> None:
        """Neither its repr nor its status has them.

        If this fails, check for a dataclass's repr, and for a URL that is shown whole.
        """
        case.seed(ON)
        flags = case.client()
        operator = flags.operator("contract")
        shown = [repr(operator.provider), str(operator.provider), repr(flags.status()), repr(flags)]
        shown += [repr(flags.evaluate(key, "ada")) for key in (ON.key, "contract-missing")]
        _no_secret(case, shown)

    @pytest.mark.rule("P7")
    def test_no_log_has_a_secret(self, case: Case, caplog: pytest.LogCaptureFixture) -> None:
        """Not at the level of DEBUG, and not in an SDK's own log.

        If this fails, check what the libraries below you log: URLs, headers, connection strings.
        """
        caplog.set_level(logging.DEBUG)
        case.seed(ON)
        with case.client() as flags:
            flags.evaluate(ON.key, "ada")
        if case.has(Capability.READ):
            case.provider().list()
        if case.has(Capability.WRITE):
            case.provider().switch_off(ON.key, CHANGE)
        _no_secret(case, [caplog.text])

    @pytest.mark.rule("P7")
    @needs(Offer.OUTAGE)
    def test_no_error_has_a_secret(self, case: Case, caplog: pytest.LogCaptureFixture) -> None:
        """What fails tells where, without the password.

        If this fails, check that a driver's message passes through a redaction, its cause too.
        """
        caplog.set_level(logging.DEBUG)
        case.seed(ON)
        case.outage()
        flags = case.client(ready=False, ready_within=0.2)
        shown = [repr(flags.status()), repr(flags.evaluate(ON.key, "ada"))]
        if case.has(Capability.READ):
            with pytest.raises(DownhaulError) as failed:
                case.provider().list()
            shown += traceback.format_exception(failed.value)
        _no_secret(case, [*shown, caplog.text])

    @pytest.mark.rule("P7")
    @needs(Capability.SNAPSHOT)
    def test_no_snapshot_has_a_secret(self, case: Case) -> None:
        """A snapshot goes into a database that others read.

        If this fails, check for request data in the snapshot's document.
        """
        case.seed(ON)
        _no_secret(case, [repr(case.writer.snapshot(ON.key))])


def _no_secret(case: Case, shown: Iterable[str]) -> None:
    text = "\n".join(shown)
    found = [number for number, secret in enumerate(case.backend.secrets) if secret in text]
    assert not found, f"secrets number {found} of the binding can be read"
