"""Print what a client needs to use a proxy: its token, its URL, and the proxy's own CA to trust.

With HTTPS it fetches the proxy's CA from /ca.crt and keeps it, with the system's CAs, in the state
directory. --insecure trusts a CA on first use and prints its fingerprint; --ca-sha256 trusts only
that one; without either, only a CA that is trusted already will do.

examples:
  eval $(tokenomics init --token tkn_... --host proxy.internal --port 8443 --insecure)
  tokenomics init --token tkn_... --provider anthropic --output dotenv
  tokenomics init --token tkn_... --no-tls --port 8080 --output json
  tokenomics init --token tkn_... --client claude-code
  tokenomics init --token tkn_... --client codex > config.toml
"""

from __future__ import annotations

import argparse
import shlex
import ssl
from pathlib import Path

import trio

from tokenomics.cli.clients import CLIENTS, Access, Client, file_text, variables_of
from tokenomics.cli.context import Context
from tokenomics.cli.outgoing import make_proxies
from tokenomics.config.providers import Provider, build_providers
from tokenomics.errors import Failed, Invalid, NotFound, Refused, UsageError
from tokenomics.files import write_private
from tokenomics.net.client import Broken, Unreachable
from tokenomics.net.client import Client as HttpClient
from tokenomics.net.origin import Origin, parse_origin
from tokenomics.net.tls import fingerprint

FETCH_SECONDS = 15.0
MAX_CA = 1 << 20  # bytes
CA_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
# Where systems keep their CAs, beside what OpenSSL was built with.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--token", required=True, help="the wrapper token")
    parser.add_argument("--host", default="localhost", help="the proxy's name (localhost)")
    parser.add_argument("--port", type=int, help="its port (8443, with --no-tls 8080)")
    tls = parser.add_mutually_exclusive_group()
    tls.add_argument("--tls", action="store_true", default=True, help="HTTPS (the default)")
    tls.add_argument("--no-tls", action="store_false", dest="tls", help="plain HTTP")
    parser.add_argument("--proxy-url", help="the proxy's URL, instead of --host and --port")
    parser.add_argument("--insecure", action="store_true", help="trust its CA on first use")
    parser.add_argument("--ca-sha256", metavar="FINGERPRINT", help="trust the CA with this one")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--provider", default="generic", help="generic, a provider, or all")
    whom.add_argument("--client", metavar="NAME", help=f"for one client: {', '.join(CLIENTS)}")
    parser.add_argument(
        "--output",
        choices=("shell", "dotenv", "json", "file"),
        help="shell (the default), or the config file of a client (for codex the default)",
    )
    parser.add_argument("--dotenv", default=".env", metavar="FILE", help="for --output dotenv")


def run(context: Context, args: argparse.Namespace) -> int:
    """Print or write the variables. Raises ToolError."""
    port = args.port or (8443 if args.tls else 8080)
    if not 0 < port <= 65535:
        raise UsageError(f"--port {port}: a port is from 1 to 65535")
    url = args.proxy_url or f"{'https' if args.tls else 'http'}://{args.host}:{port}"
    try:
        origin = parse_origin(url)
    except ValueError as e:
        raise UsageError(f"{'--proxy-url' if args.proxy_url else '--host'}: {e}") from None
    client = _client(args)
    variables: dict[str, str] = {}
    for provider in [] if client else _providers(context, args.provider):
        variables.update(client_variables(provider, args.token, url.rstrip("/")))
    cas: dict[str, str] = {}
    if origin.scheme == "https":
        bundle = trio.run(_trust, context, origin, args.insecure, args.ca_sha256)
        if bundle is not None:
            cas = dict.fromkeys(CA_VARIABLES, str(bundle))
    if client is None:
        _write(context, args, {**variables, **cas})
        return 0
    access = Access(args.token, url.rstrip("/"), cas)
    if args.output == "file":
        _write_file(context, client, access)
    else:
        _write(context, args, variables_of(client, access))
    return 0


def _client(args: argparse.Namespace) -> Client | None:
    """The row of --client; it decides what --output is if that is not given. Raises ToolError."""
    if args.client is None:
        if args.output == "file":
            raise UsageError("--output file needs --client")
        return None
    if args.client not in CLIENTS:
        known = ", ".join(CLIENTS)
        raise NotFound(f"--client {args.client}: there is no such client; known: {known}")
    client = CLIENTS[args.client]
    if args.output is None and client.needs_file:
        args.output = "file"
    if args.output == "file" and client.file is None:
        raise UsageError(f"{args.client} reads variables; leave --output file out")
    return client


def _write_file(context: Context, client: Client, access: Access) -> None:
    """Print the text of a client's file; where it belongs, and what it needs beside it, on stderr,
    so that stdout is the file."""
    assert client.file is not None
    place, text = client.file.place, file_text(client, access)
    variables = variables_of(client, access)
    if context.json:
        file = {"place": place, "text": text}
        context.print_json({"file": file, "variables": variables}, indent=2)
        return
    context.note(f"belongs in {place}")
    if client.needs_file:
        for name, value in variables.items():
            context.note(f"needs beside it: export {name}={shlex.quote(value)};")
    print(text, end="")


def _providers(context: Context, name: str) -> list[Provider]:
    known = build_providers(context.config.providers)
    name = context.config.cli_maps.get(name, name)
    if name == "generic":
        return [known["openai"]]
    if name == "all":
        return [p for p in known.values() if p.api_key_env]
    if name not in known:
        names = ", ".join(["generic", *known, "all"])
        raise NotFound(f"--provider {name}: there is no such provider; known: {names}")
    return [known[name]]


