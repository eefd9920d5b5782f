"""What plugins that work for servers and agents may import, besides `plugin_api`.

A module of its own, so that commands that know no server do not pay for it.
"""

from backapp_core.model.agents import Agent, AgentReport, EnrolmentToken, check_agent_name
from backapp_core.model.managed_repositories import SCHEME, Custody, ManagedRepository
from backapp_core.model.receipts import NOTHING_BEFORE, Receipt
from backapp_core.model.tenants import Tenant
from backapp_core.model.users import (
    Action,
    ApiToken,
    Invitation,
    Member,
    Role,
    Session,
    User,
    check_email,
)
from backapp_core.model.work import (
    Answer,
    Claim,
    Hold,
    Holding,
    Orders,
    Question,
    QuestionKind,
    Renewal,
)
from backapp_core.ports.fleet import Announced, Fleet, KnownAgent, Login
from backapp_core.ports.grants import CanIssueGrants, HasGrants
from backapp_core.ports.managed_repositories import Repositories, RepositoryStanding
from backapp_core.ports.tenants import (
    Agents,
    AgentStanding,
    FleetJobs,
    FleetRuns,
    Questions,
    TenantStore,
    Users,
    Witness,
)
from backapp_core.ports.work import CanWake, Woken, Work

__all__ = [
    "NOTHING_BEFORE",
    "SCHEME",
    "Action",
    "Agent",
    "AgentReport",
    "AgentStanding",
    "Agents",
    "Announced",
    "Answer",
    "ApiToken",
    "CanIssueGrants",
    "CanWake",
    "Claim",
    "Custody",
    "EnrolmentToken",
    "Fleet",
    "FleetJobs",
    "FleetRuns",
    "HasGrants",
    "Hold",
    "Holding",
    "Invitation",
    "KnownAgent",
    "Login",
    "ManagedRepository",
    "Member",
    "Orders",
    "Question",
    "QuestionKind",
    "Questions",
    "Receipt",
    "Renewal",
    "Repositories",
    "RepositoryStanding",
    "Role",
    "Session",
    "Tenant",
    "TenantStore",
    "User",
    "Users",
    "Witness",
    "Woken",
    "Work",
    "check_agent_name",
    "check_email",
]
