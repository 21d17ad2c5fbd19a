"""The process that holds llama.cpp: `python -m freehold.engines.llama.child`, started by llama/process.py alone.

    stdin    one JSON line: the settings (Settings, and `socket`, where to listen); then silence. Its end is the order
             to end, and so is the death of the parent: nothing is ever left behind, the socket's folder neither.
    stdout   one JSON line: {"ready": true, "address": "unix://...", "network": ""} or {"failed": "llama.cpp's reason"};
             `network` says why it still has one (cage.py), "" where it has none
    stderr   llama.cpp's errors (never its information lines, which may quote a prompt)
    socket   llama.cpp's own server, on a Unix socket in a folder that only this user can enter; no TCP port

A crash inside llama.cpp kills this process and not the gateway.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.engines.llama import cage
from freehold.errors import FreeholdError

__all__ = ["main", "parameters"]

ERRORS_ONLY = 1  # llama.cpp's verbosity; from 2 on a warning may quote the request
PARENT_CHECK = 2.0  # seconds between two looks at whether the parent still lives


def parameters(said: Mapping[str, Any]) -> Any:
    """xllamacpp's CommonParams for the settings that came in.

    What makes an answer depend on earlier ones is off: the prompt cache in memory, checkpoints, and moving a context
    along. What a request keeps of the slot before it is said by that request (`cache_prompt`).
    """
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = said["model"]
    p.hostnames = [said["socket"]]
    p.n_parallel = said["slots"]
    p.n_ctx = said["context"] * said["slots"]
    p.n_batch = p.n_ubatch = said["batch"]
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = said["threads"]
    p.cpuparams.poll = p.cpuparams_batch.poll = said["poll"]
    kv = {"f16": xllamacpp.ggml_type.GGML_TYPE_F16, "f32": xllamacpp.ggml_type.GGML_TYPE_F32}[said["kv"]]
    p.cache_type_k = p.cache_type_v = kv
    flash = xllamacpp.llama_flash_attn_type
    p.flash_attn_type = flash.LLAMA_FLASH_ATTN_TYPE_ENABLED if said["flash"] else flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in said["adapters"]]
    p.lora_init_without_apply = True
    p.cache_ram_mib = 0
    p.n_ctx_checkpoints = 0
    p.cache_idle_slots = p.ctx_shift = p.fit_params = p.ui = p.warmup = False
    p.verbosity = ERRORS_ONLY
    if said["speculation"]:
        _speculate(p, xllamacpp, said["speculation"])
    return p


def _speculate(p: Any, xllamacpp: Any, said: Mapping[str, Any]) -> None:
    kinds = xllamacpp.common_speculative_type
    if said["kind"] == "draft":
        p.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        p.speculative.draft.mparams.path = said["path"]
        p.speculative.draft.n_max = said["tokens"]
        for cores in (p.speculative.draft.cpuparams, p.speculative.draft.cpuparams_batch):  # else all, and eagerly
            cores.n_threads, cores.poll = p.cpuparams.n_threads, p.cpuparams.poll
    else:
        p.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        p.speculative.ngram_simple.size_n = said["match"]
        p.speculative.ngram_simple.size_m = said["tokens"]
        p.speculative.ngram_simple.min_hits = 1


def main() -> None:
    """Hold the model until stdin ends or the parent is gone."""
    voice = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what llama.cpp prints goes to stderr
    said: dict[str, Any] = msgspec.json.decode(sys.stdin.buffer.readline(), type=dict[str, Any])
    folder = os.path.dirname(said["socket"])
    network = cage.enter()  # before any thread
    threading.Thread(target=_end_with_parent, args=(os.getppid(), folder), daemon=True).start()
    try:
        import xllamacpp

        server = xllamacpp.Server(parameters(said))
    except (ImportError, OSError, RuntimeError, ValueError, MemoryError) as error:
        _written()
        voice.write(msgspec.json.encode({"failed": f"{type(error).__name__}: {error}".replace("\n", " ")}) + b"\n")
        os._exit(1)
    voice.write(msgspec.json.encode({"ready": True, "address": server.listening_address, "network": network}) + b"\n")
    threading.Event().wait()


def _written() -> None:
    """Wait until llama.cpp has written why: it does so in a thread of its own, which would end with this process."""
    from freehold.engines.gguf.ggml import library

    with contextlib.suppress(FreeholdError, AttributeError, OSError):  # no such library, or one with other names
        lib = library()
        log = lib._Z15common_log_mainv
        log.restype = ctypes.c_void_p
        lib._Z16common_log_flushP10common_log(ctypes.c_void_p(log()))


def _end_with_parent(parent: int, folder: str) -> None:
    stdin = sys.stdin.fileno()
    while True:
        if select.select([stdin], [], [], PARENT_CHECK)[0] and not os.read(stdin, 4096):
            break
        if os.getppid() != parent:
            break
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed did not
    os._exit(0)  # no clean-up of llama.cpp's: it would wait for calls under way


if __name__ == "__main__":
    main()
