"""Pages as a browser without JavaScript uses them."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from litestar.testing import TestClient

import backapp_web.dashboard
from backapp_core.model.users import Role
from backapp_web.app import create_app

PASSWORD = "correct horse battery staple"
HTML = {"accept": "text/html"}


class Page(HTMLParser):
    """What of a page a test asks about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


@pytest.fixture
def browser(client, ours):
    """Somebody who signed in at the page."""
    form = {"email": ours.person(Role.ADMIN).member.user.email, "password": PASSWORD, "next": "/"}
    answer = client.post("/sign-in", data=form, headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return client


def csrf(page: str) -> str:
    return next(one["value"] for one in Page(page).of("input") if one.get("name") == "csrf")


def test_whoever_is_not_signed_in_is_led_to_the_entrance_and_back(client, ours):
    answer = client.get("/machines", headers=HTML, follow_redirects=False)
    assert answer.status_code == 303
    entrance = client.get(answer.headers["location"], headers=HTML)
    [onward] = [one for one in Page(entrance.text).of("input") if one.get("name") == "next"]
    assert onward["value"] == "/machines"


def test_whoever_chose_runs_comes_back_to_the_same_ones(client, ours):
    chosen = "/runs?job=documents&state=failed"
    answer = client.get(chosen, headers=HTML, follow_redirects=False)
    entrance = client.get(answer.headers["location"], headers=HTML)
    [onward] = [one for one in Page(entrance.text).of("input") if one.get("name") == "next"]
    assert onward["value"] == chosen


@pytest.mark.parametrize(
    ("before", "onward"),
    [
        ("http://testserver.local/new-job?repository=vault", "/new-job?repository=vault"),
        ("http://testserver.local.evil.example.org/new-job", "/"),
        ("http://testserver.local//evil.example.org", "/"),
        ("", "/"),
    ],
)
def test_form_whose_session_has_ended_leads_to_the_entrance_and_says_so(
    client, ours, before, onward
):
    headers = HTML | ({"referer": before} if before else {})
    answer = client.post("/jobs", data={"name": "typed <b>"}, headers=headers)
    assert answer.status_code == 401
    assert "nothing was changed" in answer.text
    assert "typed" not in answer.text
    form = {one.get("name"): one.get("value") for one in Page(answer.text).of("input")}
    assert form["next"] == onward
    assert set(form) == {"next", "email", "password"}


def test_part_of_a_page_is_never_replaced_by_the_entrance(client, ours):
    part = HTML | {"hx-request": "true", "referer": "http://testserver.local/runs?state=running"}
    for method in ("GET", "POST"):
        path = "/runs" if method == "GET" else "/preview-schedule"
        answer = client.request(method, path, headers=part, follow_redirects=False)
        assert (answer.status_code, answer.text) == (401, "")
        # What was typed on the page stays there.
        assert ("hx-redirect" in answer.headers) == (method == "GET")
        if method == "GET":
            entrance = client.get(answer.headers["hx-redirect"], headers=HTML).text
            assert 'value="/runs?state=running"' in entrance


@pytest.mark.parametrize(
    "address", ["//evil.example.org", "https://evil.example.org", "/\\evil", "javascript:alert(1)"]
)
def test_nobody_is_led_to_another_site(client, ours, address):
    form = {"email": ours.person(Role.VIEWER).member.user.email, "password": PASSWORD}
    answer = client.post("/sign-in", data=form | {"next": address}, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_wrong_password_is_said_on_the_page_which_keeps_the_address(client):
    form = {"email": '"><script>alert(1)</script>@x.org', "password": "wrong password"}
    answer = client.post("/sign-in", data=form | {"next": "/"})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>alert" not in answer.text
    assert "wrong password" not in answer.text


def test_signing_out_ends_the_session(browser):
    page = browser.get("/profile")
    answer = browser.post("/sign-out", data={"csrf": csrf(page.text)}, follow_redirects=False)
    assert answer.headers["location"] == "/sign-in"
    assert browser.get("/profile", headers=HTML, follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "address", ["/sign-out", "/machines", "/profile", "/profile/password", "/profile/tokens"]
)
def test_form_without_the_token_of_its_session_changes_nothing(browser, address):
    for form in ({}, {"csrf": ""}, {"csrf": '"><script>alert(1)</script>'}):
        answer = browser.post(address, data=form, headers=HTML)
        assert answer.status_code == 403
        assert "<script>alert" not in answer.text
    assert browser.get("/profile").status_code == 200


def test_first_administrator_is_made_by_the_link(new_server, tmp_path):
    with (
        new_server(tmp_path) as server,
        TestClient(create_app(server, goes_round=False)) as client,
    ):
        assert "Nobody has an account yet" in client.get("/sign-in").text
        link = f"/join/{server.first_link()}"
        assert "The first administrator" in client.get(link).text
        form = {"name": "Ann", "email": "ann@example.org", "password": "short"}
        refused = client.post(link, data=form)
        assert refused.status_code == 400
        assert "at least 8 characters" in refused.text
        answer = client.post(link, data=form | {"password": PASSWORD}, follow_redirects=True)
        assert answer.status_code == 200
        assert "No machine is enrolled yet" in answer.text
        client.cookies.clear()
        assert client.get(link, headers=HTML).status_code == 403


def test_machine_is_enrolled_by_a_command_that_is_shown_once(browser):
    page = browser.get("/machines")
    form = {"csrf": csrf(page.text), "agent_name": "saturn"}
    shown = browser.post("/machines", data=form)
    [token] = re.findall(r"backapp_enrol_[0-9a-f]{64}", shown.text)
    assert f"backapp agent enrol http://testserver.local --token {token}" in shown.text
    again = browser.get("/machines").text
    assert token not in again
    assert "saturn" in again
    assert browser.post("/machines", data=form | {"agent_name": "no name!"}).status_code == 400


def test_machines_are_listed_with_their_state_and_key_is_taken_back(browser, ours):
    agent_id, _ = ours.machine("neptune")
    page = browser.get("/machines").text
    row = page.partition("neptune")[2].partition("</tr>")[0]
    assert "online" in row
    assert "pluto, Linux" in row
    browser.post(f"/machines/{agent_id}/revoke", data={"csrf": csrf(page)})
    row = browser.get("/machines").text.partition("neptune")[2].partition("</tr>")[0]
    assert "key taken back" in row


def test_viewer_sees_machines_and_no_way_to_change_them(client, ours):
    page = client.get("/machines", headers=ours.person(Role.VIEWER).headers | HTML)
    assert "pluto" in page.text
    assert [form["action"] for form in Page(page.text).of("form")] == ["/sign-out"]


def test_what_a_machine_says_of_itself_is_only_text(browser, ours):
    _, key = ours.machine("uranus")
    hello = {
        "report": {
            "instance": "ab" * 16,
            "version": "<b>1</b>",
            "hostname": "<script>alert(1)</script>",
            "platform": "\u202etxt\x1b[31m",
        },
        "alive_seconds": 60,
    }
    answer = browser.post("/api/v1/agent/hello", json=hello, headers=ours.bearer(key))
    assert answer.status_code == 200
    page = browser.get("/machines").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>1</b>" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_api_token_is_shown_once_and_taken_back(browser):
    page = browser.get("/profile").text
    shown = browser.post("/profile/tokens", data={"csrf": csrf(page), "name": "robot"}).text
    [token] = re.findall(r"backapp_token_[0-9a-f]{64}", shown)
    assert token not in browser.get("/profile").text
    headers = {"authorization": f"Bearer {token}"}
    assert browser.get("/api/v1/me", headers=headers).status_code == 200
    [action] = re.findall(r'action="(/profile/tokens/[0-9a-f]{32}/remove)"', shown)
    browser.post(action, data={"csrf": csrf(page)})
    assert browser.get("/api/v1/me", headers=headers).status_code == 401


def test_name_and_password_are_changed(client, ours):
    somebody = ours.somebody("forgetful", Role.VIEWER)
    form = {"email": somebody.member.user.email, "password": PASSWORD, "next": "/"}
    browser = client
    browser.post("/sign-in", data=form)
    page = browser.get("/profile").text
    browser.post("/profile", data={"csrf": csrf(page), "name": "Ann <b>"})
    assert "Ann &lt;b&gt;" in browser.get("/profile").text
    form = {"csrf": csrf(page), "present": "wrong one", "new": "another long phrase"}
    assert browser.post("/profile/password", data=form).status_code == 400
    for present, new in ((PASSWORD, form["new"]), (form["new"], PASSWORD)):
        changed = browser.post("/profile/password", data=form | {"present": present, "new": new})
        assert "The password is changed" in changed.text


@pytest.mark.parametrize(
    "address", ["/sign-in", "/machines", "/profile", "/nothing", "/api/v1/docs"]
)
def test_page_uses_nothing_of_another_host_and_no_code_of_its_own(browser, address):
    page = Page(browser.get(address, headers=HTML).text)
    files = [
        one[name]
        for one in page.of("script", "link", "img")
        for name in ("src", "href")
        if name in one
    ]
    assert files
    for file in files:
        assert file.startswith("/assets/")
        assert browser.get(file).status_code == 200
    assert not page.of("style")
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag != "script" or "src" in attributes


@pytest.mark.parametrize("address", ["/sign-in", "/machines", "/profile"])
def test_every_field_has_a_label_and_the_page_says_its_language(browser, address):
    if address == "/sign-in":
        browser.cookies.clear()
    page = Page(browser.get(address, headers=HTML).text)
    labelled = {one["for"] for one in page.of("label")}
    for one in page.of("input"):
        if one.get("type") != "hidden" and "hidden" not in one:
            assert one["id"] in labelled
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1


def test_library_is_the_file_that_was_looked_at():
    # htmx.org 4.0.1 as npm has it; a newer one is taken up by hand.
    assets = Path(backapp_web.dashboard.__file__).parent / "assets"
    digest = hashlib.sha256((assets / "htmx-4.0.1.min.js").read_bytes()).hexdigest()
    assert digest == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/pages.py", "/etc/passwd", ""])
def test_files_are_served_from_their_folder_only(client, path):
    assert client.get(f"/assets/{path}").status_code in {400, 403, 404}


def test_files_are_packed_and_pages_with_tokens_are_not(browser):
    """Whoever sees sizes only would otherwise learn of a token, by what he makes us repeat."""
    accepting = {"accept-encoding": "gzip"}
    packed = browser.get("/assets/htmx-4.0.1.min.js", headers=accepting)
    plain = browser.get("/assets/htmx-4.0.1.min.js", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    page = browser.get("/machines?nonsense=1", headers=accepting)
    assert 'name="csrf"' in page.text
    assert "content-encoding" not in page.headers


def test_what_is_not_there_is_said_to_people_on_a_page(browser):
    answer = browser.get("/nothing", headers=HTML)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert browser.get("/nothing").headers["content-type"] == "application/problem+json"
