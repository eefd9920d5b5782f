"""The example files are what they are said to be: read by what reads them."""

import tomllib
from pathlib import Path

import yaml

from backapp_core.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def test_example_settings_are_settings():
    data = tomllib.loads((EXAMPLES / "backapp.toml").read_text(encoding="utf-8"))
    settings = Settings.parse(data)
    assert settings.store.startswith("postgresql://")
    assert settings.server.trusted_proxies


def test_containers_of_the_example_use_files_that_are_there():
    compose = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    servers = [one for name, one in compose["services"].items() if name.startswith("server-")]
    assert len(servers) == 2
    for server in servers:
        root = (EXAMPLES / server["build"]["context"]).resolve()
        assert (root / "pyproject.toml").is_file()
        assert (root / server["build"]["dockerfile"]).is_file()
        assert server["command"][0] == "serve"
        for volume in server["volumes"]:
            assert (EXAMPLES / volume.partition(":")[0]).is_file()


def test_secrets_that_lie_beside_the_example_stay_out_of_its_image_and_of_git():
    ignored = EXAMPLES / "Dockerfile.dockerignore"
    assert "**/.env" in ignored.read_text(encoding="utf-8").splitlines()
    ours = (EXAMPLES.parents[1] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ours


def test_proxies_that_are_trusted_are_those_of_the_containers_own_network():
    compose = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    (network,) = compose["networks"]["default"]["ipam"]["config"]
    data = tomllib.loads((EXAMPLES / "backapp.toml").read_text(encoding="utf-8"))
    assert data["server"]["trusted_proxies"] == [network["subnet"]]
