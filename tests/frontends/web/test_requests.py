"""What a request has to be before anybody looks at what it wants."""

import json

import pytest

from backapp_core.model.users import Role
from backapp_core.wire import MOST_BODY_BYTES

HERE = "http://testserver.local"
UNSAFE = [
    ("POST", "/api/v1/enrolments", {"agent_name": "mars"}),
    ("PUT", "/api/v1/jobs/documents", {"repository": "vault", "roots": ["/etc"]}),
    ("PATCH", "/api/v1/me", {"name": "Somebody Else"}),
    ("DELETE", "/api/v1/jobs/documents", None),
]


@pytest.mark.parametrize(("method", "path", "body"), UNSAFE)
@pytest.mark.parametrize(
    "other",
    [
        {"x-csrf-token": ""},
        {"x-csrf-token": "0" * 64},
        {"origin": "https://evil.example.org"},
        {"origin": "http://testserver.local.evil.example.org"},
        {"origin": "https://testserver.local"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_request_that_another_site_made_a_browser_send_is_refused(
    client, admin, method, path, body, other
):
    answer = client.request(method, path, json=body, headers=admin | other)
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:backapp:error:NotAllowed"


def test_token_of_another_session_is_no_token_of_this_one(client, ours, admin):
    other = ours.signed_in(ours.person(Role.ADMIN).member).headers["x-csrf-token"]
    answer = client.patch("/api/v1/me", json={"name": "X"}, headers=admin | {"x-csrf-token": other})
    assert answer.status_code == 403


def test_request_of_our_own_page_passes(client, admin):
    own = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.patch("/api/v1/me", json={"name": "Ann"}, headers=admin | own).status_code == 200


def test_signing_in_from_another_site_is_refused(client):
    body = {"email": "a@example.org", "password": "whatever it is"}
    headers = {"origin": "https://evil.example.org"}
    assert client.post("/api/v1/session", json=body, headers=headers).status_code == 403


def test_key_in_a_header_counts_alone_whatever_cookies_come_with_it(client, ours, admin, agent):
    answer = client.get("/api/v1/me", headers=admin | agent)
    assert answer.status_code == 403
    wrong = ours.bearer("backapp_token_" + "0" * 64)
    assert client.get("/api/v1/me", headers=admin | wrong).status_code == 401


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_of_another_kind_is_refused(client, admin, kind):
    answer = client.post(
        "/api/v1/enrolments",
        content=b'{"agent_name": "mars"}',
        headers=admin | {"content-type": kind},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"agent_name": "\xff"}',
        b'{"agent_name": "\xc3\x28"}',
        b"[]",
        b"null",
        b'"text"',
        b'{"agent_name": NaN}',
        b'{"agent_name": "a\\u0000b"}',
        b'{"agent_name": "\\ud800"}',
        b'{"agent_name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"agent_name": ' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"agent_name": 1' + b"0" * 400 + b"}",
    ],
    ids=range(14),
)
def test_malformed_body_is_answered_in_a_sentence(client, admin, raw):
    headers = admin | {"content-type": "application/json"}
    answer = client.post("/api/v1/enrolments", content=raw, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_token_that_has_expired_already_is_not_made(client, admin):
    body = {"name": "late", "expires_at": "2020-01-01T00:00:00+00:00"}
    answer = client.post("/api/v1/me/tokens", json=body, headers=admin)
    assert answer.status_code == 400
    assert "name a later moment" in answer.json()["detail"]
    kept = client.get("/api/v1/me/tokens", headers=admin).json()["tokens"]
    assert "late" not in {one["name"] for one in kept}


def test_body_that_is_missing_is_called_so(client, admin):
    answer = client.post("/api/v1/enrolments", headers=admin)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "the request cannot be used: a body is missing"


def test_part_of_an_address_is_called_as_it_is_written_there(client, admin):
    answer = client.get("/api/v1/runs?state=lost", headers=admin)
    assert answer.status_code == 400
    assert [name for name, _ in answer.json()["faults"]] == ["state"]


def test_every_fault_of_a_body_is_listed_with_its_path(client, admin):
    body = {"name": 5, "job": {"repository": True, "roots": "/etc", "colour": "red"}}
    answer = client.post("/api/v1/jobs", json=body, headers=admin)
    assert answer.status_code == 400
    paths = {path for path, _ in answer.json()["faults"]}
    assert paths == {"name", "job.repository", "job.roots", "job.colour"}


@pytest.mark.parametrize("headers", [{}, {"transfer-encoding": "chunked"}])
def test_body_that_is_too_large_is_refused(client, admin, headers):
    raw = b'{"agent_name": "' + b"a" * MOST_BODY_BYTES + b'"}'
    content = iter([raw]) if headers else raw
    answer = client.post(
        "/api/v1/enrolments",
        content=content,
        headers=admin | {"content-type": "application/json"},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["session", "join", "register", "enrol"])
def test_body_of_somebody_unknown_is_refused_earlier(client, path):
    raw = b'{"token": "' + b"a" * 65_536 + b'"}'
    headers = {"content-type": "application/json"}
    answer = client.post(f"/api/v1/{path}", content=raw, headers=headers)
    assert answer.status_code == 413
    form = {"email": "a" * 65_536, "password": "x", "next": "/"}
    assert client.post("/sign-in", data=form).status_code == 413


# Whatever else a model has is none of the caller's business.
@pytest.mark.parametrize(
    ("method", "path", "body", "more"),
    [
        (
            "PATCH",
            "/api/v1/me",
            {"name": "Ann"},
            ["role", "is_enabled", "email", "id", "tenant_id"],
        ),
        ("PATCH", "/api/v1/users/me", {"role": "viewer"}, ["email", "id", "tenant_id", "password"]),
        ("POST", "/api/v1/invitations", {"role": "viewer"}, ["id", "created_by", "tenant_id"]),
        ("POST", "/api/v1/me/tokens", {"name": "t"}, ["user_id", "id", "role", "token"]),
        ("POST", "/api/v1/enrolments", {"agent_name": "m"}, ["id", "tenant_id", "expires_at"]),
        (
            *("POST", "/api/v1/repositories"),
            {"name": "x", "agent": "pluto", "folder": "/x"},
            ["id", "address", "is_local", "sheet_confirmed_at", "initialised_at", "custody"],
        ),
        (
            *("PUT", "/api/v1/jobs/documents"),
            {"repository": "vault", "roots": ["/home/ann"]},
            ["agent_id", "scanner", "password_command", "password_file", "due_after", "retention"],
        ),
        (
            *("POST", "/api/v1/restores"),
            {"repository": "vault", "snapshot_id": "5a" * 32, "target": "/restore"},
            ["agent_id", "id", "state"],
        ),
    ],
)
def test_nothing_is_set_that_is_not_the_callers_to_set(client, admin, method, path, body, more):
    for name in more:
        answer = client.request(method, path, json=body | {name: "x"}, headers=admin)
        assert answer.status_code == 400, name
        assert [name, "is not known here"] in answer.json()["faults"]


def test_every_answer_has_the_strict_headers(client, admin, agent):
    answers = [
        client.get("/health"),
        client.get("/api/v1/me", headers=admin),
        client.get("/api/v1/me"),
        client.get("/nothing-is-here"),
        client.put("/health"),
        client.post("/api/v1/agent/claim", headers=agent, json={}),
        client.get("/api/v1/docs"),
    ]
    assert {answer.status_code for answer in answers} == {200, 401, 404, 405, 400}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "permissions-policy" in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers


def test_no_other_site_is_let_read(client, admin):
    headers = admin | {"origin": "https://evil.example.org", "access-control-request-method": "PUT"}
    answer = client.request("OPTIONS", "/api/v1/jobs/documents", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("name", ["%00", "a%0Ab", "%E2%80%AE", "a%1B%5B2J"])
@pytest.mark.parametrize(
    "path", ["/api/v1/jobs/{}", "/api/v1/runs/{}", "/api/v1/runs?job={}", "/api/v1/runs?before={}"]
)
def test_address_with_characters_that_no_name_has_is_refused(client, admin, path, name):
    assert client.get(path.format(name), headers=admin).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1000000",
        "limit=x",
        "state=finished",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "before=nothing",
        "agent=nobody",
    ],
)
def test_question_for_runs_that_makes_no_sense_is_refused(client, admin, query):
    answer = client.get(f"/api/v1/runs?{query}", headers=admin)
    assert answer.status_code in {400, 404}
    assert answer.json()["detail"]


def test_more_objects_than_are_looked_for_at_once_are_refused(client, ours, agent):
    objects = [{"name": f"data/{number:064x}", "size_bytes": 1} for number in range(2001)]
    taken = {"id": "5a" * 32, "taken_at": "2030-01-01T00:00:00Z", "hostname": "h", "username": "u"}
    for verb, body in (
        ("see", {"snapshot_id": "5a" * 32}),
        ("acknowledge", {"snapshot": taken | {"roots": ["/home"]}}),
    ):
        address = f"/api/v1/agent/runs/{ours.run.id}/{verb}"
        for count, is_refused in ((2001, True), (2000, False)):
            sent = body | {"fence": 1, "objects": objects[:count]}
            answer = client.post(address, json=sent, headers=agent)
            assert ("at most 2,000 objects" in answer.text) == is_refused, answer.text
            assert answer.status_code == (400 if is_refused else 409), answer.text


def test_every_parameter_that_is_wrong_is_named(client, admin):
    answer = client.get("/api/v1/runs?limit=0&since=yesterday", headers=admin)
    assert {name for name, _ in answer.json()["faults"]} == {"limit", "since"}
    assert "limit: " in answer.json()["detail"]
    assert "since: " in answer.json()["detail"]


def test_what_is_not_there_is_answered_in_a_sentence(client):
    nowhere, backwards = client.get("/api/v1/nothing"), client.put("/api/v1/jobs")
    assert nowhere.json()["detail"] == "there is nothing at this address"
    assert backwards.status_code == 405
    assert "asked for in this way" in backwards.json()["detail"]


def test_text_that_means_something_to_databases_and_pages_is_only_text(client, admin):
    for name in ("' OR 1=1 --", "%", "_", "<script>alert(1)</script>", "../../etc/passwd", "\\"):
        answer = client.get("/api/v1/runs", params={"job": name}, headers=admin)
        assert answer.json() == {"runs": [], "next_before": None}
        answer = client.post("/api/v1/enrolments", json={"agent_name": name}, headers=admin)
        assert answer.status_code == 400


def test_interface_is_described_without_any_secret(client, ours):
    document = client.get("/api/v1/openapi.json")
    assert document.status_code == 200
    paths = document.json()["paths"]
    assert "/api/v1/agent/claim" in paths
    assert paths["/api/v1/agent/claim"]["post"]["security"] == [{"bearer": []}]
    assert paths["/api/v1/session"]["post"]["security"] == []
    for secret in (ours.agent_key, ours.api_token):
        assert secret not in json.dumps(document.json())


def test_page_of_the_description_needs_no_other_host(client):
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/v1/agent/claim" in page.text
    assert "Needs bearer, or session, or to come from the server&#39;s own machine." in page.text
    assert "//" not in page.text.replace("http://testserver.local", "")
