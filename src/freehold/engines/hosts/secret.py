"""A key that shows nowhere, and where an upstream's key is read from.

    key_env = "LOCAL_KEY"        an environment variable
    key_file = "local.key"       one line in a file of the project folder, or at an absolute path

A key file is read where it is a plain file of ours that nobody else can read (mode 0600 or 0400); what a link leads to
is what is checked. A relative path may not lead out of the project folder, by .. or by a link: a project folder from
elsewhere does not pick files of this machine.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from freehold.errors import BadSetting, SecretExposed
from freehold.project.gateway import UpstreamSettings

__all__ = ["Secret", "read_key"]

LONGEST = 16 << 10  # bytes of a key file
KEY = re.compile(r"[\x21-\x7e]+")
OPENAI_KEY = "OPENAI_API_KEY"


class Secret:
    """A text that only `reveal` tells: not repr, str, format, JSON, copies or pickles."""

    __slots__ = ("__said",)

    def __init__(self, said: str) -> None:
        self.__said = said

    def reveal(self) -> str:
        return self.__said

    def __bool__(self) -> bool:
        return bool(self.__said)

    def __eq__(self, other: object) -> bool:
        """In a time that does not tell where they differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self.__said.encode("utf-8", "surrogatepass"), other.reveal().encode("utf-8", "surrogatepass")
        )

    __hash__ = None  # type: ignore[assignment]  # a hash tells something of its text

    def __repr__(self) -> str:
        return "Secret('***')" if self.__said else "Secret('')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret can't be copied or written")


def read_key(said: UpstreamSettings, folder: Path, environ: Mapping[str, str], name: str = "") -> Secret:
    """The key of [upstreams.NAME], empty where it names none. Raises BadSetting, or SecretExposed (exit code 54)."""
    where = f"[upstreams.{name}]" if name else "the upstream"
    if said.key_env:
        return _checked(_variable(said, environ, where), f"{where}: {said.key_env}")
    if said.key_file:
        path = _path(said.key_file, folder, where)
        return _checked(_line(path, where), f"{where}: {path}")
    return Secret("")


def _variable(said: UpstreamSettings, environ: Mapping[str, str], where: str) -> str:
    """A folder from elsewhere can name a host in its settings: OpenAI's own key goes to OpenAI's own host only."""
    host = urlsplit(said.url)
    if said.key_env == OPENAI_KEY and (host.scheme, host.hostname) != ("https", "api.openai.com"):
        raise BadSetting(
            f"{where} would send {OPENAI_KEY} to {host.hostname}.", "Put that host's key into another variable."
        )
    found = environ.get(said.key_env, "").strip()
    if not found:
        raise BadSetting(f"{where}: the environment has no {said.key_env}.", "Set it, or remove key_env.")
    return found


def _path(said: str, folder: Path, where: str) -> Path:
    try:
        path = Path(said).expanduser()
    except RuntimeError:
        raise BadSetting(f"{where}: key_file is {said!r}, whose home is not known.", "Give an absolute path.") from None
    if path.is_absolute():
        return path
    path = folder / path
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        inside = False
    if not inside:
        raise BadSetting(f"{where}: key_file {said!r} leads out of the project folder.", "Give an absolute path.")
    return path


def _line(path: Path, where: str) -> str:
    """The one line of a file that only we can read. What is checked is the file that is open, not its name."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise BadSetting(f"{where}: can't read the key file {path}: {why}.", "Mend the path.") from None
    try:
        _ours(os.fstat(handle), path, where)
        data = os.read(handle, LONGEST + 1)
    finally:
        os.close(handle)
    lines = [line.strip() for line in data.decode("latin-1").split("\n") if line.strip()]
    if len(lines) != 1 or len(data) > LONGEST:
        message = f"{where}: the key file {path} does not hold exactly one line."
        raise BadSetting(message, "Write the key alone into it.")
    return lines[0]


def _ours(found: os.stat_result, path: Path, where: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise BadSetting(f"{where}: the key file {path} is no plain file.", "Give a file with one line.")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise SecretExposed(f"The key file {path} belongs to somebody else.", "chown it to who runs freehold.")
    if hasattr(os, "getuid") and mode & 0o077:
        raise SecretExposed(f"The key file {path} has mode {mode:04o}: others can read it.", f"chmod 600 {path}")


def _checked(key: str, where: str) -> Secret:
    if not KEY.fullmatch(key):
        raise BadSetting(f"{where} holds a space or a character that no key has.", "Set it again.")
    return Secret(key)
