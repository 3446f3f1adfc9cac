"""The built file's __main__.py: can this Python run it at all?

Everything else is in start.py, which may use today's Python. This file must be readable by any
Python that somebody may have, down to 2.7, or they get a SyntaxError instead of the one line that
tells them what to do. Hence no annotations and no f-strings here.
"""

import os
import sys

# Written by build/pack.py: build, entry_point, glibc, machine, name, pythons.
FACTS = {}  # type: dict


def complaint():
    """One line on why this file can't run here, or None."""
    pythons = FACTS["pythons"]
    wanted = "CPython %d.%d to %d.%d" % (pythons[0] + pythons[-1])
    kind = "PyPy" if "PyPy" in sys.version else "Python"
    here = "%s %d.%d.%d (%s)" % ((kind,) + tuple(sys.version_info[:3]) + (sys.executable,))
    if kind == "PyPy" or sys.version_info[:2] not in pythons:
        return "needs %s; this is %s%s" % (wanted, here, other_python())
    if "t" in getattr(sys, "abiflags", ""):
        return "needs %s, but not free-threaded as this %s is" % (wanted, here)
    return platform_complaint()


def platform_complaint():
    """The compiled parts are for one kind of machine and for glibc."""
    wanted = "Linux on %s with glibc %d.%d or newer" % ((FACTS["machine"],) + FACTS["glibc"])
    machine = os.uname()[4] if hasattr(os, "uname") else "another machine"
    bits = 64 if sys.maxsize > 2**32 else 32
    if not sys.platform.startswith("linux") or machine != FACTS["machine"] or bits != 64:
        here = "%s on %s, %d bit" % (sys.platform, machine, bits)
        return "this file is for %s; this is %s" % (wanted, here)
    glibc = glibc_version()
    if glibc is None or glibc < FACTS["glibc"]:
        found = "another C library" if glibc is None else "glibc %d.%d" % glibc
        return "this file is for %s; here is %s" % (wanted, found)
    return None


def glibc_version():
    """None where the C library is another one, such as Alpine's musl."""
    try:
        major, minor = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")[:2]
        return int(major), int(minor)
    except (AttributeError, IndexError, OSError, ValueError):
        return None


def other_python():
    """Names a Python on the PATH that would do, newest first: often there is one."""
    for version in reversed(FACTS["pythons"]):
        name = "python%d.%d" % version
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            if os.access(os.path.join(folder, name), os.X_OK):
                return "; try: %s %s" % (name, sys.argv[0])
    return ""


if __name__ == "__main__":
    problem = complaint()
    if problem:
        sys.exit("%s: %s" % (FACTS["name"], problem))

    import start

    sys.exit(start.main(FACTS))
