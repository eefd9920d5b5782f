"""Every route times everybody who may call it; a route that stands in no table is refused."""

import pytest
from litestar import Litestar, get

from backapp_core.errors import InputError
from backapp_core.model.users import Role
from backapp_web import policies
from backapp_web.app import create_app
from backapp_web.guards import check_policies, route_keys

# Who may, told independently of the program's own table: N nobody in particular, V viewer,
# O operator, A administrator (as one person at a browser each), T a program with an operator's
# API token, G a machine.
EVERYBODY = "NVOATG"
EXPECTED = {
    "GET /": EVERYBODY,
    "GET /assets/{file_path}": EVERYBODY,
    "HEAD /assets/{file_path}": EVERYBODY,
    "GET /sign-in": EVERYBODY,
    "POST /sign-in": EVERYBODY,
    "POST /sign-out": "VOA",
    "GET /join/{token}": EVERYBODY,
    "POST /join/{token}": EVERYBODY,
    "GET /register": EVERYBODY,
    "POST /register": EVERYBODY,
    "GET /profile": "VOA",
    "POST /profile": "VOA",
    "POST /profile/password": "VOA",
    "POST /profile/tokens": "VOA",
    "POST /profile/tokens/{token_id}/remove": "VOA",
    "GET /machines": "VOA",
    "POST /machines": "A",
    "POST /machines/{agent}/revoke": "A",
    "POST /machines/{agent}/remove": "A",
    "GET /overview": "VOA",
    "GET /repositories": "VOA",
    "POST /repositories": "A",
    "GET /new-repository": "A",
    "GET /removed-repositories": "VOA",
    "GET /repositories/{repository}": "VOA",
    "POST /repositories/{repository}/remove": "A",
    "POST /repositories/{repository}/hand-over": "A",
    "GET /repositories/{repository}/receipts": "VOA",
    "POST /repositories/{repository}/check-receipts": "VOA",
    "GET /repositories/{repository}/snapshots/{snapshot}": "OA",
    "POST /repositories/{repository}/snapshots/{snapshot}/ask": "OA",
    "POST /repositories/{repository}/snapshots/{snapshot}/restore": "OA",
    "GET /snapshots": "VOA",
    "GET /jobs": "VOA",
    "POST /jobs": "A",
    "GET /new-job": "A",
    "POST /preview-schedule": "A",
    "GET /jobs/{job}": "VOA",
    "GET /jobs/{job}/edit": "A",
    "POST /jobs/{job}/edit": "A",
    "POST /jobs/{job}/run": "OA",
    "POST /jobs/{job}/remove": "A",
    "GET /runs": "VOA",
    "GET /runs/{run_id}": "VOA",
    "GET /runs/{run_id}/log": "VOA",
    "POST /runs/{run_id}/cancel": "OA",
    "GET /people": "A",
    "POST /people": "A",
    "POST /people/{user_id}": "A",
    "GET /health": EVERYBODY,
    "GET /metrics": "A",
    "GET /api/v1/openapi.json": EVERYBODY,
    "GET /api/v1/docs": EVERYBODY,
    "GET /api/v1/docs/openapi.json": EVERYBODY,
    "GET /api/v1/docs/{path}": EVERYBODY,
    "POST /api/v1/session": EVERYBODY,
    "DELETE /api/v1/session": "VOA",
    "POST /api/v1/join": EVERYBODY,
    "POST /api/v1/register": EVERYBODY,
    "POST /api/v1/enrol": EVERYBODY,
    "GET /api/v1/me": "VOAT",
    "PATCH /api/v1/me": "VOA",
    "PUT /api/v1/me/password": "VOA",
    "GET /api/v1/me/tokens": "VOA",
    "POST /api/v1/me/tokens": "VOA",
    "DELETE /api/v1/me/tokens/{token_id}": "VOA",
    "GET /api/v1/users": "A",
    "PATCH /api/v1/users/{user_id}": "A",
    "GET /api/v1/invitations": "A",
    "POST /api/v1/invitations": "A",
    "GET /api/v1/agents": "VOAT",
    "GET /api/v1/agents/{agent}": "VOAT",
    "POST /api/v1/agents/{agent}/revoke": "A",
    "DELETE /api/v1/agents/{agent}": "A",
    "GET /api/v1/enrolments": "A",
    "POST /api/v1/enrolments": "A",
    "GET /api/v1/repositories": "VOAT",
    "POST /api/v1/repositories": "A",
    "GET /api/v1/removed-repositories": "VOAT",
    "GET /api/v1/repositories/{repository}": "VOAT",
    "DELETE /api/v1/repositories/{repository}": "A",
    "POST /api/v1/repositories/{repository}/hand-over": "A",
    "GET /api/v1/repositories/{repository}/snapshots": "VOAT",
    "GET /api/v1/repositories/{repository}/receipts": "VOAT",
    "POST /api/v1/repositories/{repository}/check-receipts": "VOAT",
    "GET /api/v1/buckets": "A",
    "GET /api/v1/jobs": "VOAT",
    "POST /api/v1/jobs": "A",
    "GET /api/v1/jobs/{job}": "VOAT",
    "PUT /api/v1/jobs/{job}": "A",
    "DELETE /api/v1/jobs/{job}": "A",
    "POST /api/v1/jobs/{job}/run": "OAT",
    "POST /api/v1/schedules/preview": "VOAT",
    "GET /api/v1/runs": "VOAT",
    "GET /api/v1/runs/{run_id}": "VOAT",
    "GET /api/v1/runs/{run_id}/events": "VOAT",
    "POST /api/v1/runs/{run_id}/cancel": "OAT",
    "POST /api/v1/restores": "OAT",
    "POST /api/v1/questions": "OAT",
    "GET /api/v1/questions/{question_id}": "OAT",
    "WS /live": "VOA",
    "WS /api/v1/agent/socket": "G",
    "POST /api/v1/agent/hello": "G",
    "POST /api/v1/agent/goodbye": "G",
    "POST /api/v1/agent/claim": "G",
    "POST /api/v1/agent/runs/{run_id}/renew": "G",
    "POST /api/v1/agent/runs/{run_id}/report": "G",
    "POST /api/v1/agent/runs/{run_id}/hand-back": "G",
    "POST /api/v1/agent/runs/{run_id}/finish": "G",
    "POST /api/v1/agent/runs/{run_id}/see": "G",
    "POST /api/v1/agent/runs/{run_id}/acknowledge": "G",
    "GET /api/v1/agent/repositories": "G",
    "GET /api/v1/agent/repositories/{repository_id}": "G",
    "POST /api/v1/agent/repositories/{repository_id}/created": "G",
    "POST /api/v1/agent/repositories/{repository_id}/sheet": "G",
    "POST /api/v1/agent/repositories/{repository_id}/grants/reads": "G",
    "POST /api/v1/agent/repositories/{repository_id}/grants/writes": "G",
    "POST /api/v1/agent/repositories/{repository_id}/grants/deletes": "G",
    "GET /api/v1/agent/repositories/{repository_id}/objects": "G",
    "POST /api/v1/agent/repositories/{repository_id}/uploads": "G",
    "POST /api/v1/agent/repositories/{repository_id}/uploads/parts": "G",
    "POST /api/v1/agent/repositories/{repository_id}/uploads/complete": "G",
    "POST /api/v1/agent/repositories/{repository_id}/uploads/abandon": "G",
    "POST /api/v1/agent/questions/next": "G",
    "POST /api/v1/agent/questions/{question_id}": "G",
}
ENDS_SESSION = {"DELETE /api/v1/session", "POST /sign-out"}
REFUSED = {
    f"urn:backapp:error:{name}": name for name in ("NotSignedIn", "NotAllowed", "AgentRevoked")
}


