"""The example and the offline docs say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenomics.cli import COMMANDS
from tokenomics.cli.docs import page, topics
from tokenomics.config.providers import build_providers
from tokenomics.config.settings import rows
from tokenomics.config.sources import load, read_document, read_dotenv
from tokenomics.errors import CASES
from tokenomics.events import TYPES
from tokenomics.policy.model import parse_policy

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "distributed-team"
ROLES = ("lead-engineer", "developer", "contractor", "ci-pipeline")


@pytest.mark.parametrize("role", ROLES)
def test_the_demo_plays_the_roles_of_the_example(role: str) -> None:
    shown = (EXAMPLE / "policies" / f"{role}.json").read_text()
    assert (ROOT / "tokenomics" / "data" / "roles" / f"{role}.json").read_text() == shown
    assert parse_policy(shown).metadata["role"] == role


@pytest.mark.parametrize("name", ["central-config.yaml", "proxy-config.yaml"])
def test_the_example_configs_load_with_the_example_environment(name: str, tmp_path: Path) -> None:
    env = {**read_dotenv(EXAMPLE / ".env.example"), "HOME": str(tmp_path)}
    built, _, _ = load(str(EXAMPLE / name), {}, env)
    assert built.warnings == ()


def test_the_two_sides_of_the_example_agree(tmp_path: Path) -> None:
    """The original's placeholders differed between its files."""
    env = {**read_dotenv(EXAMPLE / ".env.example"), "HOME": str(tmp_path)}
    central = load(str(EXAMPLE / "central-config.yaml"), {}, env)[0].config
    proxy = load(str(EXAMPLE / "proxy-config.yaml"), {}, env)[0].config
    (push,) = central.events.webhooks
    assert push.url == f"https://localhost:{proxy.server.https_port}{proxy.remote.webhook.path}"
    assert (push.secret, push.signing_key) == (
        proxy.remote.webhook.secret,
        proxy.remote.webhook.signing_key,
    )
    assert proxy.remote.api_key.reveal() == env["TOKENOMICS_REMOTE_KEY"]


def test_the_example_providers_are_valid() -> None:
    document, _ = read_document(EXAMPLE / "providers.yaml")
    assert set(document["providers"]) <= set(build_providers(document["providers"]))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_event_is_documented(name: str) -> None:
    assert f"`{name}`" in page("events")


@pytest.mark.parametrize("code", sorted(CASES))
def test_every_error_is_documented_with_its_status(code: str) -> None:
    (line,) = [line for line in page("errors").splitlines() if f"`{code}`" in line.split(" | ")[0]]
    assert str(CASES[code][0]) in line.split(" | ")[1]


def test_every_setting_is_documented() -> None:
    text = page("configuration")
    assert [row.key for row in rows() if f"| `{row.key}` |" not in text] == []


def test_docs_name_only_topics_that_exist() -> None:
    assert {"quickstart", "policies", "configuration", "errors"} <= set(topics())


def test_the_readme_shows_both_commands_and_a_request_before_line_30() -> None:
    head = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    assert "build/tokenomics demo" in head
    assert "build/test" in head
    assert "curl" in head


def test_every_command_has_a_module_with_examples() -> None:
    for name in COMMANDS:
        text = (ROOT / "tokenomics" / "cli" / f"{name}.py").read_text()
        assert "\nexample" in text, name
