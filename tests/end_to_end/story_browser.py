"""A person at a browser: sees and presses what everybody sees and presses, by its words."""

import re
from contextlib import contextmanager

from playwright.sync_api import TimeoutError as NotSeen
from playwright.sync_api import expect
from story_parts import PATIENCE_SECONDS
from story_person import EMAIL, PASSWORD, Person

expect.set_options(timeout=PATIENCE_SECONDS * 1000)
_SOON_MS = 1500
"""How long a page may take to show what the server knows; longer than it ever takes."""
_RATE = re.compile(r"\d B/s$|iB/s$")
_LOST_SERVER = re.compile(r"net::ERR_|WebSocket connection to .* failed|Failed to fetch")


class Visitor:
    """Uses the pages, with the same words as `Person`, whom it has look up what no page says."""

    def __init__(self, browser, url, pictures, *, width, scheme):
        self._context = browser.new_context(
            base_url=url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        self._context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self._page = self._context.new_page()
        self._pictures, self._look = pictures, f"{width}-{scheme}"
        self.complaints = []
        """What the browser objected to, but for servers that were away."""
        self._page.on("console", self._note)
        self._page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.program = Person(url)

    def _note(self, said):
        if said.type == "error" and not _LOST_SERVER.search(said.text):
            self.complaints.append(said.text)

    def close(self):
        self._context.close()

    def picture(self, name):
        """Keep how the page looks, for whoever wants to see it."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._page.screenshot(
            path=self._pictures / f"story-{name}-{self._look}.png", full_page=True
        )
        wide = "document.documentElement.scrollWidth > window.innerWidth"
        assert not self._page.evaluate(wide), f"{name} is wider than the window"

    # --- setting up

    def join(self, link):
        """Make an account with the link that the server printed, and a token for a program."""
        self._page.goto(link)
        self._fill({"Name": "Owner", "E-mail address": EMAIL, "Password": PASSWORD})
        self._press("Make the account")
        self._sees("Overview")
        self.picture("first-steps")
        self._go("Profile")
        self._fill({"What it is for": "looking things up"})
        self._press("Make a token")
        self.program.show(self._page.get_by_label("The new token").inner_text())
        return self

    def allow(self, name):
        """Return the command that is shown for a machine of that name."""
        self._go("Machines")
        self._fill({"What the machine is to be called": name})
        self._press("Show the command")
        command = self._page.get_by_label("The command").inner_text()
        self.picture("enrol")
        return command

    def sees_machine(self, name):
        """Stay on the page that showed the command until the machine is online there."""
        row = self._page.get_by_role("row").filter(has_text=name)
        row.get_by_text("online").wait_for()

    def add_repository(self, name, agent, *, bucket="", folder=""):
        self._go("Repositories")
        self._page.get_by_role("link", name=re.compile("New repository|Make")).first.click()
        self._fill({"Name": name})
        self._page.get_by_label("Machine", exact=True).select_option(label=agent)
        if bucket:
            self._page.get_by_role("radio", name=f"In the server's bucket {bucket}").check()
        else:
            self._page.get_by_label("Folder", exact=True).fill(str(folder))
        self.picture("repository-form")
        self._press("Make the repository")
        self._sees(name)

    def add_job(self, name, repository, *roots, schedule="", time_zone=""):
        """Make a job from the page of its repository; return when it is due next, as shown."""
        self._go("Repositories")
        self._link(repository)
        self._link("New job")
        self._fill({"Name": name, "Folders and files to back up": "\n".join(map(str, roots))})
        if schedule:
            self._fill({"Time zone": time_zone, "Schedule (cron)": schedule})
            self._page.get_by_text("The next times:").wait_for()  # while it is typed
            self.picture("job-form")
        self._press("Make the job")
        self._sees(name)

    # --- runs

    def run_now(self, job):
        """Return the id of the run whose page that leads to."""
        self._go("Jobs")
        self._link(job)
        return self._begun("Run now")

    def _begun(self, button):
        self._press(button)
        self._page.wait_for_url("**/runs/*")
        self._page.evaluate("window.isLoadedOnce = true")
        return self._page.url.rpartition("/")[2]

    def sees_progress(self, beyond=()):
        """Return what the page comes to show by itself soon: how much is done, and how fast.

        None if that is nothing, or no more than ``beyond``.
        """
        region = self._page.get_by_role("region", name="Progress")
        known = beyond[0] if beyond else "Nothing was reported yet"
        try:
            region.get_by_text(known).wait_for(state="detached", timeout=_SOON_MS)
            region.get_by_text(_RATE).wait_for(timeout=_SOON_MS)
        except NotSeen:
            return None
        assert self._page.evaluate("window.isLoadedOnce"), "the page was loaded again"
        text = region.inner_text()
        return tuple(re.search(rf"{word}\s+(.+)", text)[1] for word in ("Done", "Rate"))

    def cancel(self, run):
        self._show(run)
        self._press("Cancel")
        self._page.get_by_role("heading", level=1).get_by_text("being cancelled").wait_for()
        self._page.evaluate("window.isLoadedOnce = true")  # a form leads to the page anew

    def sees_that_it_waits_for(self, machine):
        """Wait until the page of a run, which nobody loads again, says that its machine is away."""
        self._page.get_by_text(f"{machine} is offline; the run goes on when it is back").wait_for()
        assert self._page.evaluate("window.isLoadedOnce"), "the page was loaded again"

    def sees_state(self, run, words):
        """Wait until the page of a run, which nobody loads again, shows that state."""
        self._show(run)
        self._page.get_by_role("heading", level=1).get_by_text(words).wait_for()
        assert self._page.evaluate("window.isLoadedOnce"), "the page was loaded again"

    def end_of(self, run, state):
        """Return a run once its page says that it ended so."""
        self.sees_state(run, state)
        self._page.get_by_text("Ended", exact=True).wait_for()
        found = self.program.run(run)
        assert found["state"] == state
        return found

    def completed(self, run):
        """Return a run that has to end well."""
        self.end_of(run, "completed")
        return self.program.completed(run)

    def _show(self, run):
        """Go to the page of a run, and say whether that was there already."""
        if self._page.url.endswith(f"/runs/{run}"):
            return True
        self._go("Runs")
        self._link(re.compile(run[:8]))
        self._page.wait_for_url(f"**/runs/{run}")
        self._page.evaluate("window.isLoadedOnce = true")
        return False

    def why(self, run):
        """Return who asked for a run, as its page says it."""
        self._show(run)
        text = self._page.get_by_role("region", name="Backup").inner_text()
        return re.search(r"Asked for\s+(.+?),", text)[1]

    # --- snapshots

    def names_in(self, run, folder):
        """Open a folder of what a run saved, from the top; return what the page lists there."""
        self._open(run, folder)
        self.picture("folder")
        return {name.split()[0] for name in self._listed()}

    def search(self, run, pattern):
        """Return the paths that are listed for a pattern."""
        self._open(run)
        self._fill({"Search by name": pattern})
        with self._answered():
            self._press("Search")
        self.picture("search")
        return self._listed()

    def restore(self, run, target, folder=None, *names):
        """Ask for some of a folder, or for everything; return the id of the run."""
        self._open(run, folder)
        for name in names:
            self._page.get_by_role("checkbox", name=f"Restore {name}", exact=True).check()
        everything = self._page.get_by_role("checkbox", name="Everything in the snapshot")
        assert everything.is_checked() == (folder is None)
        self._page.get_by_label("Restore to this folder on").fill(str(target))
        return self._begun("Restore")

    def _open(self, run, folder=None):
        self._show(run)
        self._link(self.program.run(run)["snapshot_id"][:8])
        if folder is None:
            return
        opening = self._page.get_by_role("button", name=re.compile(r"^\W\w"))
        [root] = [one for one in opening.all_inner_texts() if folder.is_relative_to(one)]
        for step in (root, *(f"{part}/" for part in folder.relative_to(root).parts)):
            with self._answered():
                self._press(step)

    @contextmanager
    def _answered(self):
        """Within this a question is asked; wait until the page shows the machine's answer."""
        with self._page.expect_navigation():
            yield
        self._page.get_by_role("table").wait_for()

    def _listed(self):
        rows = self._page.get_by_role("table").get_by_role("row").all()[1:]
        return [row.get_by_role("cell").nth(1).inner_text() for row in rows]

    # --- what everybody does everywhere

    def _go(self, page):
        self._page.get_by_role("navigation", name="Pages").get_by_role("link", name=page).click()
        self._sees(page)

    def _sees(self, heading):
        self._page.get_by_role("heading", level=1, name=heading).wait_for()

    def _link(self, name):
        exact = isinstance(name, str)
        self._page.get_by_role("link", name=name, exact=exact).first.click()

    def _press(self, name):
        self._page.get_by_role("button", name=name, exact=True).click()

    def _fill(self, fields):
        for label, text in fields.items():
            self._page.get_by_label(label, exact=True).fill(text)
