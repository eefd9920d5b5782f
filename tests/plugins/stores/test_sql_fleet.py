import pytest

from backapp_core.testing.fleet_contract import FleetContract


class TestSqliteFleet(FleetContract):
    @pytest.fixture
    def fleet(self, sqlite_fleet):
        return sqlite_fleet


@pytest.mark.interop
class TestPostgresFleet(FleetContract):
    @pytest.fixture
    def fleet(self, postgres_fleet):
        return postgres_fleet
