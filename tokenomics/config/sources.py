"""Finding and reading config files, `.env` and keys. The rules of what they mean are in `build`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tokenomics.config.build import Built, Source, build, expand, state_folder
from tokenomics.errors import Invalid, NotFound

NAMES = ("config.yaml", "config.yml", "config.toml")
_COMMENT = re.compile(r"\s#")


def search_path(home: str) -> list[Path]:
    """Where a config is looked for, in order (contract 3)."""
    return [Path(".tokenomics"), Path(), Path(home) / ".tokenomics"]


def find_config(explicit: str | None, home: str) -> Path | None:
    """The config file to read, or None. Raises NotFound if the one that was named is missing."""
    if explicit is not None:
        if not Path(explicit).is_file():
            what = "is no file" if Path(explicit).exists() else "there is no such file"
            raise NotFound(f"--config {explicit}: {what}")
        return Path(explicit)
    for folder in search_path(home):
        for name in NAMES:
            if (folder / name).is_file():
                return folder / name
    return None


def read_document(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """A YAML or TOML file as a mapping, and the line each dotted key stands on.

    Raises Invalid if it cannot be read or parsed.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"{path}: cannot be read: {e}") from None
    if path.suffix == ".toml":
        try:
            return tomllib.loads(text), {}
        except tomllib.TOMLDecodeError as e:
            raise Invalid(f"{path}: {e}") from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[str, int] = {}
        if node is None:
            return {}, lines
        _lines(node, "", lines)
        document = loader.construct_document(node)
    except yaml.MarkedYAMLError as e:  # its own text quotes the line, which may hold a secret
        line = f":{e.problem_mark.line + 1}" if e.problem_mark else ""
        raise Invalid(f"{path}{line}: {e.problem or e.context}") from None
    except (yaml.YAMLError, ValueError) as e:  # ValueError: a date or number that cannot be
        raise Invalid(f"{path}: {e}") from None
    except RecursionError:
        raise Invalid(f"{path}: nested too deeply") from None
    if document is None:  # `---` and nothing else
        return {}, {}
    if not isinstance(document, dict):
        raise Invalid(f"{path}: must be a mapping of settings")
    return document, lines


def _lines(node: yaml.Node, prefix: str, out: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            if path in out:
                raise yaml.MarkedYAMLError(
                    problem=f"{path} stands twice", problem_mark=key.start_mark
                )
            out[path] = key.start_mark.line + 1
            _lines(value, path, out)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            out[f"{prefix}[{i}]"] = item.start_mark.line + 1
            _lines(item, f"{prefix}[{i}]", out)


def read_dotenv(path: Path) -> dict[str, str]:
    """The assignments of a `.env`: `NAME=value`, `export NAME=value`, quotes, comments.

    A missing file is empty. Raises Invalid with the line that is neither.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"{path}: cannot be read: {e}") from None
    out = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise Invalid(f"{path}:{number}: not NAME=value")
        out[name.strip()] = _unquote(value)
    return out


def _unquote(value: str) -> str:
    text = value.strip()
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else text[1:]
    return _COMMENT.split(value, maxsplit=1)[0].strip()


def environment(folders: list[Path], real: Mapping[str, str]) -> dict[str, str]:
    """The real environment over the `.env` of each folder, the first folder first."""
    out: dict[str, str] = {}
    for folder in reversed(folders):
        out.update(read_dotenv(folder / ".env"))
    out.update(real)
    return out


def load(
    explicit: str | None, flags: Mapping[str, Any], real_env: Mapping[str, str] | None = None
) -> tuple[Built, dict[str, str], Path | None]:
    """The config, the effective environment and the file it came from.

    Raises Invalid with all faults, NotFound for a missing `--config`.
    """
    real = dict(os.environ if real_env is None else real_env)
    home = real.get("HOME", "/")
    path = find_config(explicit, home)
    document: dict[str, Any] = {}
    lines: dict[str, int] = {}
    if path:
        document, lines = read_document(path)
    here = environment([Path()], real)
    env = environment([Path(), _state_folder(document, here, flags)], real)
    _merge_providers_file(document, path)
    return build(Source(str(path or "defaults"), document, lines, env, flags)), env, path


def _state_folder(
    document: Mapping[str, Any], env: Mapping[str, str], flags: Mapping[str, Any]
) -> Path:
    """Where the other `.env` is, which is needed before the config can be built."""
    chosen = flags.get("dir") or env.get("TOKENOMICS_DIR") or document.get("dir") or ""
    try:
        return state_folder(expand(str(chosen), env), env)
    except ValueError:  # build() will say which variable is missing
        return state_folder("", env)


def _merge_providers_file(document: dict[str, Any], config_path: Path | None) -> None:
    """Lay the `providers.yaml` beside the config (or in the working directory) under the config's
    own `providers`."""
    path = (config_path.parent if config_path else Path()) / "providers.yaml"
    if not path.is_file():
        return
    found, _ = read_document(path)
    rows = found.get("providers", found)
    own = document.get("providers") or {}
    if not isinstance(rows, dict) or not isinstance(own, dict):
        raise Invalid(f"{path}: providers must be a mapping of name to settings")
    merged = dict(rows)
    for name, row in own.items():
        both = isinstance(row, dict) and isinstance(merged.get(name), dict)
        merged[name] = {**merged[name], **row} if both else row
    document["providers"] = merged


def provider_key(name: str, env: Mapping[str, str]) -> str | None:
    """A provider key: the variable, else the file `NAME_FILE` names, else systemd's credential.

    A file that is named but cannot be read counts as missing; its reader says which name failed.
    """
    if env.get(name):
        return env[name]
    paths = [Path(env[f"{name}_FILE"])] if env.get(f"{name}_FILE") else []
    if env.get("CREDENTIALS_DIRECTORY") and "/" not in name:  # a policy names it: not ../x
        paths.append(Path(env["CREDENTIALS_DIRECTORY"], name))
    for path in paths:
        try:
            found = path.read_text("utf-8").strip()
        except (OSError, ValueError):  # ValueError: not UTF-8
            continue
        if found:
            return found
    return None
