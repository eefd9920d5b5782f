"""What every `Fleet` must do; inherit `FleetContract` and supply `fleet`, an empty one."""

from backapp_core.testing.fleet_lists_contract import ListsContract
from backapp_core.testing.fleet_machines_contract import (
    AnnouncementsContract,
    FleetRunsContract,
    MachinesContract,
    RepositoriesContract,
)
from backapp_core.testing.fleet_people_contract import (
    FailuresContract,
    InvitationsContract,
    SessionsContract,
    TenantsContract,
    TokensContract,
    UsersContract,
)
from backapp_core.testing.fleet_removal_contract import RemovalContract
from backapp_core.testing.tenants_apart import TenantsApart


class FleetContract(
    TenantsContract,
    UsersContract,
    SessionsContract,
    InvitationsContract,
    TokensContract,
    FailuresContract,
    MachinesContract,
    RepositoriesContract,
    ListsContract,
    RemovalContract,
    FleetRunsContract,
    AnnouncementsContract,
    TenantsApart,
):
    """Everything that a server remembers."""
