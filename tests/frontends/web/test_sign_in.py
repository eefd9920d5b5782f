"""How people come in, and what nobody gets by guessing."""

import hashlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backapp_core.engine import passwords
from backapp_core.engine.sign_in import MOST_ATTEMPTS
from backapp_core.model.users import Role

PASSWORD = "correct horse battery staple"
"""Of everybody in the fixtures."""


def sign_in(client, email, password=PASSWORD, **options):
    body = {"email": email, "password": password}
    return client.post("/api/v1/session", json=body, **options)


@pytest.fixture
def ann(ours, request):
    """Somebody whose account no other test touches."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return ours.somebody(name, Role.OPERATOR)


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(client, ann):
    answer = sign_in(client, ann.member.user.email)
    assert answer.status_code == 200
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert parts >= {"httponly", "path=/", "samesite=lax"}
    assert "secure" not in parts
    assert client.get("/api/v1/me").json()["user"]["email"] == ann.member.user.email


def test_cookie_over_tls_is_bound_to_the_host(server, ann):
    from litestar.testing import TestClient

    from backapp_web.app import create_app

    app = create_app(server, goes_round=False)
    with TestClient(app, base_url="https://backup.example.org") as client:
        answer = sign_in(client, ann.member.user.email)
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("__host-backapp_session=")
        assert {"secure", "httponly", "path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "domain" not in cookie
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_cookie_that_somebody_put_there_before_is_never_taken_over(client, ann):
    invented = "a" * 64
    headers = {"cookie": f"backapp_session={invented}"}
    answer = sign_in(client, ann.member.user.email, headers=headers)
    assert answer.status_code == 200
    assert invented not in answer.headers["set-cookie"]
    client.cookies.clear()
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_signing_in_again_gives_another_session_and_ends_the_former(client, ann):
    first = sign_in(client, ann.member.user.email).cookies["backapp_session"]
    headers = {"x-csrf-token": client.get("/api/v1/me").json()["csrf"]}
    second = sign_in(client, ann.member.user.email, headers=headers).cookies["backapp_session"]
    client.cookies.clear()
    for token, status in ((first, 401), (second, 200)):
        headers = {"cookie": f"backapp_session={token}"}
        assert client.get("/api/v1/me", headers=headers).status_code == status


def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(client, ann):
    assert client.delete("/api/v1/session", headers=ann.headers).status_code == 204
    assert client.get("/api/v1/me", headers=ann.headers).status_code == 401


def test_changing_the_password_ends_the_other_sessions(client, ours, ann):
    other = ours.signed_in(ann.member)
    body = {"present": PASSWORD, "new": "another long enough phrase"}
    assert client.put("/api/v1/me/password", json=body, headers=ann.headers).status_code == 204
    assert client.get("/api/v1/me", headers=ann.headers).status_code == 200
    assert client.get("/api/v1/me", headers=other.headers).status_code == 401
    assert sign_in(client, ann.member.user.email).status_code == 401
    assert sign_in(client, ann.member.user.email, body["new"]).status_code == 200


def test_password_is_not_changed_by_whoever_does_not_know_it(client, ann):
    body = {"present": "not the password", "new": "another long enough phrase"}
    assert client.put("/api/v1/me/password", json=body, headers=ann.headers).status_code == 401
    assert sign_in(client, ann.member.user.email).status_code == 200


def test_somebody_who_is_switched_off_is_out_at_once(client, ours, ann, admin):
    url = f"/api/v1/users/{ann.member.user.id}"
    assert client.patch(url, json={"is_enabled": False}, headers=admin).status_code == 200
    assert client.get("/api/v1/me", headers=ann.headers).status_code == 401
    assert sign_in(client, ann.member.user.email).status_code == 401


def test_unknown_address_and_wrong_password_are_answered_alike(client, ann):
    wrong = sign_in(client, ann.member.user.email, "not the password")
    unknown = sign_in(client, "nobody@example.org", "not the password")
    no_address = sign_in(client, "' or 1=1 --", "not the password")
    assert wrong.status_code == unknown.status_code == no_address.status_code == 401
    assert wrong.json() == unknown.json() == no_address.json()


def test_guessing_is_stopped_whatever_headers_say_of_the_client(client, server, ann):
    for number in range(MOST_ATTEMPTS):
        headers = {"x-forwarded-for": f"198.51.100.{number}", "x-real-ip": f"10.0.0.{number}"}
        answer = sign_in(client, ann.member.user.email, "not the password", headers=headers)
        assert answer.status_code == 401
    answer = sign_in(client, ann.member.user.email)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    # The right password opens nothing now, and neither does that of somebody else from here.
    assert "set-cookie" not in answer.headers
    assert sign_in(client, "somebody@example.org").status_code == 429
    server.fleet.forget_failures("client:testclient")
    assert sign_in(client, ann.member.user.email).status_code == 429


def test_many_who_sign_in_at_once_keep_nobody_else_waiting(open_client, client):
    at_once = open_client.app.state["hashing"]
    crowd = 50  # more than there are threads for all other requests
    for _ in range(2):
        passwords._AT_ONCE.acquire()  # whoever hashes takes its time
    with ThreadPoolExecutor(crowd) as pool:
        try:
            asked = [pool.submit(sign_in, client, "nobody@example.org") for _ in range(crowd)]
            while True:
                seen = at_once.statistics()
                if seen.borrowed_tokens + seen.tasks_waiting == crowd:
                    break
                threading.Event().wait(0.01)
            assert client.get("/health").status_code == 200
        finally:
            for _ in range(2):
                passwords._AT_ONCE.release()
        assert {one.result().status_code for one in asked} == {401, 429}


def test_database_does_not_help_whoever_reads_it(client, ours, ann):
    rows = everything(Path(ours.server.all_settings.store.removeprefix("sqlite:///")))
    assert PASSWORD not in rows
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in rows
    secrets = (ann.token, ours.agent_key, ours.api_token, ours.revoked_key)
    for secret in secrets:
        assert secret not in rows
        assert hashlib.sha256(secret.encode()).hexdigest() in rows
        # What stands there is no key.
        shown = {"cookie": f"backapp_session={hashlib.sha256(secret.encode()).hexdigest()}"}
        assert client.get("/api/v1/me", headers=shown).status_code == 401


def everything(path: Path) -> str:
    with sqlite3.connect(path) as database:
        text = "\n".join(database.iterdump())
    database.close()
    return text


def test_first_administrator_comes_by_the_link_once(new_server, tmp_path):
    from litestar.testing import TestClient

    from backapp_web.app import create_app

    with (
        new_server(tmp_path) as server,
        TestClient(create_app(server, goes_round=False)) as client,
    ):
        token, later = server.first_link(), server.first_link()
        body = {"email": "Ann@Example.org", "name": "Ann", "password": PASSWORD}
        joined = client.post("/api/v1/join", json=body | {"token": token})
        assert joined.status_code == 201
        assert joined.json()["user"]["role"] == "admin"
        assert joined.json()["user"]["email"] == "ann@example.org"
        client.cookies.clear()
        for used in (token, later, "0" * 64):
            answer = client.post("/api/v1/join", json=body | {"token": used, "email": "b@e.org"})
            assert answer.status_code == 403
            assert answer.json()["type"] == "urn:backapp:error:TokenRefused"
        assert server.first_link() == ""
        assert client.post("/api/v1/register", json=body | {"email": "c@e.org"}).status_code == 403


def test_nobody_is_asked_to_fill_in_what_would_be_refused(new_server, tmp_path):
    from litestar.testing import TestClient

    from backapp_web.app import create_app

    for is_open in (False, True):
        with (
            new_server(tmp_path / str(is_open), open_registration=is_open) as server,
            TestClient(create_app(server, goes_round=False)) as client,
        ):
            assert client.get("/register").status_code == 403
            body = {"email": "ann@example.org", "name": "Ann", "password": PASSWORD}
            server.join(server.first_link(), **body)
            assert client.get("/register").status_code == (200 if is_open else 403)


def test_invitation_gives_the_role_that_it_names_and_no_other(client, ours, admin):
    made = client.post("/api/v1/invitations", json={"role": "viewer"}, headers=admin)
    assert made.status_code == 201
    token = made.json()["token"]
    assert made.json()["link"].endswith(f"/join/{token}")
    body = {"token": token, "email": "guest@example.org", "name": "Guest", "password": PASSWORD}
    assert client.post("/api/v1/join", json=body | {"role": "admin"}).status_code == 400
    joined = client.post("/api/v1/join", json=body)
    assert joined.json()["user"]["role"] == "viewer"
    assert joined.json()["tenant"] == ours.store.tenant.name


@pytest.mark.parametrize(
    "password", ["short", "password123", "aaaaaaaaaaaa", "x" * 1001, "guessme@example.org"]
)
def test_password_that_would_be_guessed_is_refused(client, ours, admin, password):
    made = client.post("/api/v1/invitations", json={"role": "viewer"}, headers=admin)
    body = {"token": made.json()["token"], "email": "guessme@example.org", "name": "G"}
    assert client.post("/api/v1/join", json=body | {"password": password}).status_code == 400


@pytest.mark.parametrize("password", ["p" * 40 + "ä" * 40, "x y z 1 2 3", "🦊" * 8 + "a"])
def test_long_and_foreign_passwords_are_taken_whole(client, ours, ann, password):
    body = {"present": PASSWORD, "new": password}
    assert client.put("/api/v1/me/password", json=body, headers=ann.headers).status_code == 204
    assert sign_in(client, ann.member.user.email, password[:-1]).status_code == 401
    assert sign_in(client, ann.member.user.email, password).status_code == 200


def test_last_administrator_cannot_take_the_own_role_away(client, ours, admin):
    url = f"/api/v1/users/{ours.person(Role.ADMIN).member.user.id}"
    answer = client.patch(url, json={"role": "viewer"}, headers=admin)
    assert answer.status_code == 409
    assert client.get("/api/v1/users", headers=admin).status_code == 200
