"""What every command has: the globals, the config on demand, and its output streams."""

from __future__ import annotations

import argparse
import functools
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from tokenomics.config.build import Built
from tokenomics.config.settings import Config
from tokenomics.errors import Failed, Invalid
from tokenomics.files import make_folder
from tokenomics.tokens import Secret

HASH_KEY_FILE = "hash.key"
HASH_KEY_BYTES = 32


class Context:
    """One command's surroundings. Reading the config is put off until a command wants it."""

    def __init__(self, known: argparse.Namespace) -> None:
        self.json: bool = known.json
        self.quiet: bool = known.quiet
        self._known = known
        self._flags: dict[str, Any] = {"dir": known.dir, "storage.db_path": known.db}

    def set_flag(self, key: str, value: object) -> None:
        """A command's own option for a setting; None leaves it to the config."""
        self._flags[key] = value

    def read(self) -> tuple[Built, dict[str, str]]:
        """The config and the environment as files and flags have them now.

        Raises Invalid with every fault, or NotFound.
        """
        from tokenomics.config.sources import load

        built, env, _ = load(self._known.config, self._flags)
        return built, env

    def has_config(self) -> bool:
        """Whether there is a config file, or a `providers.yaml` without one. Raises NotFound if
        the one that was named is missing."""
        from tokenomics.config.sources import find_config

        found = find_config(self._known.config, os.environ.get("HOME", "/"))
        return found is not None or Path("providers.yaml").is_file()

    @functools.cached_property
    def _loaded(self) -> tuple[Config, dict[str, str]]:
        built, env = self.read()
        for warning in built.warnings:
            self.note(f"warning: {warning}")
        return built.config, env

    @property
    def config(self) -> Config:
        """The config. Raises Invalid or NotFound."""
        return self._loaded[0]

    @property
    def env(self) -> dict[str, str]:
        """The environment with `.env` under it."""
        return self._loaded[1]

    def print(self, text: str = "") -> None:
        """Human output; nothing with --json or --quiet."""
        if not self.json and not self.quiet:
            print(text)

    def print_json(self, value: Any, *, indent: int | None = None) -> None:
        """Machine output."""
        print(json.dumps(value, ensure_ascii=False, indent=indent))

    def note(self, text: str) -> None:
        """A diagnostic on stderr."""
        if not self.quiet:
            print(f"tokenomics: {text}", file=sys.stderr)

    def hash_key(self) -> bytes:
        """The key tokens are hashed with: from the environment, else from the state directory,
        where a random one is made the first time. Raises Failed if it can neither be read nor made.
        """
        value = self.env.get(self.config.security.hash_key_env)
        return value.encode() if value else kept_hash_key(self.config.dir, self.config)

    def encryption_key(self) -> Secret:
        """The key policies are encrypted with; empty for none."""
        return Secret(self.env.get(self.config.security.encryption_key_env, ""))


def kept_hash_key(folder: Path, config: Config) -> bytes:
    """The hash key of a state directory; two processes that make it at once agree on one."""
    path = folder / HASH_KEY_FILE
    try:
        return _checked_key(path)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise Failed(f"the hash key {path} cannot be read: {e.strerror}") from None
    try:
        make_folder(folder)
        temporary = folder / f".{HASH_KEY_FILE}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(HASH_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another process was first; its key is the one
        finally:
            temporary.unlink()
        return _checked_key(path)
    except OSError as e:
        raise Failed(
            f"the hash key {path} cannot be made: {e.strerror}; set"
            f" {config.security.hash_key_env}, or --dir to a folder that can be written"
        ) from None


def _checked_key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < HASH_KEY_BYTES:  # an empty file would hash with a key that everybody knows
        raise Invalid(f"the hash key {path} is not whole; restore it, or delete it for a new one")
    return key
