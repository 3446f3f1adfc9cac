"""The example of a team, set up as its README says: a centre, proxies, roles, members."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.http import Answer, ask
from tests.support.processes import EXAMPLE, Person, Process, chat, example, free_port

ROLES = ("lead-engineer", "developer", "contractor", "ci-pipeline")
REMOTE_KEY = "the-remote-key"
SECRETS = {
    "change-me-to-a-long-random-string": "the-hash-key",
    "change-me-to-another-long-random-string": "the-encryption-key",
    "change-me-to-a-remote-api-key": REMOTE_KEY,
    "change-me-to-a-webhook-secret": "the-webhook-secret",
    "change-me-to-a-signing-key": "the-signing-key",
    "=sk-...": "=sk-openai",
}


@dataclass
class Node:
    """A proxy that is to run: where, and on which ports."""

    person: Person
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)

    async def ask(self, token: str, document: Any = None, **more: Any) -> Answer:
        """Ask for a chat completion over plain HTTP."""
        headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
        body = json.dumps(document or chat(**more)).encode()
        return await ask(self.http, "POST", "/v1/chat/completions", headers, body)

    async def models(self, token: str) -> Answer:
        """Ask for the models: it tells whether a token holds, and counts nowhere."""
        return await ask(self.http, "GET", "/v1/models", [("authorization", f"Bearer {token}")])

    @asynccontextmanager
    async def running(self, path: str = "/ready", **env: str) -> AsyncIterator[Process]:
        """`serve`, synced."""
        async with self.person.running("serve", port=self.http, path=path, **env) as process:
            yield process


@dataclass
class Team:
    """Folders and ports. `upstream` is the URL of the team's provider."""

    folder: Path
    upstream: str
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.env = example(".env.example", SECRETS)
        self.centre = Person.at(self.folder / "centre", TOKENOMICS_SERVER_HOST="127.0.0.1")
        self.policies = self.folder / "policies"
        self.policies.mkdir()
        for role in ROLES:
            text = (EXAMPLE / "policies" / f"{role}.json").read_text()
            text = text.replace("/var/log/tokenomics", str(self.folder / "memory"))
            (self.policies / f"{role}.json").write_text(text)
        (self.centre.folder / ".env").write_text(self.env)
        self.providers = example("providers.yaml", {"https://api.openai.com": self.upstream})
        self.nodes: list[Node] = []

    def copy_central_config(self) -> None:
        """`cp central-config.yaml config.yaml`, with the proxies that are pushed to."""
        port = self.nodes[0].https if self.nodes else 8443
        text = example("central-config.yaml", {"localhost:8443": f"localhost:{port}"})
        (self.centre.folder / "config.yaml").write_text(text)
        (self.centre.folder / "providers.yaml").write_text(self.providers)

    def add_proxy(self, name: str = "proxy", *, same_folder: bool = False) -> Node:
        """A proxy's folder with `cp proxy-config.yaml config.yaml`; the ports are its own."""
        folder = self.centre.folder if same_folder else self.folder / name
        person = Person.at(folder, TOKENOMICS_SERVER_HOST="127.0.0.1")
        node = Node(person)
        changes = {
            "http_port: 8080": f"http_port: {node.http}",
            "https_port: 8443": f"https_port: {node.https}",
            "localhost:9090": f"127.0.0.1:{self.port}",
            "upstream_url: https://api.openai.com": f"upstream_url: {self.upstream}",
        }
        if not same_folder:
            (folder / ".env").write_text(self.env)
        (folder / "providers.yaml").write_text(self.providers)
        (folder / "config.yaml").write_text(example("proxy-config.yaml", changes))
        self.nodes.append(node)
        return node

    async def create(self, role: str = "developer", *more: str) -> tuple[str, str]:
        """`token create` for a role: the token and its hash."""
        policy = f"@{self.policies / role}.json"
        text = await self.centre.do("token", "create", "--policy", policy, "--json", *more)
        row = json.loads(text)
        return row["token"], row["hash"]

    @asynccontextmanager
    async def centre_running(self, **env: str) -> AsyncIterator[Process]:
        """`remote`, ready."""
        words = ("remote", "--addr", f"127.0.0.1:{self.port}", "--api-key", REMOTE_KEY)
        async with self.centre.running(*words, port=self.port, **env) as process:
            yield process
