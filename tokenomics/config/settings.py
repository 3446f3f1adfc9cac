"""Every setting, written once: the frozen dataclasses below are the table.

A field's type says how a value is read, its default is the default, its `help` is the docs; names
of environment variables follow from the path: `server.http_port` is `TOKENOMICS_SERVER_HTTP_PORT`.
A setting with `inert` is accepted because users' files have it, and says what does not happen yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NewType, cast

from tokenomics.tokens import Secret

Seconds = NewType("Seconds", float)  # written as 30, "30s", "5m"
Bytes = NewType("Bytes", int)  # written as 65536, "64kb", "32mb"


def setting(default: Any, help: str, *, inert: str = "") -> Any:
    """A field of the table with its default, its one-line meaning, and what is inert about it."""
    return field(default=default, metadata={"help": help, "inert": inert})


def group(cls: type) -> Any:
    """A field that holds a nested group of settings."""
    return field(default_factory=cls)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of server.tls.certificates"""

    cert_file: str = setting("", "A certificate chain, PEM (required).")
    key_file: str = setting("", "Its private key, PEM (required).")


@dataclass(frozen=True, slots=True)
class Tls:
    """server.tls"""

    enabled: bool = setting(True, "Serve HTTPS on server.https_port too.")
    auto_gen: bool = setting(True, "Make an own CA and certificate on first start.")
    cert_dir: Path = setting(Path(), "Where the own CA and certificate are kept: {dir}/certs.")
    cert_file: str = setting("", "A certificate chain of yours, PEM; turns auto_gen off.")
    key_file: str = setting("", "The private key of cert_file, PEM.")
    hosts: tuple[str, ...] = setting((), "More names and addresses for the own certificate.")
    certificates: tuple[Certificate, ...] = setting(
        (),
        "More certificates, each `cert_file` and `key_file`, for clients that ask by its names.",
    )


@dataclass(frozen=True, slots=True)
class Server:
    """server: the listeners of the proxy and the limits of every connection."""

    host: str = setting("", "Address to listen on; empty means all interfaces.")
    http_port: int = setting(8080, "Port for plain HTTP; 0 turns it off.")
    https_port: int = setting(8443, "Port for HTTPS; 0 turns it off.")
    upstream_url: str = setting(
        "https://api.openai.com", "Provider for policies that name neither URL nor provider."
    )
    # Limits. A request beyond one is refused, so each is well above what real clients send.
    max_head: Bytes = setting(Bytes(64 << 10), "Longest request head; SDKs send 1-4 KiB.")
    max_body: Bytes = setting(Bytes(32 << 20), "Longest request body; images are sent inline.")
    head_timeout: Seconds = setting(Seconds(30), "Time for a client to send a whole head.")
    keep_alive: Seconds = setting(Seconds(75), "Idle time of a connection between requests.")
    stall: Seconds = setting(Seconds(60), "Longest pause of a client in a body or while reading.")
    max_connections: int = setting(10_000, "Open client connections; more are answered 503.")
    workers: int = setting(1, "Processes that serve; about one for each core that is free.")
    drain: Seconds = setting(Seconds(30), "Time that running requests get after SIGTERM.")
    tls: Tls = group(Tls)


@dataclass(frozen=True, slots=True)
class Upstream:
    """upstream: connections out. A policy's `timeout` bounds them too."""

    connect_timeout: Seconds = setting(
        Seconds(10), "For a free connection, the name look-up and TCP; a provider takes below 1 s."
    )
    handshake_timeout: Seconds = setting(
        Seconds(10), "For an HTTP proxy's CONNECT, and for TLS; each takes two round trips."
    )
    write_timeout: Seconds = setting(
        Seconds(60), "For a provider to take another 64 KiB of a request; less is a stall."
    )
    idle: Seconds = setting(
        Seconds(45),
        "A connection unused that long is closed; front ends close theirs from 60 s on.",
    )
    max_connections: int = setting(
        1024, "Open connections to each provider, so that one cannot use up all files; more wait."
    )


@dataclass(frozen=True, slots=True)
class AdminAuth:
    """admin.auth"""

    username: str = setting("", "User of the admin page.", inert="there is no admin page yet")
    password: Secret = setting(
        Secret(), "Proves to the proxy that its operator asks: see `x-tokenomics-explain`."
    )


@dataclass(frozen=True, slots=True)
class Admin:
    """admin"""

    enabled: bool = setting(False, "The admin page.", inert="there is no admin page yet")
    auth: AdminAuth = group(AdminAuth)


@dataclass(frozen=True, slots=True)
class Storage:
    """storage"""

    db_path: Path = setting(Path(), "The token database: {dir}/tokenomics.db.")


@dataclass(frozen=True, slots=True)
class Redis:
    """session.redis: read only when session.backend is redis. What a URL in `addr` says stands in
    the other fields once the config is built."""

    addr: str = setting(
        "localhost:6379",
        "Redis or Valkey: host:port, unix:/path, redis://user:password@host:port/db, rediss://...",
    )
    username: str = setting("", "Its ACL user; empty means the default user.")
    password: Secret = setting(Secret(), "The user's password.")
    db: int = setting(0, "Number of the database.")
    tls: bool = setting(False, "Speak TLS, as rediss:// does.")
    ca_file: str = setting("", "CA certificates to trust for it beside the system's, PEM.")
    timeout: Seconds = setting(
        Seconds(1), "Longest wait for an answer; one takes below 1 ms in the same network."
    )
    on_error: str = setting(
        "local",
        "While it is away: local (each proxy counts alone), closed (refuse) or open (all pass).",
    )


