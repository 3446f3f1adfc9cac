"""Which paths a policy opens: what is compared is what a server would serve."""

from __future__ import annotations

import json

import pytest

from tokenomics.policy.endpoints import permits
from tokenomics.policy.model import parse_policy


def opened(*endpoints: str) -> tuple[str, ...]:
    policy = {"base_key_env": "KEY", "endpoints": endpoints}
    return parse_policy(json.dumps(policy)).endpoints


@pytest.mark.parametrize(
    ("endpoint", "path", "open_"),
    [
        ("/v1/files", "/v1/files", True),
        ("/v1/files", "/files", True),
        ("/files", "/v1/files", True),
        ("/files/", "/v1/v1/files/", True),
        ("/v1/files", "/v1/files/f1", False),
        ("/v1/files", "/v1/filesystem", False),
        ("/v1/files", "/v1/FILES", False),
        ("/v1/files*", "/v1/files", True),
        ("/v1/files*", "/v1/files/f1/content", True),
        ("/v1/files*", "/v1/filesystem", True),
        ("/v1/files/*", "/v1/files", False),
        ("/v1/files/*", "/files/f1", True),
        ("/v1/*", "/v1/anything/else", True),
        ("/v1beta/models*", "/v1beta/models/x", True),
        ("/v1beta/models*", "/v1/models", False),
    ],
)
def test_paths_and_prefixes(endpoint: str, path: str, open_: bool) -> None:
    assert permits(opened(endpoint), path) == open_


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../organization/admin_api_keys",
        "/v1/files/..",
        "/v1/files/..;/x",
        "/v1/files/./x",
        "/v1/files/%2e%2e/organization",
        "/v1/files/%2E./organization",
        "/v1/files/..%2forganization",
        "/v1/files/%252e%252e/organization",
        "/v1/files\\..\\organization",
        "/v1/files%5c..%5corganization",
        "/v1/files//organization",
        "/v1/files/%00",
        "/v1/files%3fx",
        "v1/files",
        "",
    ],
)
def test_a_path_that_can_be_read_as_another_is_never_open(path: str) -> None:
    assert not permits(opened("/v1/files*"), path)
    assert not permits(opened("/*"), path)


def test_dots_in_a_name_are_no_steps() -> None:
    assert permits(opened("/v1/files*"), "/v1/files/report..v1.2.pdf")


def test_without_endpoints_nothing_is_open() -> None:
    assert not permits((), "/v1/files")
    assert not permits(opened(), "/")
