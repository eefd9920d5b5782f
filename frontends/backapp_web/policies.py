"""Who may call what: the one table; a route that does not stand here cannot be called."""

from attrs import frozen

from backapp_core.model.users import Action
from backapp_core.wire import AGENT, API, ENROL, REPOSITORIES, SOCKET
from backapp_web.callers import Sort


@frozen
class Policy:
    """Who may call a route."""

    sorts: frozenset[Sort]
    """How the caller has to have proved who they are."""
    action: Action | None = None
    """What their role has to include, for people and what acts for them."""
    is_local: bool = False
    """Whether anybody on the server's own machine may as well."""
    is_same_for_all: bool = False
    """Whether who calls is of no interest; then nobody looks, and no database is asked."""

    @property
    def is_open(self) -> bool:
        """Whether anybody may."""
        return Sort.NOBODY in self.sorts


ANYBODY = Policy(frozenset(Sort))
FILES = Policy(frozenset(Sort), is_same_for_all=True)
AGENTS = Policy(frozenset({Sort.AGENT}))
BROWSERS = Policy(frozenset({Sort.BROWSER}))
"""A person, for what is theirs alone and no program's: passwords and tokens."""
PEOPLE = Policy(frozenset({Sort.BROWSER, Sort.TOKEN}))


def _people(action: Action) -> Policy:
    return Policy(PEOPLE.sorts, action)


def _browsers(action: Action) -> Policy:
    return Policy(BROWSERS.sorts, action)


SEE, RUN, RESTORE = (_people(one) for one in (Action.SEE, Action.RUN, Action.RESTORE))
CONFIGURE, ADMINISTER = (_people(one) for one in (Action.CONFIGURE, Action.ADMINISTER))

_GRANT_ROUTES = (
    "grants/reads",
    "grants/writes",
    "grants/deletes",
    "uploads",
    "uploads/parts",
    "uploads/complete",
    "uploads/abandon",
)
_AGENT_ROUTES = (
    "hello",
    "goodbye",
    "claim",
    "runs/{run_id}/renew",
    "runs/{run_id}/report",
    "runs/{run_id}/hand-back",
    "runs/{run_id}/finish",
    "runs/{run_id}/see",
    "runs/{run_id}/acknowledge",
    "repositories/{repository_id}/created",
    "repositories/{repository_id}/sheet",
    "questions/next",
    "questions/{question_id}",
)

