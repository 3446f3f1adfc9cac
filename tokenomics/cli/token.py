"""Create, list, get, update, rotate and delete wrapper tokens, and see what they have used.

They are written to the token database (storage.db_path or --db), also while servers run on it: a
change holds on every proxy within a second.

examples:
  tokenomics token create --policy @lead-engineer.json --expires 1y --name alice
  tokenomics token create --policy '{"base_key_env":"OPENAI_API_KEY","model":"gpt-4o"}' --json
  tokenomics token list
  tokenomics token update --hash 52d8fb --policy '{"max_tokens": 100000}'
  tokenomics token update --name alice --expires 180d
  tokenomics token rotate --name alice --grace 24h
  tokenomics token usage --name alice --json
  tokenomics token usage --name alice --reset --reason "new quarter"
  tokenomics token delete --hash 52d8fb
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from tokenomics import strictjson
from tokenomics.cli.context import Context
from tokenomics.cli.which import find, open_database
from tokenomics.errors import Failed, Invalid, NotFound, UsageError
from tokenomics.policy.merge import differences, merge_patch
from tokenomics.policy.model import parse_policy
from tokenomics.store.database import Database
from tokenomics.store.table import Entry
from tokenomics.tokens import hash_token, make_token
from tokenomics.units import parse_duration, parse_expiry, rfc3339

MAX_COUNT = 10_000
MAX_NAME = 128  # characters


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = _sub(commands, parser, "create", "make a token; it is shown once")
    create.add_argument("--policy", required=True, metavar="JSON|@FILE|-")
    create.add_argument("--expires", default="never", help="90m, 7d, 1y, an RFC 3339 time, never")
    create.add_argument("--name", default="", help="a name to use instead of the hash")
    create.add_argument("--count", type=int, default=1, help="make that many")
    _sub(commands, parser, "list", "list all tokens")
    get = _sub(commands, parser, "get", "show one token and its policy")
    update = _sub(commands, parser, "update", "change a token's policy or expiry")
    update.add_argument("--policy", metavar="PATCH", help="merged into the policy (RFC 7396)")
    update.add_argument("--replace", action="store_true", help="--policy is the whole policy")
    update.add_argument("--expires", help="a new expiry, or clear")
    rotate = _sub(commands, parser, "rotate", "a new secret for the same policy and usage")
    rotate.add_argument(
        "--grace", default="24h", help="how long the old secret still works (24h; 0s: not at all)"
    )
    used = _sub(commands, parser, "usage", "what is used of budgets and rates; of all, or of one")
    used.add_argument("--reset", action="store_true", help="begin all of them anew, for one token")
    used.add_argument("--reason", default="", help="why it is reset; kept with the token")
    delete = _sub(commands, parser, "delete", "revoke a token")
    for sub in (get, update, rotate, delete, used):
        which = sub.add_mutually_exclusive_group(required=sub is not used)
        which.add_argument("--hash", metavar="PREFIX", help="at least 6 hex digits")
        which.add_argument("--name")


def _sub(commands: Any, parser: argparse.ArgumentParser, name: str, help: str) -> Any:
    return commands.add_parser(name, help=help, prog=f"{parser.prog} {name}")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run one subcommand."""
    actions = {
        "create": _create,
        "list": _list,
        "get": _get,
        "update": _update,
        "rotate": _rotate,
        "usage": _usage,
        "delete": _delete,
    }
    return actions[args.action](context, args)


def read_policy(text: str) -> str:
    """The whole policy that an option gives: its JSON, `@FILE`, or `-` for stdin.

    Raises NotFound, Failed or Invalid.
    """
    return _checked(_document(_read_argument(text)))


def _read_argument(text: str) -> str:
    """The JSON of --policy: itself, `@FILE`, or `-` for stdin. Raises NotFound or Failed."""
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"--policy {text}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise Failed(f"--policy {text}: {e}") from None


def _document(text: str) -> Any:
    try:
        return strictjson.loads(text)
    except strictjson.BadJSON as e:
        raise Invalid(f"policy is not JSON: {e}") from None


def _checked(document: Any) -> str:
    """The text of a valid policy. Raises Invalid."""
    text = strictjson.dumps(document).decode()
    parse_policy(text)
    return text


def _expiry(text: str) -> float | None:
    try:
        return parse_expiry(text, time.time())
    except ValueError as e:
        raise UsageError(f"--expires {e}") from None


def _create(context: Context, args: argparse.Namespace) -> int:
    if not 1 <= args.count <= MAX_COUNT:
        raise UsageError(f"--count must be from 1 to {MAX_COUNT}")
    if args.name and args.count > 1:
        raise UsageError("--name is for one token, not for --count")
    if len(args.name) > MAX_NAME or not args.name.isprintable():
        raise UsageError(f"--name must be printable text of at most {MAX_NAME} characters")
    text = read_policy(args.policy)
    expires = _expiry(args.expires)
    key = context.hash_key()
    made = [make_token(uuid.uuid4()) for _ in range(args.count)]
    with open_database(context).writing() as writer:
        for token in made:
            writer.put(hash_token(key, token), text, time.time(), expires, args.name)
    for token in made:
        _show_created(context, token, hash_token(key, token), expires, args.name)
    return 0


