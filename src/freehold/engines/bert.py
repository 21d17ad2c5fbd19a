"""BERT weights -> one ONNX graph in which a text's embedding never depends on its neighbours; no torch.

    input_ids [batch, length] int64, all texts of a batch equally long in tokens: no padding, so no mask
      word + position + type -> LayerNorm
      each layer:  x -> [Q|K|V] -> attention -> O -> +x LayerNorm -> up -> GELU -> down -> +x LayerNorm
      -> cls [batch, dim], mean [batch, dim], both of length 1, out of the same pass

A linear map in int8, with one scale per row (token) and one per output column:

    m = max |x|  per row       x/m in [-1, 1] -> uint8 (127 steps, zero at 128) -> uint8 x int8 sums, exact
    y = sums * weight scale / 127 * m

Weights use 64 steps each way, not 127: on a CPU without VNNI onnxruntime adds two products in 16 bits, and 2 * 255 * 64
still fits. So the sums are exact, and the same, on each CPU, at full speed.

The scale of a row comes from that row alone. The usual dynamic int8 takes one scale over the whole tensor, so that
there a neighbour or its padding moves the answer. Mean pooling is a product with a row of ones, not ReduceMean, whose
order of summation changes with the batch. Needs `onnx` (to build; not to run).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.errors import MissingExtra, StudentUnusable

__all__ = ["Graph", "Int8", "Weight", "bert_layers", "bert_onnx", "quantise", "transposed"]

Floats = npt.NDArray[np.float32]
MICROSOFT = "com.microsoft"
STEPS = 127  # of a row of activations, and of a table
WEIGHT_STEPS = 64


@dataclass(frozen=True, slots=True)
class Int8:
    """A weight in int8: value = q * scale (one scale per output column, or per row of a table)."""

    q: npt.NDArray[np.int8]
    scale: Floats

    @property
    def value(self) -> Floats:
        return np.asarray(self.q * self.scale, np.float32)


Weight = Floats | Int8


def quantise(weight: Floats, axis: int = 0, steps: int = WEIGHT_STEPS) -> Int8:
    """Symmetric int8: a scale per column of an [in, out] map (axis 0), or per row of a table (axis 1)."""
    scale = np.abs(weight).max(axis=axis, keepdims=True) / np.float32(steps)
    scale = np.where(scale == 0, np.float32(1), scale).astype(np.float32)
    q = np.clip(np.rint(weight / scale), -steps, steps).astype(np.int8)
    return Int8(q, scale)


def _int8(weight: Weight) -> Int8:
    return weight if isinstance(weight, Int8) else quantise(weight)


def transposed(weights: Mapping[str, Floats]) -> dict[str, Weight]:
    """Hugging Face's linear maps are [out, in]; `bert_onnx` takes [in, out]."""
    return {k: np.ascontiguousarray(w.T) if w.ndim == 2 and "embeddings" not in k else w for k, w in weights.items()}


