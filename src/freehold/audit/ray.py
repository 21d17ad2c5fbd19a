"""Parts of a log done on more than one machine: the same function a part, mapped over them by Ray Data.

    --workers ray   ─ray.data→ Scan(part 0), Scan(part 1), ... → their Tallies, in order

Every machine must see the log under the same name, and the folder too in which counts are put down: an object store
and a shared folder, or one machine. A cluster is found as Ray finds it (RAY_ADDRESS); without one, Ray starts here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from freehold.errors import MissingExtra

__all__ = ["OnRay"]


class OnRay:
    """A runner: needs the extra `freehold[ray]`."""

    def __init__(self) -> None:
        try:
            import ray.data
        except ImportError:
            raise MissingExtra("Reading a log on Ray needs Ray Data.", "pip install 'freehold[ray]'") from None
        self._data: Any = ray.data

    def run(self, do: Callable[[int], bytes], jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Each job with its result, in the order of the jobs."""
        import ray

        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        self._data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

        def one(row: dict[str, Any]) -> dict[str, Any]:
            job = int(row["job"])
            return {"job": job, "result": do(job)}

        rows = self._data.from_items([{"job": job} for job in jobs], override_num_blocks=max(1, len(jobs)))
        waiting: dict[int, bytes] = {}
        order = iter(jobs)
        expected = next(order, None)
        for row in rows.map(one).iter_rows():
            waiting[int(row["job"])] = bytes(row["result"])
            while expected is not None and expected in waiting:
                yield expected, waiting.pop(expected)
                expected = next(order, None)
