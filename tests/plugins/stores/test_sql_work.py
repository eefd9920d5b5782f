import pytest

from backapp_core.testing.work_contract import WorkContract


class TestSqliteWork(WorkContract):
    @pytest.fixture
    def fleet(self, sqlite_fleet):
        return sqlite_fleet


@pytest.mark.interop
class TestPostgresWork(WorkContract):
    @pytest.fixture
    def fleet(self, postgres_fleet):
        return postgres_fleet
