"""What the engine's process gives up before it reads a model: the network, new privileges, core dumps, secrets.

    environment()   what is passed on to it: names that are needed, and none that sounds like a secret
    enter()         in the child, before any thread: no new privileges, no core dump, few files; a network of its own
                    with nothing in it. Its Unix socket is a file, which is reached all the same.

A network namespace takes CAP_SYS_ADMIN, or a user namespace, which some systems refuse to others than root: then the
network stays, and `enter` says why. What capabilities the namespaces would give are dropped at once, and root keeps but
those that read files: so the engine can't look into the memory of the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["enter", "environment"]

NEEDED = re.compile(
    r"PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|VIRTUAL_ENV|PYTHON\w+|LD_\w+|DYLD_\w+|OMP_\w+|GOMP_\w+|OPENBLAS_\w+|MKL_\w+"
    r"|GGML_\w+|CUDA_\w+|NVIDIA_\w+|HIP_\w+|ROCR_\w+|HSA_\w+|ASAN_\w+|COVERAGE_\w+"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
FILES = 256  # a model, its adapters, a log, and a connection for each answer under way
OOM_SCORE = 500  # of 1000: how readily the kernel ends it for memory
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_NO_NEW_PRIVS = 38
CAP_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def environment(whole: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a child with no secrets gets."""
    return {name: value for name, value in whole.items() if NEEDED.fullmatch(name) and not SECRET.search(name)}


def enter() -> str:
    """Give up what this process does not need. "" where the network is gone, else why it isn't, in a few words.

    Must run before any thread is started: a user namespace is refused to a process that has some.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, soft) if soft != resource.RLIM_INFINITY else most, most))
    if sys.platform != "linux":
        return "this system has no network namespaces"
    with contextlib.suppress(OSError):  # where memory runs out, it is this process that goes, not the gateway
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWNET) == 0:  # root of this machine, or of a container that may
        _drop_all_but(libc, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)
        return ""
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
        _stay(uid, gid)
        _drop_all_but(libc)
        return ""
    return f"the system refuses namespaces ({os.strerror(ctypes.get_errno())})"


def _stay(uid: int, gid: int) -> None:
    """Be the same user inside. Where that is refused files are read by the same rights all the same."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text, encoding="ascii")
        except OSError:
            return


def _drop_all_but(libc: ctypes.CDLL, *kept: int) -> None:
    """Keep no capability but these, if it had them."""
    header = (ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)
    mask = sum(1 << one for one in kept)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) != 0:
        return
    for i in range(3):  # effective, permitted, inheritable: the low words; the high ones hold none that is kept
        data[i] &= mask
        data[3 + i] = 0
    libc.capset(header, data)
