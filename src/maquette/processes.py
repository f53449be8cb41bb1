"""Which process that is: its number alone says nothing, since numbers are used again.

    BOOT/NUMBER/START

BOOT names this start of the machine, START when the process began, counted in a way that setting the clock does not touch.
So after a power cut, in a container made anew, or after a number was used again, nobody is taken for another.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def identity_of(pid: int) -> str | None:
    """Return who process `pid` is; None where there is none, or it has ended and waits only to be noticed."""
    start = _start_of(pid)
    return None if start is None else f"{_boot()}/{pid}/{start}"


def own_identity() -> str:
    """Return who this process is."""
    found = identity_of(os.getpid())
    assert found is not None, "who asks is there"
    return found


def is_alive(identity: str | None) -> bool:
    """Return whether the process of that identity is still there."""
    if not identity:
        return False
    return identity_of(pid_of(identity)) == identity


def pid_of(identity: str) -> int:
    """Return the number in an identity."""
    return int(identity.split("/")[1])


def _start_of(pid: int) -> str | None:
    if sys.platform.startswith("linux"):
        return _start_on_linux(pid)
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # macOS and Windows keep the moment itself; only Linux works it out from the clock of now.
        return f"{process.create_time():.3f}"
    except psutil.Error:
        return None


def _start_on_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in brackets and may hold any of them; state is the first word after it, the start the twentieth.
    words = text.rpartition(")")[2].split()
    return None if words[0] in ("Z", "X") else words[19]


@cache
def _boot() -> str:
    """Return what tells this start of the machine from others; empty where the system has no word for it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if sys.platform == "darwin":
        import subprocess

        asked = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        with suppress(OSError):
            return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def is_of_this_start(identity: str) -> bool:
    """Return whether an identity was given under this start of this machine, so that `is_alive` can tell."""
    return bool(_boot()) and identity.startswith(f"{_boot()}/")
