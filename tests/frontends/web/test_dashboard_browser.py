"""A real Chromium before a real `backapp serve`, with a real agent behind it.

Screenshots are kept in the folder that BACKAPP_ARTEFACTS names, else among pytest's temporary ones.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
BACKAPP = Path(sys.executable).with_name("backapp")
PASSWORD = "correct horse battery staple"
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
SIZES = {"narrow": (360, 740), "wide": (1280, 900)}
PATIENCE_MS = 60_000  # how long something may take on a busy machine; nothing is measured


@dataclass
class Site:
    """A server with an administrator, a machine that is at work, and a repository of its."""

    url: str
    folder: Path
    browser: object
    pictures: Path
    sign_in: dict = field(default_factory=dict)

    @contextmanager
    def page(self, size: str = "wide", scheme: str = "light", *, is_anybody: bool = False, **more):
        """A page of somebody who is signed in."""
        width, height = SIZES[size]
        context = self.browser.new_context(
            base_url=self.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            storage_state=None if is_anybody else self.sign_in,
            **more,
        )
        context.set_default_timeout(PATIENCE_MS)
        try:
            page = context.new_page()
            page.said = []
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            yield page
        finally:
            context.close()


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    pictures = Path(os.environ.get("BACKAPP_ARTEFACTS") or folder / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    for name in ("kept", "documents", "restored"):
        (folder / name).mkdir()
    (folder / "documents" / "letters").mkdir()
    (folder / "documents" / "letters" / "to ann.txt").write_text("dear Ann")
    (folder / "documents" / "report <b>.txt").write_text("figures")
    with serving(folder) as (url, first_link):
        made = Site(url, folder, chromium, pictures)
        set_up(made, first_link)
        with working(made):
            make_repository(made)
            yield made


@contextmanager
def running(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [BACKAPP, *arguments], stdout=subprocess.PIPE, stderr=log, env=surroundings(folder)
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
            process.stdout.close()


def surroundings(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(folder), "BACKAPP_CONFIG": str(folder / "settings.toml")}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "settings.toml").write_text(
        f'state_folder = "{folder}/state"\ncache_folder = "{folder}/cache"\n'
    )
    with running(["serve", "--listen", "127.0.0.1:0", "--json"], folder) as process:
        said = json.loads(process.stdout.readline())
        yield said["url"], said["first_link"]


@contextmanager
def working(site: Site) -> Iterator[None]:
    """Enrol this machine with the command that the page shows, and let it work."""
    place = ["--agent-dir", str(site.folder / "agent")]
    enrol(site, "pluto", "--restore-folder", str(site.folder / "restored"), *place)
    with running(["agent", "run", "--every", "1", *place], site.folder):
        with site.page() as page:
            page.goto("/machines")
            page.locator("#machines").get_by_text("online").wait_for()  # without loading it again
        yield


def enrol(site: Site, name: str, *more: str) -> None:
    with site.page() as page:
        page.goto("/machines")
        page.get_by_label("What the machine is to be called").fill(name)
        page.get_by_role("button", name="Show the command").click()
        command = page.get_by_label("The command").inner_text()
        picture(site, page, "enrol")
    program, *arguments = shlex.split(command)
    assert program == "backapp"
    subprocess.run(
        [BACKAPP, *arguments, *more], check=True, capture_output=True, env=surroundings(site.folder)
    )


def set_up(site: Site, first_link: str) -> None:
    with site.page(is_anybody=True) as page:
        page.goto(first_link)
        page.get_by_label("Name").fill("Ann")
        page.get_by_label("E-mail address").fill("ann@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Make the account").click()
        page.get_by_role("heading", name="Four steps to the first backup").wait_for()
        picture(site, page, "first-steps")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("E-mail address").fill("ann@example.org")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Overview").wait_for()
        site.sign_in = page.context.storage_state()
        assert page.said == []


def make_repository(site: Site) -> None:
    with site.page() as page:
        page.goto("/new-repository")
        page.get_by_label("Name").fill("vault")
        page.get_by_label("Folder", exact=True).fill("kept")
        page.get_by_role("button", name="Make the repository").click()
        assert "absolute path" in page.locator("#folder-fault").inner_text()
        assert page.get_by_label("Name").input_value() == "vault"
        page.get_by_label("Folder", exact=True).fill(str(site.folder / "kept" / "vault"))
        page.get_by_role("button", name="Make the repository").click()
        page.get_by_text("backapp agent sheet vault").wait_for()
        assert "unprotected" in page.locator("h1").inner_text()


def make_job(site: Site, page, name: str) -> None:
    page.goto("/new-job")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Folders and files to back up").fill(str(site.folder / "documents"))
    page.get_by_role("button", name="Make the job").click()
    page.get_by_role("heading", name=name).wait_for()


def run_job(page) -> str:
    """Run the job whose page is shown, and stay until the page says that it is done."""
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    page.locator("h1 .state.good").wait_for()
    return page.url


def picture(site: Site, page, name: str) -> None:
    page.screenshot(path=site.pictures / f"{name}.png", full_page=True)


def violations(page) -> list[str]:
    page.evaluate(AXE)
    options = {
        "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
        "resultTypes": ["violations"],  # what is in order is not described
    }
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def is_too_wide(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def test_job_with_faults_says_all_of_them_and_is_made_when_they_are_mended(site):
    with site.page() as page:
        page.goto("/new-job")
        page.get_by_label("Name").fill("bad name")
        page.get_by_label("Folders and files to back up").fill("documents")
        page.get_by_label("Schedule (cron)").fill("99 2 * * *")
        page.get_by_label("Time zone").fill("Europe/Nowhere")
        page.get_by_role("button", name="Make the job").click()
        for name in ("name", "roots", "schedule", "time-zone"):
            page.locator(f"#{name}-fault").wait_for()
        picture(site, page, "job-faults")
        assert violations(page) == []
        page.get_by_label("Name").fill("nightly")
        page.get_by_label("Folders and files to back up").fill(str(site.folder / "documents"))
        page.get_by_label("Time zone").fill("Europe/Vienna")
        page.get_by_label("Schedule (cron)").fill("30 2 * * *")
        preview = page.locator("#preview")
        preview.get_by_text("At 02:30 every day").wait_for()  # while it is typed
        assert preview.get_by_role("listitem").count() == 5
        picture(site, page, "job-form")
        page.get_by_role("button", name="Make the job").click()
        page.get_by_role("heading", name="nightly").wait_for()
        # The browser notes the answer to the form with faults; nothing else.
        assert [line for line in page.said if "400 (Bad Request)" not in line] == []


def test_run_is_watched_without_loading_the_page_again(site):
    with site.page() as page:
        make_job(site, page, "watched")
        page.get_by_role("button", name="Run now").click()
        page.wait_for_url("**/runs/*")
        page.evaluate("window.isTheSamePage = true")
        page.locator("h1 .state.good").wait_for()
        page.locator(".log .good").first.wait_for()
        assert page.evaluate("window.isTheSamePage")
        assert page.get_by_role("button", name="Cancel").count() == 0
        assert [line for line in page.said if "Content Security Policy" in line] == []


def test_run_is_watched_without_javascript(site):
    with site.page(java_script_enabled=False) as page:
        make_job(site, page, "plainly")
        run_job(page)
        assert page.locator("meta[http-equiv=refresh]").count() == 0


def test_chosen_file_is_found_and_restored_by_the_machine(site):
    with site.page() as page:
        make_job(site, page, "restorable")
        run_job(page)
        page.goto("/snapshots?repository=vault")
        page.locator("td.lead a").first.click()
        page.get_by_role("button", name=str(site.folder / "documents"), exact=True).click()
        page.get_by_role("button", name="letters/").wait_for()
        picture(site, page, "folder")
        assert violations(page) == []
        page.get_by_label("Search by name").fill("*ann*")
        page.get_by_role("button", name="Search").click()
        page.get_by_label("Restore to ann.txt").check()
        target = site.folder / "restored" / "letters"
        page.get_by_label("Restore to this folder on pluto").fill("/etc")
        page.get_by_role("button", name="Restore", exact=True).click()
        assert "keeps /etc out" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Restore to ann.txt").is_checked()
        page.get_by_label("Restore to this folder on pluto").fill(str(target))
        picture(site, page, "search")
        page.get_by_role("button", name="Restore", exact=True).click()
        page.wait_for_url("**/runs/*")
        page.locator("h1 .state.good").wait_for()
        picture(site, page, "restored")
    [restored] = [one for one in target.rglob("*") if one.is_file()]
    assert restored.name == "to ann.txt"
    assert restored.read_text() == "dear Ann"


def test_page_whose_session_has_ended_keeps_what_was_typed_and_shows_no_error_in_its_parts(site):
    with site.page(is_anybody=True) as page:
        sign_in(page)
        page.goto("/new-job")
        page.get_by_label("Name").fill("typed")
        preview = page.locator("#preview")
        before = preview.inner_text()
        sign_out_elsewhere(page)
        with page.expect_response("**/preview-schedule") as refusal:
            page.get_by_label("Schedule (cron)").press_sequentially("5 4 * * *")
        assert refusal.value.status == 401
        page.wait_for_function("!document.querySelector('.htmx-request')")
        assert preview.inner_text() == before
        page.get_by_label("Folders and files to back up").fill("/home")
        page.get_by_role("button", name="Make the job").click()
        assert "nothing was changed" in page.get_by_role("alert").inner_text()
        picture(site, page, "session-ended")
        assert violations(page) == []
        sign_in(page)
        page.get_by_role("heading", name="New job").wait_for()


def test_page_that_waits_goes_to_the_entrance_when_its_session_has_ended(site):
    with site.page(is_anybody=True) as page:
        sign_in(page)
        page.goto("/machines")
        sign_out_elsewhere(page)
        page.evaluate("document.body.dispatchEvent(new CustomEvent('live-agents'))")
        page.get_by_role("heading", name="Sign in").wait_for()
        sign_in(page)
        page.get_by_role("heading", name="Machines").wait_for()


def sign_in(page) -> None:
    """Sign in, where the page is an entrance or leads to one."""
    if page.url == "about:blank":
        page.goto("/sign-in")
    page.get_by_label("E-mail address").fill("ann@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def sign_out_elsewhere(page) -> None:
    """Sign out in another tab."""
    other = page.context.new_page()
    other.goto("/overview")
    other.get_by_role("button", name="Sign out").click()
    other.get_by_role("heading", name="Sign in").wait_for()
    other.close()


def test_command_is_copied_and_moments_are_told_in_the_time_of_here(site):
    here = {"timezone_id": "America/New_York", "locale": "en-US"}
    may = ["clipboard-read", "clipboard-write"]
    with site.page(permissions=may, **here) as page:
        page.goto("/machines")
        page.get_by_label("What the machine is to be called").fill("jupiter")
        page.get_by_role("button", name="Show the command").click()
        page.get_by_role("button", name="Copy", exact=True).click()
        page.get_by_role("button", name="Copied").wait_for()
        shown = page.get_by_label("The command").inner_text()
        assert page.evaluate("navigator.clipboard.readText()") == shown
        assert violations(page) == []
        moment = page.locator("time[datetime]").first
        moment.hover()
        at = datetime.fromisoformat(moment.get_attribute("datetime"))
        local = at.astimezone(ZoneInfo("America/New_York"))
        told = moment.get_attribute("title")
        assert f"{local.month}/{local.day}/{local.year}" in told
        assert f":{local:%M}:" in told
        assert told.endswith("here")
        assert page.said == []


def test_form_works_by_keyboard_alone(site):
    with site.page() as page:
        page.goto("/machines")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.get_by_label("What the machine is to be called").focus()
        page.keyboard.type("saturn")
        page.keyboard.press("Enter")
        page.get_by_label("The command").wait_for()


def make_and_remove(site: Site, page, name: str) -> str:
    """Make a repository, take it off the lists again, and return where it is shown then."""
    page.goto("/new-repository")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Machine", exact=True).select_option(label="pluto")
    page.get_by_label("Folder", exact=True).fill(str(site.folder / "kept" / name))
    page.get_by_role("button", name="Make the repository").click()
    page.get_by_text("Remove this repository").click()
    remove = page.get_by_role("button", name=f"Remove {name}")
    page.get_by_label("Its name, to confirm").fill("vault")
    remove.click()
    page.get_by_role("alert").get_by_text(f"Type the name of the repository, {name}").wait_for()
    picture(site, page, "remove-repository")
    page.get_by_label("Its name, to confirm").fill(name)
    remove.click()
    page.get_by_role("heading", name="Repositories").wait_for()
    assert page.get_by_role("link", name=name, exact=True).count() == 0
    page.get_by_role("link", name="Repositories that were removed").click()
    page.locator("td.lead a").first.click()
    page.get_by_text("Nothing in the folder was deleted").wait_for()
    return page.url.removeprefix(site.url)


def test_second_click_while_the_server_thinks_sends_nothing(site):
    with site.page() as page:
        make_job(site, page, "twice")
        asked = []

        def hold(route):
            asked.append(route)

        page.route("**/jobs/twice/run", hold)
        box = page.get_by_role("button", name="Run now").bounding_box()
        place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        with page.expect_request("**/jobs/twice/run"):
            page.mouse.click(*place)
        page.mouse.click(*place)
        # Had the second click sent anything, nobody would wait for this answer any more.
        asked[0].continue_()
        page.wait_for_url("**/runs/*")
        page.locator("h1").get_by_text("completed").wait_for()
        page.goto("/runs?job=twice")
        assert page.locator("#runs tbody tr").count() == 1


@pytest.fixture(scope="module")
def addresses(site) -> dict[str, str]:
    """Every page by name, of things that have something to show."""
    with site.page() as page:
        make_job(site, page, "documents")
        run = run_job(page).removeprefix(site.url)
        page.goto("/snapshots")
        snapshot = page.locator("td.lead a").first.get_attribute("href")
        removed = make_and_remove(site, page, "attic")
    return {
        "overview": "/overview",
        "machines": "/machines",
        "repositories": "/repositories",
        "repository": "/repositories/vault",
        "new-repository": "/new-repository",
        "removed-repositories": "/removed-repositories",
        "removed-repository": removed,
        "jobs": "/jobs",
        "job": "/jobs/documents",
        "edit-job": "/jobs/documents/edit",
        "runs": "/runs",
        "run": run,
        "snapshots": "/snapshots",
        "snapshot": snapshot,
        "people": "/people",
        "profile": "/profile",
        "error": "/nothing",
        "interface": "/api/v1/docs",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_fits_and_axe_finds_nothing(site, addresses, size, scheme):
    wrong = {}
    with site.page(size, scheme) as page:
        for name, address in addresses.items():
            page.goto(address)
            picture(site, page, f"{name}-{size}-{scheme}")
            found = violations(page)
            if is_too_wide(page):
                found.append("is wider than the window")
            if found:
                wrong[name] = found
    with site.page(size, scheme, is_anybody=True) as page:
        page.goto("/sign-in")
        picture(site, page, f"sign-in-{size}-{scheme}")
        if found := violations(page) + ["too wide"] * is_too_wide(page):
            wrong["sign-in"] = found
    assert wrong == {}


def test_longest_names_fit_a_narrow_screen(site):
    name, machine, path = "z" * 64, "z" * 63, "/" + "f" * 250
    enrol(site, machine, "--agent-dir", str(site.folder / "other-agent"))
    wrong = []
    with site.page("narrow") as page:
        page.goto("/new-repository")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Machine", exact=True).select_option(label=machine)
        page.get_by_label("Folder", exact=True).fill(path)
        page.get_by_role("button", name="Make the repository").click()
        page.get_by_role("heading", name=name).wait_for()
        page.goto(f"/new-job?repository={name}")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Folders and files to back up").fill(path)
        page.get_by_role("button", name="Make the job").click()
        page.get_by_role("button", name="Run now").click()
        page.wait_for_url("**/runs/*")
        for address in (
            *(page.url, "/overview", "/machines", "/repositories", f"/repositories/{name}"),
            *("/jobs", f"/jobs/{name}", f"/jobs/{name}/edit", "/jobs/" + "x" * 200),
            *("/runs", f"/runs?job={name}", "/runs?machine=" + "x" * 200),
            *("/snapshots", f"/snapshots?repository={name}"),
        ):
            page.goto(address)
            if is_too_wide(page):
                wrong.append(address)
                picture(site, page, f"too-wide-{len(wrong)}")
        page.goto(f"/runs?job={name}")
        page.locator("td.lead a").first.click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("cancelled").first.wait_for()
    assert wrong == []


def test_first_page_is_small(site):
    with site.page() as page:
        sizes = []
        page.on("response", lambda answer: sizes.append(len(answer.body())))
        page.goto("/overview")
        page.wait_for_load_state("networkidle")
        assert len(sizes) >= 4
        assert sum(sizes) < 100_000


def test_nothing_comes_from_elsewhere(site, addresses):
    asked = []
    with site.page() as page:
        page.on("request", lambda request: asked.append(request.url))
        for address in addresses.values():
            page.goto(address)
    foreign = [one for one in asked if not re.match(rf"(http|ws){site.url[4:]}/", one)]
    assert asked
    assert foreign == []
