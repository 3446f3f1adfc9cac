"""A redis-server (or valkey-server) for the tests: found, or installed where apt can do that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from venvs import BuildError, one_at_a_time, run_quietly

PROGRAMS = ("redis-server", "valkey-server")
PACKAGE = "redis-server"
INSTALL_SECONDS = 300  # of each apt-get; with a near mirror both together take about 10 s
LOCK_SECONDS = 120  # for another apt that runs

# The package must not leave a server behind that starts by itself: a policy-rc.d that says no
# (101) stands there for as long as it takes, unless the machine has one of its own. Old or no
# lists of packages are renewed only if they don't do.
SCRIPT = f"""
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\\nexit 101\\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt() {{ timeout {INSTALL_SECONDS} apt-get -q -y -o DPkg::Lock::Timeout={LOCK_SECONDS} "$@"; }}
wanted() {{ apt install --no-install-recommends {PACKAGE}; }}
wanted || {{ apt update && wanted; }}
"""


def find_redis() -> str | None:
    """The program on PATH."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def ensure_redis() -> str:
    """Finds the program, else installs it by apt-get as root, which takes a while once.

    Raises BuildError, saying what to install, where that can't be done.
    """
    found = find_redis()
    if found:
        return found
    root = become_root()
    if root is None or not shutil.which("apt-get"):
        raise BuildError(f"the tests need {' or '.join(PROGRAMS)} on PATH: install one of them")
    print(f"installing {PACKAGE} by apt-get ...", file=sys.stderr, flush=True)
    with one_at_a_time():
        run_quietly((*root, "/bin/sh", "-c", SCRIPT), f"apt-get install {PACKAGE}")
    found = find_redis()
    if not found:
        raise BuildError(f"{PACKAGE} is installed, but no {PROGRAMS[0]} is on PATH")
    return found


def become_root() -> tuple[str, ...] | None:
    """What to put before a command so that root runs it without a question, or None."""
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    done = subprocess.run(
        (sudo, "-n", "true"), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return (sudo, "-n") if done.returncode == 0 else None