POLICIES: dict[str, Policy] = {
    # --- pages
    "GET /": ANYBODY,
    "GET /assets/{file_path}": FILES,
    "HEAD /assets/{file_path}": FILES,
    "GET /sign-in": ANYBODY,
    "POST /sign-in": ANYBODY,
    "POST /sign-out": BROWSERS,
    "GET /join/{token}": ANYBODY,
    "POST /join/{token}": ANYBODY,
    "GET /register": ANYBODY,
    "POST /register": ANYBODY,
    "GET /profile": BROWSERS,
    "POST /profile": BROWSERS,
    "POST /profile/password": BROWSERS,
    "POST /profile/tokens": BROWSERS,
    "POST /profile/tokens/{token_id}/remove": BROWSERS,
    "GET /machines": _browsers(Action.SEE),
    "POST /machines": _browsers(Action.CONFIGURE),
    "POST /machines/{agent}/revoke": _browsers(Action.CONFIGURE),
    "POST /machines/{agent}/remove": _browsers(Action.CONFIGURE),
    "GET /overview": _browsers(Action.SEE),
    "GET /repositories": _browsers(Action.SEE),
    "POST /repositories": _browsers(Action.CONFIGURE),
    "GET /new-repository": _browsers(Action.CONFIGURE),
    "GET /removed-repositories": _browsers(Action.SEE),
    "GET /repositories/{repository}": _browsers(Action.SEE),
    "POST /repositories/{repository}/remove": _browsers(Action.CONFIGURE),
    "POST /repositories/{repository}/hand-over": _browsers(Action.CONFIGURE),
    "GET /repositories/{repository}/receipts": _browsers(Action.SEE),
    "POST /repositories/{repository}/check-receipts": _browsers(Action.SEE),
    "GET /repositories/{repository}/snapshots/{snapshot}": _browsers(Action.RESTORE),
    "POST /repositories/{repository}/snapshots/{snapshot}/ask": _browsers(Action.RESTORE),
    "POST /repositories/{repository}/snapshots/{snapshot}/restore": _browsers(Action.RESTORE),
    "GET /snapshots": _browsers(Action.SEE),
    "GET /jobs": _browsers(Action.SEE),
    "POST /jobs": _browsers(Action.CONFIGURE),
    "GET /new-job": _browsers(Action.CONFIGURE),
    "POST /preview-schedule": _browsers(Action.CONFIGURE),
    "GET /jobs/{job}": _browsers(Action.SEE),
    "GET /jobs/{job}/edit": _browsers(Action.CONFIGURE),
    "POST /jobs/{job}/edit": _browsers(Action.CONFIGURE),
    "POST /jobs/{job}/run": _browsers(Action.RUN),
    "POST /jobs/{job}/remove": _browsers(Action.CONFIGURE),
    "GET /runs": _browsers(Action.SEE),
    "GET /runs/{run_id}": _browsers(Action.SEE),
    "GET /runs/{run_id}/log": _browsers(Action.SEE),
    "POST /runs/{run_id}/cancel": _browsers(Action.RUN),
    "GET /people": _browsers(Action.ADMINISTER),
    "POST /people": _browsers(Action.ADMINISTER),
    "POST /people/{user_id}": _browsers(Action.ADMINISTER),
    # --- the server itself
    "GET /health": ANYBODY,
    "GET /metrics": Policy(PEOPLE.sorts, Action.ADMINISTER, is_local=True),
    f"GET {API}/openapi.json": ANYBODY,
    f"GET {API}/docs": ANYBODY,
    f"GET {API}/docs/openapi.json": ANYBODY,
    f"GET {API}/docs/{{path}}": ANYBODY,
    # --- who is who
    f"POST {API}/session": ANYBODY,
    f"DELETE {API}/session": BROWSERS,
    f"POST {API}/join": ANYBODY,
    f"POST {API}/register": ANYBODY,
    f"GET {API}/me": PEOPLE,
    f"PATCH {API}/me": BROWSERS,
    f"PUT {API}/me/password": BROWSERS,
    f"GET {API}/me/tokens": BROWSERS,
    f"POST {API}/me/tokens": BROWSERS,
    f"DELETE {API}/me/tokens/{{token_id}}": BROWSERS,
    f"GET {API}/users": ADMINISTER,
    f"PATCH {API}/users/{{user_id}}": _browsers(Action.ADMINISTER),
    f"GET {API}/invitations": ADMINISTER,
    f"POST {API}/invitations": _browsers(Action.ADMINISTER),
    # --- machines, as people see them
    f"GET {API}/agents": SEE,
    f"GET {API}/agents/{{agent}}": SEE,
    f"POST {API}/agents/{{agent}}/revoke": CONFIGURE,
    f"DELETE {API}/agents/{{agent}}": CONFIGURE,
    f"GET {API}/enrolments": CONFIGURE,
    f"POST {API}/enrolments": CONFIGURE,
    # --- what is backed up
    f"GET {API}/repositories": SEE,
    f"POST {API}/repositories": CONFIGURE,
    f"GET {API}/removed-repositories": SEE,
    f"GET {API}/repositories/{{repository}}": SEE,
    f"DELETE {API}/repositories/{{repository}}": CONFIGURE,
    f"POST {API}/repositories/{{repository}}/hand-over": CONFIGURE,
    f"GET {API}/repositories/{{repository}}/snapshots": SEE,
    f"GET {API}/repositories/{{repository}}/receipts": SEE,
    f"POST {API}/repositories/{{repository}}/check-receipts": SEE,
    f"GET {API}/buckets": CONFIGURE,
    f"GET {API}/jobs": SEE,
    f"POST {API}/jobs": CONFIGURE,
    f"GET {API}/jobs/{{job}}": SEE,
    f"PUT {API}/jobs/{{job}}": CONFIGURE,
    f"DELETE {API}/jobs/{{job}}": CONFIGURE,
    f"POST {API}/jobs/{{job}}/run": RUN,
    f"POST {API}/schedules/preview": SEE,
    # --- what happens
    f"GET {API}/runs": SEE,
    f"GET {API}/runs/{{run_id}}": SEE,
    f"GET {API}/runs/{{run_id}}/events": SEE,
    f"POST {API}/runs/{{run_id}}/cancel": RUN,
    f"POST {API}/restores": RESTORE,
    f"POST {API}/questions": RESTORE,
    f"GET {API}/questions/{{question_id}}": RESTORE,
    "WS /live": BROWSERS,
    # --- machines themselves
    f"POST {ENROL}": ANYBODY,
    **{f"POST {AGENT}/{route}": AGENTS for route in _AGENT_ROUTES},
    **{f"POST {REPOSITORIES}/{{repository_id}}/{route}": AGENTS for route in _GRANT_ROUTES},
    f"GET {REPOSITORIES}/{{repository_id}}/objects": AGENTS,
    f"GET {REPOSITORIES}": AGENTS,
    f"GET {REPOSITORIES}/{{repository_id}}": AGENTS,
    f"WS {SOCKET}": AGENTS,
}
