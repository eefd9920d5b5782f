"""Pages in a real Chromium: live updates, no refusal by our own policy, narrow screens."""

from pathlib import Path

import pytest

from backapp_core.model.users import Role

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]
PASSWORD = "correct horse battery staple"


@pytest.fixture(params=["light", "dark"])
def page(chromium, request, tmp_path: Path):
    """A page at 360 pixels whose complaints are collected."""
    context = chromium.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=request.param
    )
    context.set_default_timeout(20_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on(
        "console", lambda said: complaints.append(said.text) if said.type == "error" else None
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def sign_in(page, url: str, email: str) -> None:
    page.goto(f"{url}/machines")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/machines")


def is_too_wide(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def test_machine_that_joins_appears_on_an_open_page(page, url, ours, request):
    name = "live-" + request.node.callspec.params["page"]
    with page.expect_websocket() as opened:
        sign_in(page, url, ours.person(Role.ADMIN).member.user.email)
    assert "/live?topics=" in opened.value.url
    page.get_by_label("What the machine is to be called").fill(name)
    page.get_by_role("button", name="Show the command").click()
    assert (
        f"backapp agent enrol {url} --token backapp_enrol_"
        in page.get_by_label("The command").inner_text()
    )
    assert not is_too_wide(page)
    page.goto(f"{url}/machines")
    row = page.locator("#machines tr", has_text=name)
    assert row.count() == 0
    ours.machine(name)
    row.get_by_text("online").wait_for(timeout=30_000)


@pytest.mark.parametrize("address", ["/machines", "/profile", "/api/v1/docs"])
def test_page_fits_a_narrow_screen(page, url, ours, address, tmp_path):
    sign_in(page, url, ours.person(Role.ADMIN).member.user.email)
    assert page.goto(url + address).status == 200
    page.screenshot(path=tmp_path / "page.png")  # for whoever wants to see it
    assert not is_too_wide(page)
