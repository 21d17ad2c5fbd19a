"""Tune a language model on what the closed one wrote: LoRA on an open base, measured beside the base with examples.

rows ─a tenth held back, groups whole→ own
     ─the rest, as ids→ fidelity: the server reads the same ids ─→ does it fit in memory? ─→ plan (one dial)
     ─train (checkpoints)→ adapter ─both asked the held-back rows→ tuned or few-shot, the better one
                                              └ Artifact(kind adapter) or Artifact(kind decoder, fewshot)

data.py rows as ids · tokens.py the tokenizer · model.py LoRA and the loss · plan.py the dial · train.py the loop
device.py CPU or CUDA card · memory.py in which form a step fits it
checkpoint.py · fidelity.py · base.py the project's copy of the base · recipe.py decoder.json · fewshot.py the rival
"""

from freehold.tune.decoder.tune import tune_decoder

__all__ = ["tune_decoder"]
