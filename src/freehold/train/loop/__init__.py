"""The loop: a job's folder in, a trained model in it.

    job.json ─start→ start/ (weights drawn by the seed, or the model that is trained on)
        ─rows of step k, from seed and k alone→ loss → AdamW ─every minute→ checkpoint.safetensors
        ─killed? on from the checkpoint, to the same bits→ result/ config.json model.safetensors, training.json last

rows.py · loss.py · schedule.py · trainer.py (transformers' Trainer) · watch.py (each step) · evaluate.py (held-out)
checkpoint.py · noise.py (random numbers) · place.py (where the model lies: the seam of the launch targets)
alone.py · spread.py · zero.py (one process, several, ZeRO) · means.py (Adam's) · learn.py (from folder to result)
"""

from __future__ import annotations

from pathlib import Path

from freehold.launch.job import Parallel
from freehold.tell import Tell, quiet
from freehold.train.nouns import Trained

__all__ = ["run"]


def run(folder: Path, parallel: Parallel = "none", tell: Tell = quiet) -> Trained:
    """Train what job.json in `folder` says; on from the checkpoint that lies there. With another `parallel` than none,
    this is one of the processes that torchrun has started, and all return the same.

    Raises TrainingFailed, TooLittleMemory, StorageFailed, ArtifactDamaged, CorpusUnusable, BaseUnusable.
    """
    from freehold.train.loop.learn import learn

    return learn(folder, parallel, tell)
