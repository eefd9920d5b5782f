"""A person, or that person's program, who talks to a server over HTTP."""

import json
import urllib.error
import urllib.request

from story_parts import wait_for

EMAIL, PASSWORD = "owner@example.org", "a long sentence"
_END = {"completed", "failed", "cancelled"}


class Person:
    """Signed in at a server, or at whatever stands before several."""

    def __init__(self, url):
        self.url = url
        self.headers = {}

    @property
    def program(self):
        """What looks things up for this person: a program like any other."""
        return self

    def ask(self, method, path, body=None, status=None):
        """Return the answer's JSON; ``status`` is the one that is expected if none of 200."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", **self.headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                cookie = answer.headers.get("set-cookie", "").partition(";")[0]
                if cookie:
                    self.headers["cookie"] = cookie
                assert status in {None, answer.status}
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            if error.code != status:
                raise AssertionError(f"{method} {path}: {error.code} {text}") from error
        return json.loads(text) if text else None

    def join(self, link):
        """Make an account with a link."""
        token = link.rpartition("/")[2]
        body = {"token": token, "email": EMAIL, "name": "Owner", "password": PASSWORD}
        self._signed_in(self.ask("POST", "/join", body))
        return self

    def _signed_in(self, myself):
        # From here on as a program: what a browser does is for whoever has one.
        self.headers["x-csrf-token"] = myself["csrf"]
        self.show(self.ask("POST", "/me/tokens", {"name": "story"})["token"])

    def show(self, token):
        """From here on, be known by an API token."""
        self.headers = {"authorization": f"Bearer {token}"}

    def allow(self, name):
        """Return the command with which a machine of that name may join."""
        return self.ask("POST", "/enrolments", {"agent_name": name})["command"]

    def sees_machine(self, name):
        wait_for(lambda: self.ask("GET", f"/agents/{name}")["is_online"], f"{name} to be online")

    def add_repository(self, name, agent, **place):
        wish = {"name": name, "agent": agent, **place}
        return self.ask("POST", "/repositories", wish)["repository"]

    def add_job(self, name, repository, *roots, **others):
        job = {"repository": repository, "roots": [str(root) for root in roots], **others}
        return self.ask("POST", "/jobs", {"name": name, "job": job})

    def run_now(self, job):
        """Return the id of a run that was asked for."""
        return self.ask("POST", f"/jobs/{job}/run")["id"]

    def cancel(self, run):
        return self.ask("POST", f"/runs/{run}/cancel")

    def run(self, run):
        return self.ask("GET", f"/runs/{run}")["run"]

    def runs(self, job):
        return self.ask("GET", f"/runs?job={job}")["runs"]

    def end_of(self, run):
        """Return a run once it has ended."""

        def ended():
            found = self.run(run)
            return found if found["state"] in _END else None

        return wait_for(ended, f"run {run} to end")

    def completed(self, run):
        """Return a run that has to end well."""
        found = self.end_of(run)
        assert (found["state"], found["error"]) == ("completed", ""), (found, self.events(run))
        assert found["counts"]["problems"] == 0
        return found

    def events(self, run):
        return self.ask("GET", f"/runs/{run}/events")["events"]

    def answer(self, repository, kind, **details):
        """Return the nodes with which a machine answers a question."""
        wish = {"repository": repository, "kind": kind, "details": details}
        asked = self.ask("POST", "/questions", wish)["id"]

        def answered():
            return self.ask("GET", f"/questions/{asked}")["answer"]

        found = wait_for(answered, f"an answer to {wish}")
        assert found["error"] == ""
        return found["nodes"]

    def snapshots(self, repository):
        return self.ask("GET", f"/repositories/{repository}/snapshots")["snapshots"]

    def receipts(self, repository):
        """Return the receipts, the first one first; they have to be a chain."""
        address, found, more = f"/repositories/{repository}/receipts", [], ""
        while more is not None:
            part = self.ask("GET", address + more)
            found += part["receipts"]
            more = part["next_before"] and f"?before={part['next_before']}"
        chain = self.ask("POST", f"/repositories/{repository}/check-receipts", {})
        assert (chain["first_break"], chain["receipts"]) == (None, len(found))
        return found[::-1]
