"""How well held-out text is foretold: nats a token, bits a byte, over windows that lie side by side.

after some steps     a fixed sample, spread evenly over the held-out ids, that costs at most a twentieth of the
                     training in all
after the last step  all of it, up to WHOLE ids or a tenth of the training, whichever is more
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.train.loop.loss import IGNORED, summed
from freehold.train.loop.place import Place
from freehold.train.loop.rows import held_out, windows
from freehold.train.nouns import Plan

__all__ = ["asked_at", "measure", "sizes"]

LEAST = 64  # rows
WHOLE = 1 << 20  # ids
DURING, AFTER = 0.05, 0.10  # of the training's cost
FORWARD = 1 / 3  # of what a row costs when it is learned from


def asked_at(plan: Plan) -> set[int]:
    """After which steps; the last is one of them."""
    return {max(1, round(plan.steps * (i + 1) / plan.evals)) for i in range(plan.evals)}


def sizes(plan: Plan) -> tuple[int, int]:
    """Rows: of a look on the way, and of the last."""
    learned = plan.rows * plan.steps / FORWARD
    during = max(LEAST, int(DURING * learned / max(1, plan.evals)))
    return during, max(LEAST, WHOLE // plan.shape.context, int(AFTER * learned))


def measure(
    model: Any, ids: npt.NDArray[np.unsignedinteger], place: Place, *, context: int, most: int, batch: int, device: Any
) -> tuple[float, int, int]:
    """(nats a token, rows looked at, rows there are). NaN where nothing is held out. Each process looks at its share;
    all make the same number of passes."""
    import torch

    starts, length = held_out(ids, context, most)
    if not starts:
        return math.nan, 0, 0
    total = 0.0
    training, _ = model.training, model.eval()
    with torch.no_grad():
        for at in range(0, len(starts), batch * place.shares):
            part = starts[at : at + batch * place.shares][place.share :: place.shares]
            rows = torch.from_numpy(windows(ids, part or starts[:1], length)).to(device)
            wanted = rows[:, 1:] if part else torch.full_like(rows[:, 1:], IGNORED)
            total += float(summed(model, rows[:, :-1], wanted, experts=False)[0])
    model.train(training)
    (total,) = place.add_up([total])
    return total / (len(starts) * length), len(starts), (len(ids) - 1) // length