@pytest.fixture(scope="module")
def callers(ours) -> dict[str, dict[str, str]]:
    """Headers of everybody, good ones and such as are of no use any more."""
    gone = ours.signed_in(ours.person(Role.ADMIN).member)
    ours.server.sign_out(gone.token, gone.member.user.id)
    removed, kept = ours.server.add_api_token(ours.person(Role.ADMIN).member, "removed", None)
    ours.store.users.remove_api_token(kept.user_id, kept.id)
    return {
        "N": {},
        "V": ours.person(Role.VIEWER).headers,
        "O": ours.person(Role.OPERATOR).headers,
        "A": ours.person(Role.ADMIN).headers,
        "T": ours.bearer(ours.api_token),
        "G": ours.bearer(ours.agent_key),
        # None of these is anybody.
        "signed out": gone.headers,
        "revoked machine": ours.bearer(ours.revoked_key),
        "removed token": ours.bearer(removed),
        "no such token": ours.bearer("backapp_token_" + "0" * 64),
        "no token at all": ours.bearer(""),
        "basic": {"authorization": "Basic YWRtaW46YWRtaW4="},
        "agent's key as a cookie": {"cookie": f"backapp_session={ours.agent_key}"},
    }


def test_the_table_here_names_every_route(open_client):
    assert set(route_keys(open_client.app)) == set(EXPECTED)