@dataclass(frozen=True, slots=True)
class Session:
    """session: where budgets and rates are counted"""

    backend: str = setting(
        "memory",
        "memory: this process counts, journalled beside the database; redis: all proxies together.",
    )
    redis: Redis = group(Redis)


@dataclass(frozen=True, slots=True)
class Security:
    """security"""

    hash_key_env: str = setting(
        "TOKENOMICS_HASH_KEY", "The variable that holds the key tokens are hashed with."
    )
    encryption_key_env: str = setting(
        "TOKENOMICS_ENCRYPTION_KEY", "The variable that holds the key policies are encrypted with."
    )


@dataclass(frozen=True, slots=True)
class LogFile:
    """logging.file"""

    enabled: bool = setting(False, "Log to a file too.", inert="logs go to stdout and stderr only")
    level: str = setting("info", "Level of the file.", inert="logs go to stdout and stderr only")
    path: str = setting("", "Path of the file.", inert="logs go to stdout and stderr only")


@dataclass(frozen=True, slots=True)
class Logging:
    """logging"""

    level: str = setting("info", "debug, info, warn or error.")
    format: str = setting("json", "json or text.")
    request_body: bool = setting(False, "Log request bodies.", inert="bodies are never logged")
    response_body: bool = setting(False, "Log answer bodies.", inert="bodies are never logged")
    hide_token_hash: bool = setting(False, "Write **** for token hashes in the request log.")
    disable_request: bool = setting(False, "No request log.")
    proxy_log_file: str = setting("", "Debug log.", inert="logs go to stdout and stderr only")
    file: LogFile = group(LogFile)


@dataclass(frozen=True, slots=True)
class Webhook:
    """One target of events.webhooks"""

    url: str = setting("", "Where events are POSTed (required).")
    secret: Secret = setting(Secret(), "Sent as X-Webhook-Secret.")
    signing_key: Secret = setting(Secret(), "Signs the body: X-Webhook-Signature.")
    events: tuple[str, ...] = setting((), "Which events: exact, token.*, *; empty means all.")
    timeout: Seconds = setting(Seconds(10), "Longest wait for an answer.")
    insecure: bool = setting(False, "Do not verify the target's TLS certificate.")
    ca_file: str = setting("", "CA certificates to trust for it beside the system's, PEM.")


@dataclass(frozen=True, slots=True)
class Events:
    """events"""

    webhooks: tuple[Webhook, ...] = setting((), "Targets of events.")


@dataclass(frozen=True, slots=True)
class Receiver:
    """remote.webhook: the receiver of the central server's pushes"""

    enabled: bool = setting(False, "Take pushes at path.")
    path: str = setting("/v1/webhook", "Path of the receiver.")
    secret: Secret = setting(Secret(), "What X-Webhook-Secret must be.")
    signing_key: Secret = setting(Secret(), "What X-Webhook-Signature must be made with.")
    auto_register: bool = setting(
        False,
        "Register with the central server at start.",
        inert="list the proxy under events.webhooks of the central server",
    )
    callback_url: str = setting("", "URL for auto_register.", inert="see auto_register")
    insecure: bool = setting(False, "For auto_register.", inert="see auto_register")


@dataclass(frozen=True, slots=True)
class Remote:
    """remote: the central config server, seen from a proxy"""

    url: str = setting("", "Its URL; empty means there is none.")
    api_key: Secret = setting(Secret(), "Its API key.")
    sync: Seconds = setting(Seconds(300), "Poll every so often, as the net under the pushes.")
    insecure: bool = setting(False, "Do not verify its TLS certificate.")
    ca_file: str = setting("", "CA certificates to trust for it beside the system's, PEM.")
    webhook: Receiver = group(Receiver)


@dataclass(frozen=True, slots=True)
class Ledger:
    """ledger"""

    enabled: bool = setting(False, "Usage ledger.", inert="there is no ledger yet")
    memory: bool = setting(False, "Ledger of texts.", inert="use a policy's memory")
    dir: str = setting("", "Where it is kept.", inert="there is no ledger yet")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, validated. Nothing in it changes after it is built."""

    dir: Path = setting(Path(), "State directory: ~/.tokenomics, or $STATE_DIRECTORY.")
    server: Server = group(Server)
    upstream: Upstream = group(Upstream)
    admin: Admin = group(Admin)
    storage: Storage = group(Storage)
    session: Session = group(Session)
    security: Security = group(Security)
    logging: Logging = group(Logging)
    events: Events = group(Events)
    remote: Remote = group(Remote)
    ledger: Ledger = group(Ledger)
    cli_maps: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "Tool name to provider name.", "inert": ""}
    )
    default_provider: str = setting("", "Provider for policies that name none.")
    providers: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "As in providers.yaml.", "inert": ""}
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as docs and help show it."""

    key: str
    type: str
    default: Any
    help: str
    inert: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "TOKENOMICS_" + self.key.upper().replace(".", "_")


def rows(cls: type = Config, prefix: str = "") -> list[Row]:
    """The table, flat and in order."""
    out: list[Row] = []
    for f in fields(cast(Any, cls)):
        key = f"{prefix}{f.name}"
        nested = f.default_factory if isinstance(f.default_factory, type) else None
        if nested is not None and is_dataclass(nested):
            out += rows(nested, key + ".")
        else:
            default = {} if f.name in ("cli_maps", "providers") else f.default
            out.append(Row(key, str(f.type), default, f.metadata["help"], f.metadata["inert"]))
    return out
