"""A tagger's encoder as an ONNX graph: hidden states out, a word's writing in; no torch.

    input_ids, shape_ids [batch, length] int64, all texts of a batch equally long in tokens: no padding, no mask
      -> hidden [batch, length, dim]

int8: as bert.py draws it, a scale per row, so that a text's numbers never depend on its neighbours.
float: plain products, whose order of summation may change with the batch: the student runs each text alone.
Needs `onnx` (to build; not to run).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from freehold.engines.bert import Graph, Int8, Weight, bert_layers

__all__ = ["tagger_onnx"]

Floats = npt.NDArray[np.float32]


class _Float(Graph):
    """The same graph without rounding."""

    def linear(self, x: str, weight: Weight, name: str) -> str:
        return str(self.add("MatMul", [x, self.constant(name, _float(weight))]))

    def table(self, ids: str, weight: Weight, name: str) -> str:
        return str(self.add("Gather", [self.constant(name, _float(weight)), ids]))


def _float(weight: Weight) -> Floats:
    return weight.value if isinstance(weight, Int8) else np.asarray(weight, np.float32)


def tagger_onnx(
    weights: Mapping[str, Weight], shapes: Floats, *, heads: int, layers: int, epsilon: float, int8: bool
) -> bytes:
    """The graph's bytes; `weights` as `bert_onnx` takes them, `shapes` [kinds of writing, dim]."""
    graph = Graph() if int8 else _Float()

    def written(x: str) -> str:
        return str(graph.add("Add", [x, graph.add("Gather", [graph.constant("shapes", shapes), "shape_ids"])]))

    x = bert_layers(graph, weights, heads=heads, layers=layers, epsilon=epsilon, embedded=written)
    graph.add("Identity", [x], name="hidden")
    each = ["batch", "length"]
    return graph.model({"input_ids": each, "shape_ids": each}, {"hidden": [*each, "dim"]})
