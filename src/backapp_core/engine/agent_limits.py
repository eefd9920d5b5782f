"""How often an agent is in touch, how long it holds what it does, and how much it does at once."""

from attrs import frozen


@frozen
class AgentLimits:
    """Stretches of time in seconds; tests make them short."""

    hello_seconds: float = 15.0
    """How often the agent says that it lives, give or take a quarter; sooner when it is woken."""
    alive_seconds: float = 60.0
    """For how long it counts as alive afterwards, so that no second one works with its key."""
    lease_seconds: float = 120.0
    """For how long a run is held; renewed when a third of it is over."""
    report_seconds: float = 0.5
    """How often events and progress are sent at most."""
    retry_seconds: float = 2.0
    """How long to wait after a fault that may pass; doubled each time, up to a minute."""
    tries: int = 8
    """How often a run is tried while its destination cannot be reached."""
    most_runs: int = 2
    """How many runs go on at once."""
