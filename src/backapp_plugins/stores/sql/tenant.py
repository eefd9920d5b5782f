"""Everything that one tenant owns, in tables."""

from typing import final

from typing_extensions import override

from backapp_core.server_api import Tenant, TenantStore, Witness, Work
from backapp_plugins.stores.sql.agents import SqlAgents
from backapp_plugins.stores.sql.fleet_jobs import SqlFleetJobs
from backapp_plugins.stores.sql.fleet_runs import SqlFleetRuns
from backapp_plugins.stores.sql.questions import SqlQuestions
from backapp_plugins.stores.sql.repositories import SqlRepositories
from backapp_plugins.stores.sql.scopes import Scope
from backapp_plugins.stores.sql.users import SqlUsers
from backapp_plugins.stores.sql.work import SqlWork


@final
class SqlTenantStore(TenantStore):
    """The groups of one tenant; made by `SqlFleet.tenant`."""

    def __init__(self, scope: Scope, tenant: Tenant) -> None:
        self._scope = scope
        self.tenant = tenant
        self.jobs = SqlFleetJobs(scope)
        self.runs = SqlFleetRuns(scope)
        self.users = SqlUsers(scope)
        self.agents = SqlAgents(scope)
        self.repositories = SqlRepositories(scope)
        self.questions = SqlQuestions(scope)

    @override
    def work(self, agent_id: str, witness: Witness) -> Work:
        return SqlWork(self._scope, agent_id, witness)
