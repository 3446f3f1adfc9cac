"""The proxy's HTTP surface: which path goes where (contract 5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenomics import strictjson
from tokenomics.config.settings import Receiver
from tokenomics.dialects import anthropic, openai
from tokenomics.dialects.ask import Endpoint
from tokenomics.dialects.endpoints import ENDPOINTS, open_endpoint
from tokenomics.errors import Refusal
from tokenomics.events import secret_holds, signature_holds
from tokenomics.gateway.explain import Explanation
from tokenomics.gateway.identity import Grant
from tokenomics.gateway.road import JSON, Gateway, new_id, refuse
from tokenomics.net.connection import Reply, Request
from tokenomics.net.message import CREDENTIALS
from tokenomics.policy.endpoints import bare_path, permits
from tokenomics.policy.route import allowed_models
from tokenomics.replica import Sync
from tokenomics.tokens import Secret

EXPLAIN = b"x-tokenomics-explain"
_OPEN_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class ProxyApp:
    """The `serve` application. `admin_password` proves that the operator asks; `ca_file` is the own
    CA, None if there is none; `draining` tells whether the process is about to end."""

    gateway: Gateway
    sync: Sync | None
    receiver: Receiver
    admin_password: Secret
    ca_file: Path | None
    draining: Callable[[], bool]

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        path = request.head.path
        service = _SERVICES.get(path)
        if service is not None and request.head.method in ("GET", "HEAD"):
            await service(self, reply)
            return
        endpoint = ENDPOINTS.get(_bare(path)) if request.head.method == "POST" else None
        explain = request.head.fields.get(EXPLAIN, b"0") != b"0"
        if endpoint is not None and not explain:
            await self.gateway.handle(endpoint, request, reply)
            return
        try:
            if explain and not _is_models(path):
                await self._explain(endpoint, request, reply)
            elif self.receiver.enabled and path == self.receiver.path:
                await self._receive(request, reply)
            else:
                await self._other(request, reply)
        except Refusal as refusal:
            await refuse(reply, refusal, new_id(), _shape(request))

    async def _other(self, request: Request, reply: Reply) -> None:
        """What has no endpoint: the model list, or a refusal that says why."""
        bare, method = _bare(request.head.path), request.head.method
        if bare in ENDPOINTS:
            raise Refusal("method_not_allowed", f"{request.head.path} takes POST, not {method}")
        if _is_models(request.head.path):
            if method not in ("GET", "HEAD"):
                raise Refusal("method_not_allowed", f"{request.head.path} takes GET, not {method}")
            await self._models(request, bare, reply)
            return
        await self.gateway.handle(self._opened(request), request, reply)

    def _opened(self, request: Request) -> Endpoint:
        """A path that no dialect knows, if the token's policy opens it. Raises Refusal."""
        path, ours = request.head.path, request.head.path.startswith("/v1/")
        nothing = Refusal("not_found", f"there is nothing at {path}")
        if not ours and not any(name in request.head.fields for name in CREDENTIALS):
            raise nothing
        if request.head.method not in _OPEN_METHODS:
            raise Refusal("method_not_allowed", f"{path} does not take {request.head.method}")
        if permits(self._grant(request).policy.endpoints, path):
            return open_endpoint(bare_path(path, whole=False))
        if not ours:
            raise nothing
        raise Refusal(
            "endpoint_not_allowed",
            f"{path} is closed for this token. Open are {', '.join('/v1' + p for p in ENDPOINTS)}"
            f' and /v1/models; its policy opens others by `"endpoints": ["/v1{_bare(path)}"]`',
        )

    async def _explain(self, endpoint: Endpoint | None, request: Request, reply: Reply) -> None:
        """Say what would become of a request, and send nothing. For the operator alone: by the
        admin password, or from this machine where none is set. Raises Refusal."""
        password = self.admin_password.reveal()
        proof = request.head.get(b"x-tokenomics-admin")
        if not (secret_holds(password, proof) if password else is_loopback(request.peer)):
            raise Refusal(
                "admin_required",
                "x-tokenomics-explain is for the proxy's operator: send admin.auth.password in"
                " x-tokenomics-admin, or ask from the proxy's own machine if none is set",
            )
        told = Explanation()
        try:
            endpoint = endpoint or self._opened(request)
        except Refusal as refusal:
            told.refuse("endpoint", refusal)
        else:
            await self.gateway.explain(endpoint, request, told)
        headers = [JSON, (b"x-request-id", new_id().encode())]
        await reply.send(200, headers, strictjson.dumps(told.document()))

    def _grant(self, request: Request) -> Grant:
        """Who asks. Raises Refusal."""
        tell = self.gateway.reporter.expired
        return self.gateway.book.identify(request.head, tell, request.peer)

    async def _models(self, request: Request, bare: str, reply: Reply) -> None:
        """What this token may use, answered here in the shape of who asks."""
        shape = anthropic if b"anthropic-version" in request.head.fields else openai
        grant = self._grant(request)
        models = allowed_models(grant.policy, self.gateway.site)
        if bare == "/models":
            await reply.send(200, [JSON], shape.model_list(models))
            return
        name = bare.removeprefix("/models/")
        for model, owner in models:
            if model == name:
                await reply.send(200, [JSON], shape.model_object(model, owner))
                return
        raise Refusal("not_found", f"the model {name!r} does not exist for this token")

    async def _receive(self, request: Request, reply: Reply) -> None:
        """The webhook receiver, with the original's answers. If both a secret and a signing key are
        configured, both must hold."""
        head = request.head
        secret, key = self.receiver.secret.reveal(), self.receiver.signing_key.reveal()
        status, answer = 200, {"status": "accepted"}
        if head.method != "POST":
            status, answer = 405, {"error": "method not allowed"}
        elif not secret_holds(secret, head.get(b"x-webhook-secret")):
            status, answer = 401, {"error": "unauthorized"}
        elif not signature_holds(
            key, head.get(b"x-webhook-signature"), body := await request.body()
        ):
            status, answer = 403, {"error": "invalid signature"}
        else:
            status, answer = self._take(body)
        await reply.send(status, [JSON], strictjson.dumps(answer))

    def _take(self, body: bytes) -> tuple[int, dict[str, str]]:
        try:
            type_ = strictjson.loads(body)["type"]
        except (strictjson.BadJSON, KeyError, TypeError):
            return 400, {"error": "invalid json"}
        if not str(type_).startswith("token."):
            return 200, {"status": "ignored", "reason": "not a token event"}
        if self.sync is not None:
            self.sync.nudge()
        return 200, {"status": "accepted"}

    async def _health(self, reply: Reply) -> None:
        await reply.send(200, [JSON], b'{"status":"ok"}')

    async def _ready(self, reply: Reply) -> None:
        """Ready to be sent traffic: not draining, and synced once if there is a centre."""
        problems = []
        if self.draining():
            problems.append("draining")
        if self.sync is not None and not self.sync.has_tokens():
            problems.append("not synced with the central server yet")
        body: dict[str, object] = {
            "status": "not ready" if problems else "ready",
            "problems": problems,
        }
        if self.sync is not None:
            body["synced_at"] = self.sync.status.synced_at
            body["sync_problem"] = self.sync.status.problem
        await reply.send(503 if problems else 200, [JSON], strictjson.dumps(body))

    async def _ping(self, reply: Reply) -> None:
        await reply.send(200, [_TEXT], b".")

    async def _ca(self, reply: Reply) -> None:
        if self.ca_file is None:
            await reply.send(404, [_TEXT], b"this proxy has no CA of its own\n")
            return
        pem = (b"content-type", b"application/x-pem-file")
        await reply.send(200, [pem], self.ca_file.read_bytes())


_SERVICES = {
    "/": ProxyApp._ping,
    "/health": ProxyApp._health,
    "/ready": ProxyApp._ready,
    "/ping": ProxyApp._ping,
    "/ca.crt": ProxyApp._ca,
}


def is_loopback(peer: str) -> bool:
    """Whether a socket's peer is on this machine. What headers say of it is not looked at."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_models(path: str) -> bool:
    return _bare(path) == "/models" or _bare(path).startswith("/models/")


def _shape(request: Request) -> str:
    """Whose errors a client expects at a path that no endpoint has."""
    claude = b"anthropic-version" in request.head.fields
    return "anthropic" if claude or _bare(request.head.path).startswith("/messages") else "openai"


@lru_cache(maxsize=256)
def _bare(path: str) -> str:
    return bare_path(path)
