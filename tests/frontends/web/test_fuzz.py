"""The interface answers as its description says, whatever is sent, whoever sends it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backapp_core.model.users import Role

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,ignored_auth"
CHECKS += ",response_schema_conformance,response_headers_conformance"
TESTED = 66
"""Operations; a new one is taken up here by hand, so that none is left out unseen."""
EXAMPLES = "6"


@pytest.mark.parametrize("who", ["nobody", "viewer", "admin", "program", "machine"])
def test_answers_are_those_of_the_description(url, ours, who, tmp_path: Path):
    headers = {
        "nobody": {},
        "viewer": ours.person(Role.VIEWER).headers,
        "admin": ours.signed_in(ours.person(Role.ADMIN).member).headers,
        "program": ours.bearer(ours.api_token),
        "machine": ours.bearer(ours.agent_key),
    }[who]
    program = Path(sys.executable).parent / "schemathesis"
    if not program.exists():
        pytest.skip("schemathesis is not installed; it comes with the extra 'browser'")
    words = [word for name, value in headers.items() for word in ("-H", f"{name.title()}: {value}")]
    done = subprocess.run(
        [
            *(program, "run"),
            *("--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "fuzzing"),
            *("--mode", "all", "--seed", "1", "--no-color", "--generation-database", "none"),
            # These end what the requests after them need.
            *("--exclude-path", "/api/v1/session", "--exclude-path", "/api/v1/me/password"),
            *("--exclude-path", "/api/v1/users/{user_id}"),
            *words,
            f"{url}/api/v1/openapi.json",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"generated, (\d+) passed", done.stdout)
    assert int(passed[1]) > 200
    assert f"{TESTED} selected" in done.stdout
