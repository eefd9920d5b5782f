"""Jobs and runs of one machine in one database."""

from typing import final

from typing_extensions import override

from backapp_core.plugin_api import Store
from backapp_plugins.stores.sql.database import Database
from backapp_plugins.stores.sql.jobs import SqlJobs
from backapp_plugins.stores.sql.runs import SqlRuns
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.tables import DEFAULT_TENANT


@final
class SqlStore(Store):
    """Jobs and runs of one tenant; made by `open.open_store`."""

    def __init__(self, database: Database, tenant_id: int = DEFAULT_TENANT) -> None:
        self._database = database
        scope = Scope(database, tenant_id)
        self.jobs = SqlJobs(scope)
        self.runs = SqlRuns(scope)
        self.claims_folder = database.claims_folder

    @override
    def close(self) -> None:
        self._database.close()
