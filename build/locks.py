"""Remakes the locks: every package, its dependencies and all their wheels' hashes, for all Pythons.

uv makes them because its result names neither the machine's index nor its paths, which pip's does.
It is used for nothing else, so it is fetched here and not in a lock.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from venvs import ROOT, SCRATCH, BuildError, clean_environment, require_venv_module, run_pip

HERE = Path(__file__).resolve().parent
COMPILE = ("pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--universal")
PLAIN = ("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11")

# What tests run with must be what the file holds, so the later locks keep to the first one.
LOCKS = (("requirements", ()), ("requirements-build", ()), ("requirements-dev", ("requirements",)))


def main() -> int:
    """Remakes all three, each one only if it could be made."""
    try:
        require_venv_module()
        where = SCRATCH / "locker"
        venv.create(where, with_pip=True, clear=True)
        run_pip(where / "bin" / "python", "install", "--upgrade", "uv")
        for name, keep_to in LOCKS:
            make_lock(where / "bin" / "uv", name, keep_to)
    except BuildError as error:
        print(f"tokenomics: {error}", file=sys.stderr)
        return 1
    return 0


def make_lock(uv: Path, name: str, keep_to: tuple[str, ...]) -> None:
    """Resolves one .in file; the .lock beside it is only replaced by a whole new one."""
    constraints = [word for other in keep_to for word in ("-c", f"build/{other}.lock")]
    command = [str(uv), *COMPILE, *PLAIN, *constraints, f"build/{name}.in"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"uv could not resolve build/{name}.in; see above")
    (HERE / f"{name}.lock").write_text(done.stdout)
    packages = [
        line for line in done.stdout.splitlines() if line.endswith(" \\") and line[0] != " "
    ]
    print(f"build/{name}.lock: {len(packages)} packages")


if __name__ == "__main__":
    sys.exit(main())
