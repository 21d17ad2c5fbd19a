"""Runs inside TRACER's own environment: fits its routers on one split and routes the split's test calls.

    stdin   {"embeddings": [paths of .npy], "texts": [...], "labels": [...], "log": [indices], "test": [indices],
             "bars": [...], "max_fit_labels": 8000, "skip": [candidate names], "folder": "where its artefacts go"}
    stdout  {"bars": {"0.95": {"certified", "kept", "agreement", "kept_router", "agreement_router", "method", "model"}}}

Only TRACER's public path decides: `tracer.fit(target)`, then `tracer.load_router` and its own threshold.
`kept` counts what its parity gate accepts, `kept_router` what its router hands out: the same less the calls that
its distance check defers. Its three builders and each target train the very same seeded classifiers on the very same
rows, so those fits are kept and reused: the figures are the same (`--check` proves it), the cost a ninth.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tracer.api  # heals `tracer.fit`, which the package of that name shadows
from tracer.fit import pipeline


def reuse_equal_fits() -> None:
    """Train equal classifiers on equal rows once: every candidate has a fixed random_state."""
    search = pipeline.search_best_surrogate
    done: dict[str, Any] = {}

    def once(X_train: Any, y_train: Any, X_val: Any, y_val: Any, on_candidate: Any = None, skip: Any = ()) -> Any:
        digest = hashlib.blake2b(repr(tuple(skip)).encode())
        for array in (X_train, y_train, X_val, y_val):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        key = digest.hexdigest()
        if key not in done:
            done[key] = search(X_train, y_train, X_val, y_val, on_candidate=on_candidate, skip=skip)
        return done[key]

    pipeline.search_best_surrogate = once


def route(folder: Path, X: Any, truth: list[str]) -> dict[str, Any]:
    """What the fitted router does with the test calls; nothing kept where its gate deployed nothing."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["selected_method"] is None:
        return {"certified": 0.0, "kept": 0.0, "agreement": None, "kept_router": 0.0, "agreement_router": None}
    router = tracer.load_router(folder)
    routed = router.predict_batch(X)
    names = router.manifest.label_space
    preds, gate, _ = pipeline.route_pipeline(router._stages, X)
    right = np.array([names[int(p)] == t if p >= 0 else False for p, t in zip(preds, truth, strict=True)])
    handled = np.asarray(routed["handled"])
    return {
        "certified": manifest["coverage_cal"],
        "kept": float(gate.mean()),
        "agreement": float(right[gate].mean()) if gate.any() else None,
        "kept_router": float(handled.mean()),
        "agreement_router": float(right[handled].mean()) if handled.any() else None,
        "method": manifest["selected_method"],
        "model": router._stages[0]["model_name"],
    }


def fit_and_route(job: dict[str, Any], X: Any, bar: float) -> dict[str, Any]:
    folder = Path(job["folder"]) / f"{bar:.2f}"
    folder.mkdir(parents=True, exist_ok=True)
    log, test = np.array(job["log"]), np.array(job["test"])
    traces = folder / "traces.jsonl"
    traces.write_text("".join(json.dumps({"input": job["texts"][i], "teacher": job["labels"][i]}) + "\n" for i in log))
    config = tracer.FitConfig(
        target_teacher_agreement=bar,
        frontier_targets=(bar,),
        max_fit_labels=job["max_fit_labels"],
        skip_candidates=tuple(job["skip"]),
        verbose=job.get("verbose", False),
    )
    tracer.api.fit(traces, folder, embeddings=X[log], config=config)
    return route(folder, X[test], [job["labels"][i] for i in test])


def main() -> None:
    job = json.load(sys.stdin)
    if "--check" not in sys.argv:
        reuse_equal_fits()
    X = np.concatenate([np.load(path) for path in job["embeddings"]], axis=1)
    bars = {f"{bar:.2f}": fit_and_route(job, X, bar) for bar in job["bars"]}
    json.dump({"bars": bars}, sys.stdout)


if __name__ == "__main__":
    main()