def client_variables(provider: Provider, token: str, url: str) -> dict[str, str]:
    """What clients of a provider read. Anthropic's take the base URL without a version."""
    if provider.name == "anthropic":
        return {
            "ANTHROPIC_API_KEY": token,
            "ANTHROPIC_AUTH_TOKEN": token,
            "ANTHROPIC_BASE_URL": url,
        }
    out = {provider.api_key_env: token} if provider.api_key_env else {}
    if provider.base_url_env:
        out[provider.base_url_env] = url + "/v1"
    return out


async def _trust(
    context: Context, origin: Origin, insecure: bool, wanted: str | None
) -> Path | None:
    """The CA bundle that makes the proxy trusted; None if the system trusts it already.

    Raises Failed, Refused (the CA changed) or Invalid (another fingerprint than asked for).
    """
    folder = context.config.dir.absolute() / "cas"
    stem = f"{origin.host}_{origin.port}"
    ca_file, bundle = folder / f"{stem}.crt", folder / f"{stem}.bundle.pem"
    client = HttpClient(proxies=make_proxies(context.env))
    try:
        problem = await _reach(client, origin)
        if problem is None and not ca_file.exists():
            return None
        if not (insecure or wanted or ca_file.exists()):
            raise Failed(
                f"the certificate of {origin.authority} is not trusted ({problem}); use"
                " --ca-sha256 with its CA's fingerprint, or --insecure to trust it on first use"
            )
        pem = await _fetch_ca(client, origin)
        _accept(context, ca_file, pem, wanted, first_use_allowed=insecure)
        system = _system_cas()
        write_private(bundle, system.rstrip() + b"\n" + pem)
        trusted = Origin(origin.scheme, origin.host, origin.port, ca_file=str(bundle))
        problem = await _reach(client, trusted)
        if problem is not None:
            raise Failed(
                f"{origin.authority} is not trusted even with its own CA: {problem}; if it is the"
                " name, add it to server.tls.hosts of the proxy"
            )
        return bundle
    except OSError as e:
        raise Failed(f"the CA cannot be kept in {folder}: {e.strerror}") from None
    finally:
        client.close()


def _accept(
    context: Context, ca_file: Path, pem: bytes, wanted: str | None, *, first_use_allowed: bool
) -> None:
    """Keep a CA that may be trusted."""
    print_ = fingerprint(pem)
    if wanted and _plain(wanted) != _plain(print_):
        raise Invalid(f"the proxy's CA has fingerprint {print_}, not the one of --ca-sha256")
    if ca_file.exists():
        kept = fingerprint(ca_file.read_bytes())
        if kept == print_:
            return
        if not wanted:
            raise Refused(
                f"the proxy's CA has changed: it was {kept}, it is {print_}. If that was meant,"
                f" delete {ca_file} and run this again; if not, somebody is in between"
            )
    elif not (first_use_allowed or wanted):
        raise Failed(f"the proxy's CA {print_} is not trusted")
    write_private(ca_file, pem)
    context.note(f"trusting CA with SHA-256 fingerprint {print_}")


def _plain(text: str) -> str:
    return text.replace(":", "").lower()


async def _reach(client: HttpClient, origin: Origin) -> str | None:
    """None if the proxy answers over a connection that is trusted, else why not.

    Raises Failed if nothing answers there at all.
    """
    with trio.move_on_after(FETCH_SECONDS):
        try:
            with await client.call(origin, "GET", "/ping", []) as call:
                await call.read_all(MAX_CA)
                return None
        except Unreachable as e:
            if "TLS" not in str(e):
                raise Failed(f"the proxy cannot be reached: {e}") from None
            return str(e).partition("TLS: ")[2]
        except Broken as e:
            raise Failed(f"the proxy at {origin.authority} does not speak HTTP: {e}") from None
    raise Failed(f"the proxy at {origin.authority} does not answer")


async def _fetch_ca(client: HttpClient, origin: Origin) -> bytes:
    unverified = Origin(origin.scheme, origin.host, origin.port, insecure=True)
    with trio.move_on_after(FETCH_SECONDS):
        try:
            with await client.call(unverified, "GET", "/ca.crt", []) as call:
                status, pem = call.answer.status, await call.read_all(MAX_CA)
        except (Unreachable, Broken) as e:
            raise Failed(f"the proxy's CA cannot be fetched: {e}") from None
        if status != 200:
            raise Failed(f"{origin.authority} has no CA of its own at /ca.crt (it said {status})")
        try:
            ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
        except ValueError:
            raise Failed(f"what {origin.authority}/ca.crt answers is no certificate") from None
        return pem
    raise Failed(f"the proxy at {origin.authority} does not answer")


def _system_cas() -> bytes:
    """The system's CAs; the environment is not asked, it may name a bundle of ours."""
    built_in = ssl.get_default_verify_paths().openssl_cafile
    for path in (built_in, *SYSTEM_BUNDLES):
        try:
            return Path(path).read_bytes()
        except OSError:
            continue
    return b""


def _write(context: Context, args: argparse.Namespace, variables: dict[str, str]) -> None:
    if args.output == "json" or context.json:
        context.print_json(dict(sorted(variables.items())), indent=2)
    elif args.output == "dotenv":
        path = Path(args.dotenv)
        _update_dotenv(path, variables)
        context.note(f"updated {path}")
    else:
        # The semicolons survive an unquoted eval $(...), which makes one line of all.
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)};")


def _update_dotenv(path: Path, variables: dict[str, str]) -> None:
    """Set variables in a dotenv file, keeping every other line."""
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as e:
        raise Failed(f"{path} cannot be read: {e}") from None
    kept = [
        line
        for line in lines
        if line.strip().removeprefix("export ").partition("=")[0].strip() not in variables
    ]
    kept += [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    try:
        write_private(path, ("\n".join(kept) + "\n").encode())
    except OSError as e:
        raise Failed(f"{path} cannot be written: {e.strerror}") from None
