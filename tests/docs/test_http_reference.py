"""The reference of the HTTP interface says what the server's own description says."""

from pathlib import Path

from backapp_core.assembly import assemble_server, load_plugins
from backapp_core.model.users import Action
from backapp_core.settings import Settings
from backapp_web.app import create_app
from backapp_web.callers import Sort
from backapp_web.description import described
from backapp_web.policies import POLICIES, Policy

PAGE = Path(__file__).parents[2] / "docs/reference/http.md"
SECTIONS = {
    "Machines at work": lambda path: path.startswith("/api/v1/agent/"),
    "People and programs": lambda path: path.startswith("/api/v1/"),
    "Of the server itself": lambda path: True,
}


def who(policy: Policy) -> str:
    """Return who may call, in words."""
    if policy.is_open:
        return "anybody"
    if policy.sorts == {Sort.AGENT}:
        return "a machine"
    words = policy.action.value if isinstance(policy.action, Action) else "whoever is signed in"
    if Sort.TOKEN not in policy.sorts:
        words += ", in a browser"
    return words + (", or from the server's machine" if policy.is_local else "")


def first_paragraph(text: str) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(text.partition("\n\n")[0].split())


def written(folder: Path) -> str:
    """Return the tables of all routes."""
    settings = Settings.parse({"state_folder": str(folder), "cache_folder": str(folder)})
    with assemble_server(settings, plugins=load_plugins()) as server:
        document = described(create_app(server))
    left = sorted(document["paths"].items())
    parts: list[str] = []
    for title, is_in in SECTIONS.items():
        rows = [
            f"| `{method.upper()} {path.removeprefix('/api/v1')}` "
            f"| {who(POLICIES[f'{method.upper()} {path}'])} "
            f"| {first_paragraph(operation.get('description') or operation['summary'])} |\n"
            for path, item in left
            if is_in(path)
            for method, operation in item.items()
        ]
        left = [(path, item) for path, item in left if not is_in(path)]
        parts += [f"\n## {title}\n\n| | who | what |\n|---|---|---|\n", *rows]
    return "".join(parts) + "\n"


def test_routes_in_the_reference_are_those_of_the_server(tmp_path, pytestconfig):
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition("<!-- http: begin -->\n")
    shown, end, after = rest.partition("<!-- http: end -->")
    if pytestconfig.getoption("--rewrite-docs"):
        PAGE.write_text(before + begin + written(tmp_path) + end + after, encoding="utf-8")
        return
    assert written(tmp_path) == shown, "run: pytest tests/docs --rewrite-docs"
