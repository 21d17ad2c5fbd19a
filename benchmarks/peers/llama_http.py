"""llama.cpp's own HTTP server on a TCP port, as xllamacpp brings it: nothing of freehold's between it and its client.

python llama_http.py '{"model", "port", "context", "slots", "threads"}'   -> a line on stdout once it listens
"""

from __future__ import annotations

import json
import os
import sys
import threading

import xllamacpp


def main() -> None:
    voice = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    said = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = said["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = said["port"]
    params.n_ctx = said["context"] * said["slots"]
    params.n_parallel = said["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = said["threads"]
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(json.dumps({"listening": str(server.listening_address)}), file=voice)
    threading.Event().wait()


if __name__ == "__main__":
    main()
