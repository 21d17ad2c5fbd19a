"""watch: one page that says whether the promise holds, from files alone.

    audit.json  verdicts/*.json  rungs.jsonl  ledger/*.jsonl  ─watch→  http://127.0.0.1:8081/

It asks nothing of the server that answers calls, and can stop, start and crash without touching it.
"""

from __future__ import annotations

from freehold.project import Project
from freehold.tell import Tell, quiet

__all__ = ["watch"]


def watch(
    project: Project,
    *,
    host: str = "127.0.0.1",
    port: int = 8081,
    show_prompts: bool = False,
    tell: Tell = quiet,
) -> None:
    """Serve the page until SIGTERM or Ctrl-C.

    Users' texts are cut to their first words before they leave this process, unless `show_prompts`.
    Raises ServeRefused for an address that is not this machine's, PortInUse.
    """
    import asyncio

    from freehold.watch.app import serve
    from freehold.watch.snapshot import Watcher

    asyncio.run(serve(Watcher(project, show_prompts=show_prompts), host, port, tell))
