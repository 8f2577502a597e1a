"""The contract of providers, on the PostgreSQL that this run shares."""

import pytest
from downhaul_postgres.contract import TestPostgres, postgres_server, postgres_template

__all__ = ["TestPostgres", "postgres_server", "postgres_template"]


@pytest.fixture(scope="module")
def contract_url(module_postgres):
    return module_postgres
