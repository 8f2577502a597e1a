"""The contract of providers, bound to an Acme server that this process runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from downhaul_contract_tests import Backend, ProviderContract

from acme_flags.provider import AcmeProvider
from acme_flags.server import AcmeServer
from downhaul.config import Secret
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.flag import FlagSet
from downhaul.provider import FlagProvider

TOKEN = "5ecret-of-acme"  # noqa: S105  (made up here)


class AcmeBackend(Backend):
    """A server, filled and emptied past the provider under test."""

    secrets = (TOKEN,)

    def __init__(self, server: AcmeServer) -> None:
        self.server = server

    def provider(self) -> FlagProvider:
        """Return what another process would have."""
        return AcmeProvider(self.server.url, Secret(TOKEN), poll=0.02)

    def seed(self, flags: FlagSet) -> None:
        """Put documents into the server's memory."""
        self.server.hold(
            {key: flag_to_data(one) for key, one in flags.flags.items()},
            {key: segment_to_data(one) for key, one in flags.segments.items()},
        )

    def reset(self) -> None:
        """Empty it."""
        self.server.hold({}, {})

    def outage(self) -> None:
        """Break every connection off."""
        self.server.away = True

    def restore(self) -> None:
        """Answer again."""
        self.server.away = False


@pytest.fixture(scope="module")
def acme_server() -> Iterator[AcmeServer]:
    """A server for all tests."""
    with AcmeServer(token=TOKEN) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


class TestAcme(ProviderContract):
    """``acme+http:``."""

    @pytest.fixture
    def backend(self, acme_server: AcmeServer) -> Backend:
        """The one server, emptied before every test."""
        return AcmeBackend(acme_server)