class Graph:
    """Nodes and constants in the order they are added, so that the same weights make the same bytes."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra(
                "Making an ONNX encoder from safetensors needs the package onnx.", "pip install 'freehold[tune]'"
            ) from error
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        self.constants.setdefault(name, self.onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, op: str, inputs: list[str], outputs: int = 1, name: str = "", domain: str = "", **attrs: Any) -> Any:
        names = [name] if name else [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(op, inputs, names, domain=domain, **attrs))
        return names if outputs > 1 else names[0]

    def linear(self, x: str, weight: Weight, name: str) -> str:
        """x [.., in] times weight [in, out], int8 with a scale per row of x (drawn above)."""
        w = _int8(weight)
        last = self.constant("last_axis", np.array([-1], np.int64))
        peak = self.add("ReduceMax", [self.add("Abs", [x]), last], keepdims=1)
        step = self.constant("step", np.float32(1 / STEPS))
        zero = self.constant("zero", np.uint8(128))
        bits = self.add("QuantizeLinear", [self.add("Div", [x, peak]), step, zero])
        scale = self.constant(f"{name}.scale", w.scale.reshape(-1))
        sums = self.add("MatMulIntegerToFloat", [bits, self.constant(name, w.q), step, scale, zero], domain=MICROSOFT)
        return str(self.add("Mul", [sums, peak]))

    def table(self, ids: str, weight: Weight, name: str) -> str:
        """Rows of an int8 table, with a scale per row (or one for all)."""
        w = weight if isinstance(weight, Int8) else quantise(weight, axis=1, steps=STEPS)
        rows = self.add("Cast", [self.add("Gather", [self.constant(name, w.q), ids])], to=self.onnx.TensorProto.FLOAT)
        scale = self.constant(f"{name}.scale", w.scale)
        return str(self.add("Mul", [rows, self.add("Gather", [scale, ids]) if w.scale.size > 1 else scale]))

    def model(self, inputs: Mapping[str, list[str]], outputs: Mapping[str, list[str]]) -> bytes:
        """The bytes, given the shape of each input (int64) and output (float32)."""
        onnx, helper = self.onnx, self.onnx.helper
        ids = [helper.make_tensor_value_info(n, onnx.TensorProto.INT64, shape) for n, shape in inputs.items()]
        out = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "encoder", ids, out, list(self.constants.values()))
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return bytes(made.SerializeToString(deterministic=True))


def bert_onnx(weights: Mapping[str, Weight], *, heads: int, layers: int, epsilon: float = 1e-12) -> bytes:
    """The graph's bytes from weights under Hugging Face's BERT names (`encoder.layer.0.attention.self.query.weight`),
    linear maps as [in, out], floats or Int8. Same weights, same bytes."""
    graph = Graph()
    _pool(graph, bert_layers(graph, weights, heads=heads, layers=layers, epsilon=epsilon))
    return graph.model({"input_ids": ["batch", "length"]}, {"cls": ["batch", "dim"], "mean": ["batch", "dim"]})


def bert_layers(
    graph: Graph,
    weights: Mapping[str, Weight],
    *,
    heads: int,
    layers: int,
    epsilon: float,
    embedded: Callable[[str], str] = lambda x: x,
) -> str:
    """Embeddings and layers; the name of the hidden states [batch, length, dim]. `embedded` may add to the embeddings
    before their norm."""

    def vector(name: str) -> Floats:
        return np.asarray(_weight(weights, name), np.float32)

    def norm(x: str, name: str) -> str:
        parameters = [graph.constant(f"{name}.{p}", vector(f"{name}.{p}")) for p in ("weight", "bias")]
        return str(graph.add("LayerNormalization", [x, *parameters], axis=-1, epsilon=epsilon))

    def residual(x: str, y: str, linear: str, normed: str) -> str:
        biased = graph.add("Add", [y, graph.constant(f"{linear}.bias", vector(f"{linear}.bias"))])
        return norm(graph.add("Add", [biased, x]), normed)

    x = norm(embedded(_embeddings(graph, weights)), "embeddings.LayerNorm")
    for i in range(layers):
        at = f"encoder.layer.{i}"
        y = _attention(graph, weights, x, f"{at}.attention.self", heads)
        name = f"{at}.attention.output.dense"
        y = graph.linear(y, _weight(weights, f"{name}.weight"), name)
        x = residual(x, y, name, f"{at}.attention.output.LayerNorm")
        name = f"{at}.intermediate.dense"
        y = graph.linear(x, _weight(weights, f"{name}.weight"), name)
        bias = graph.constant(f"{name}.bias", vector(f"{name}.bias"))
        y = graph.add("BiasGelu", [y, bias], domain=MICROSOFT)
        name = f"{at}.output.dense"
        y = graph.linear(y, _weight(weights, f"{name}.weight"), name)
        x = residual(x, y, name, f"{at}.output.LayerNorm")
    return x


def _weight(weights: Mapping[str, Weight], name: str) -> Weight:
    if name not in weights:
        raise StudentUnusable(f"The encoder has no weight {name!r}.", "Only encoders of BERT's shape can be converted.")
    return weights[name]


def _embeddings(graph: Graph, weights: Mapping[str, Weight]) -> str:
    words = graph.table("input_ids", _weight(weights, "embeddings.word_embeddings.weight"), "words")
    position, kind = (_weight(weights, f"embeddings.{k}_embeddings.weight") for k in ("position", "token_type"))
    places = np.asarray(position, np.float32) + np.asarray(kind, np.float32)[0]  # a single text is all of type 0
    start = graph.constant("start", np.array([0], np.int64))
    length = graph.add("Shape", ["input_ids"], name="length", start=1, end=2)
    return str(graph.add("Add", [words, graph.add("Slice", [graph.constant("places", places), start, length, start])]))


def _attention(graph: Graph, weights: Mapping[str, Weight], x: str, at: str, heads: int) -> str:
    """Q, K and V as one product: x is quantised once, and one large product is faster than three."""
    parts = [_int8(_weight(weights, f"{at}.{part}.weight")) for part in ("query", "key", "value")]
    joined = Int8(np.concatenate([p.q for p in parts], 1), np.concatenate([p.scale for p in parts], 1))
    bias = np.concatenate([np.asarray(_weight(weights, f"{at}.{part}.bias")) for part in ("query", "key", "value")])
    y = graph.linear(x, joined, f"{at}.qkv")
    thirds = graph.constant("thirds", np.array([len(bias) // 3] * 3, np.int64))
    q, k, v = graph.add("Split", [y, thirds], 3, axis=-1)
    inputs = [q, k, v, graph.constant(f"{at}.qkv.bias", bias.astype(np.float32))]
    return str(graph.add("MultiHeadAttention", inputs, domain=MICROSOFT, num_heads=heads))


def _pool(graph: Graph, x: str) -> None:
    one = graph.constant("one", np.array([1], np.int64))
    shape = graph.add("Concat", [one, one, "length"], axis=0)
    ones = graph.add("ConstantOfShape", [shape], value=graph.onnx.numpy_helper.from_array(np.ones(1, np.float32)))
    total = graph.add("Squeeze", [graph.add("MatMul", [ones, x]), one])  # the mean's direction; its length is 1 anyway
    first = graph.add("Gather", [x, graph.constant("first", np.int64(0))], axis=1)
    graph.add("LpNormalization", [first], name="cls", axis=-1, p=2)
    graph.add("LpNormalization", [total], name="mean", axis=-1, p=2)