def _show_created(
    context: Context, token: str, hash_: str, expires: float | None, name: str
) -> None:
    if context.json:
        when = rfc3339(expires) if expires is not None else None
        row = {"token": token, "hash": hash_, "expires_at": when, "name": name or None}
        context.print_json(row)
        return
    print("Token created successfully.")
    print("WARNING: This token will only be shown once. Store it securely.\n")
    print(f"  Token:   {token}\n  Hash:    {hash_}")
    if name:
        print(f"  Name:    {name}")
    if expires is not None:
        print(f"  Expires: {rfc3339(expires)}")
    print()


def _row(database: Database, entry: Entry) -> dict[str, Any]:
    return {
        "hash": entry.hash,
        "name": entry.name or None,
        "created_at": rfc3339(entry.created_at),
        "expires_at": rfc3339(entry.expires_at) if entry.expires_at is not None else None,
        "expired": entry.expires_at is not None and entry.expires_at <= time.time(),
        "policy": json.loads(database.policy_text(entry)),
    }


def _list(context: Context, _args: argparse.Namespace) -> int:
    database = open_database(context)
    entries = sorted(database.table.entries.values(), key=lambda e: e.created_at)
    if context.json:
        context.print_json([_row(database, entry) for entry in entries])
        return 0
    if not entries:
        context.print("No tokens found.")
    for entry in entries:
        _show_listed(_row(database, entry))
    return 0


def _show_listed(row: dict[str, Any]) -> None:
    """One token as the original lists it: a line per thing that is set."""
    policy = row["policy"]
    state = "(EXPIRED)" if row["expired"] else "(active)"
    lines = {
        "Hash": row["hash"],
        "Name": row["name"],
        "Created": row["created_at"],
        "Expires": f"{row['expires_at']} {state}" if row["expires_at"] else None,
        "Key Env": policy.get("base_key_env"),
        "Upstream": policy.get("upstream_url"),
        "Providers": ", ".join(policy.get("providers") or {}),
        "Model": policy.get("model"),
        "Model Regex": policy.get("model_regex"),
        "Max Tokens": policy.get("max_tokens"),
        "Prompts": len(policy.get("prompts") or ()),
        "Rules": len(policy.get("rules") or ()),
    }
    for title, value in lines.items():
        if value:
            print(f"{title + ':':13}{value}")
    print("---")


def _get(context: Context, args: argparse.Namespace) -> int:
    database = open_database(context)
    row = _row(database, find(database, args))
    if context.json:
        context.print_json(row, indent=2)
        return 0
    print(f"Hash:    {row['hash']}")
    if row["name"]:
        print(f"Name:    {row['name']}")
    state = " (EXPIRED)" if row["expired"] else ""
    print(f"Created: {row['created_at']}\nExpires: {row['expires_at'] or 'never'}{state}")
    print("Policy:\n" + json.dumps(row["policy"], indent=2, ensure_ascii=False))
    return 0


def _update(context: Context, args: argparse.Namespace) -> int:
    if args.policy is None and args.expires is None:
        raise UsageError("token update needs --policy or --expires")
    patch = _document(_read_argument(args.policy)) if args.policy is not None else None
    if args.policy is not None and not isinstance(patch, dict):
        raise Invalid("--policy must be a JSON object")
    database = open_database(context)
    with database.writing() as writer:
        entry = find(database, args)
        old = json.loads(database.policy_text(entry))
        new = old
        if patch is not None:
            new = patch if args.replace else merge_patch(old, patch)
        expires = entry.expires_at
        if args.expires is not None:
            expires = None if args.expires == "clear" else _expiry(args.expires)
        changes = list(differences(old, new))
        if expires != entry.expires_at:
            changes.append(f"~ expires: {_when(entry.expires_at)} -> {_when(expires)}")
        if changes:
            text = _checked(new)
            writer.put(
                entry.hash, text, entry.created_at, expires, entry.name, account=entry.account
            )
    if context.json:
        context.print_json({"hash": entry.hash, "changes": changes})
        return 0
    context.print("Token updated." if changes else "Nothing changed.")
    for change in changes:
        context.print("  " + change)
    return 0


def _when(expires: float | None) -> str:
    return "never" if expires is None else rfc3339(expires)


def _rotate(context: Context, args: argparse.Namespace) -> int:
    """A new token counts where the old one does, which expires soon."""
    now = time.time()
    grace = 0.0
    if args.grace not in ("0", "0s"):
        try:
            grace = parse_duration(args.grace)
        except ValueError as e:
            raise UsageError(f"--grace {e}") from None
    token = make_token(uuid.uuid4())
    hash_ = hash_token(context.hash_key(), token)
    database = open_database(context)
    with database.writing() as writer:
        old = find(database, args)
        if old.expires_at is not None and old.expires_at <= now:
            raise Failed(f"the token expired at {rfc3339(old.expires_at)}: update --expires first")
        text, account = database.policy_text(old), old.account or old.hash
        ends = now + grace if old.expires_at is None else min(old.expires_at, now + grace)
        writer.put(old.hash, text, old.created_at, ends, "", account=account)
        writer.put(hash_, text, now, old.expires_at, old.name, account=account)
    _show_created(context, token, hash_, old.expires_at, old.name)
    context.print(f"The old token, {old.hash[:16]}, works until {rfc3339(ends)}.")
    return 0


def _usage(context: Context, args: argparse.Namespace) -> int:
    from tokenomics.cli import usage  # what it needs takes longer to read than most commands run

    return usage.run(context, args)


def _delete(context: Context, args: argparse.Namespace) -> int:
    database = open_database(context)
    with database.writing() as writer:
        entry = find(database, args)
        writer.delete(entry.hash)
    if context.json:
        context.print_json({"hash": entry.hash, "deleted": True})
    context.print("Token deleted.")
    return 0