@pytest.mark.parametrize("key", [key for key in EXPECTED if not key.startswith("WS ")])
def test_everybody_gets_what_the_table_says(key, open_client, callers, ours):
    method, path = key.split()
    # Nothing is called so, and no body fits: whoever is let through learns that, and no more.
    address = path.replace("{", "no-such-").replace("}", "")
    if key in ENDS_SESSION:
        callers = callers | {
            letter: ours.signed_in(ours.person(role).member).headers
            for letter, role in (("V", Role.VIEWER), ("O", Role.OPERATOR), ("A", Role.ADMIN))
        }
    body = {"json": {}} if "/api/" in path else {"data": {"nothing": ""}}
    open_client.cookies.clear()
    for who, headers in callers.items():
        answer = open_client.request(
            method,
            address,
            headers=headers,
            follow_redirects=False,
            **({} if method in {"GET", "HEAD", "DELETE"} else body),
        )
        assert answer.status_code not in {405, 500}, (who, answer.text)
        is_problem = (
            answer.headers.get("content-type") == "application/problem+json" and answer.text
        )
        refusal = REFUSED.get(answer.json()["type"]) if is_problem else None
        letter = who if len(who) == 1 else "N"
        if letter in EXPECTED[key]:
            assert refusal is None, (who, answer.text)
        else:
            assert refusal is not None, (who, answer.text)
            assert answer.status_code == (401 if letter == "N" else 403)


@pytest.mark.parametrize("key", [key for key in EXPECTED if key.startswith("WS ")])
def test_sockets_open_for_those_whom_the_table_names(key, open_client, callers):
    from litestar.exceptions import WebSocketDisconnect

    open_client.cookies.clear()
    for who, shown in callers.items():
        headers = shown | {"origin": "http://testserver.local"}
        if who in EXPECTED[key]:
            with open_client.websocket_connect(key.split()[1], headers=headers):
                continue
        letter = who if len(who) == 1 else "N"
        with (
            pytest.raises(WebSocketDisconnect) as refusal,
            open_client.websocket_connect(key.split()[1], headers=headers),
        ):
            raise AssertionError(who)
        assert refusal.value.code == (4401 if letter == "N" else 4403), who


def test_application_with_a_route_that_has_no_policy_is_refused():
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> str:
        return "anybody reads this"

    with pytest.raises(InputError, match="GET /forgotten"):
        check_policies(Litestar([forgotten], openapi_config=None))


def test_route_without_a_policy_is_not_answered_either(server, monkeypatch):
    from litestar.testing import TestClient

    app = create_app(server, goes_round=False)
    monkeypatch.delitem(policies.POLICIES, "GET /api/v1/docs")
    with TestClient(app) as client:
        assert client.get("/api/v1/docs").status_code == 403
