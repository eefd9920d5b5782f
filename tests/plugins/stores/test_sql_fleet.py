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


def test_statement_that_does_not_say_whose_rows_it_means_is_found(is_stray):
    assert is_stray("DELETE FROM runs WHERE runs.id = ?")
    assert is_stray("SELECT runs.id FROM runs")
    assert is_stray(
        "UPDATE runs SET state=? WHERE runs.tenant_id = ? AND"
        " runs.id = (SELECT w.id FROM runs AS w)"
    )
    assert not is_stray("SELECT runs.id FROM runs WHERE runs.tenant_id = ? AND runs.id = ?")
    assert not is_stray("SELECT users.id FROM users WHERE users.email = ?")
