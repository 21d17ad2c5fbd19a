"""Does it fit: parameters, weights, cache and training memory of a model, from its configuration alone.

a = Architecture.of(config)                  decoders.py and families.py say which; parameters(a) 8,030,261,248
weight_bytes(a, "Q4_K_M")                    4.92e9; cache_bytes(a, 8192) 1.07e9; touched(a, 8) with experts
serving(a, "Q4_K_M", context=8192)           {weights, cache, buffers}
training(a, "lora", rank=16, tokens=1335)    {weights, adapter, activations, logits, program}; ranks=8, zero=3
refuse(need, "Tuning smollm2")               raises TooLittleMemory where this machine has not that much free

architecture   what a model is made of      count   parameters, active, touched, cache     memory   of this machine
read           config.json -> Architecture  forms   bytes in each weight format            train    ZeRO, LoRA
launch         each launch target's memory and time, and which to use    process   memory of freehold's own loop
ways           on which devices a training runs: each target on each, and which to use      told   the same as lines
"""

from __future__ import annotations

from freehold.fit.architecture import Kept, Layer, Matrix, Stack
from freehold.fit.count import (
    active,
    cache_bytes,
    experts_touched,
    flop,
    lora_parameters,
    parameters,
    touched,
)
from freehold.fit.forms import FORMS, Form, form_of, read_bytes, uniform, weight_bytes
from freehold.fit.launch import Devices, Launch, choose, launches
from freehold.fit.memory import GIB, Need, available, refuse, resident, total
from freehold.fit.process import LOADED
from freehold.fit.read import Architecture
from freehold.fit.serve import BUFFERS, most_context, most_streams, serving
from freehold.fit.shape import Shape, sizes
from freehold.fit.told import told
from freehold.fit.train import PROGRAM, adam_bytes, tagging, training
from freehold.fit.ways import Ground, Rows, Work, adapter, full, ids_a_step, pick

__all__ = [
    "BUFFERS", "FORMS", "GIB", "LOADED", "PROGRAM", "Architecture", "Devices", "Form", "Ground", "Kept", "Launch",
    "Layer", "Matrix", "Need", "Rows", "Shape", "Stack", "Work", "active", "adam_bytes", "adapter", "available",
    "cache_bytes", "choose", "experts_touched", "flop", "form_of", "full", "ids_a_step", "launches", "lora_parameters",
    "most_context", "most_streams", "parameters", "pick", "read_bytes", "refuse", "resident", "serving", "sizes",
    "tagging", "told", "total", "touched", "training", "uniform", "weight_bytes",
]  # fmt: skip
