"""Decoders whose layers are attention, then an MLP or experts: most of them. What they differ in is a row of PLAIN.

    "qwen3": Plain(qk="head")            norms of queries and keys, one weight a number of a head
    "phi": Plain(gated=False, ...)       one norm a layer, biases everywhere

MLA (DeepSeek, Kimi K2, GLM-5), gated DeltaNet (Qwen3-Next, Qwen3.5) and windows are read from their own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from freehold.fit.architecture import Stack, grouped
from freehold.fit.feeds import Feed, experts, gated, joined, plain
from freehold.fit.mixers import Part, delta, gqa, indexer, mla
from freehold.fit.said import Said

__all__ = ["PLAIN", "attention", "decoder", "feeds", "mla_of", "windows"]


@dataclass(frozen=True, slots=True)
class Plain:
    """`norms`: how many a layer; `width`: 1 with a weight, 2 with a bias as well, 0 without either. `qk`: norms of
    queries and keys, of a "head" or of "all" heads. `bias`: queries, keys, values have one unless the configuration
    says; `o_bias` likewise. `local`: of how many layers one looks at everything (0: as the configuration says)."""

    norms: int = 2
    width: int = 1
    qk: str = ""
    bias: bool = False
    o_bias: bool = False
    gated: bool = True
    feed_bias: bool = False
    head_bias: bool = False
    fused: bool = False
    tied: bool = False
    local: int = 0


PLAIN: dict[str, Plain] = {
    "llama": Plain(),
    "mistral": Plain(),
    "mixtral": Plain(),
    "granite": Plain(),
    "qwen2": Plain(bias=True),
    "qwen2_moe": Plain(bias=True),
    "mimo": Plain(bias=True),
    "qwen3": Plain(qk="head"),
    "qwen3_moe": Plain(qk="head"),
    "qwen3_vl": Plain(qk="head"),
    "qwen3_vl_moe": Plain(qk="head"),
    "qwen3_next": Plain(qk="head"),
    "qwen3_5": Plain(qk="head"),
    "qwen3_5_moe": Plain(qk="head"),
    "minimax_m2": Plain(qk="all"),
    "olmo": Plain(width=0),
    "olmo2": Plain(qk="all"),
    "olmo3": Plain(qk="all", local=4),
    "gemma": Plain(tied=True),
    "gemma2": Plain(norms=4, tied=True, local=2),
    "gemma3": Plain(norms=4, qk="head", tied=True, local=6),
    "phi": Plain(norms=1, width=2, bias=True, o_bias=True, gated=False, feed_bias=True, head_bias=True),
    "phi3": Plain(fused=True),
    "stablelm": Plain(width=2),
    "gpt_neox": Plain(width=2, bias=True, o_bias=True, gated=False, feed_bias=True, fused=True),
    "deepseek_v2": Plain(),
    "deepseek_v3": Plain(),
    "deepseek_v32": Plain(),
    "kimi_k2": Plain(),
    "glm4_moe": Plain(bias=True),
    "glm_moe_dsa": Plain(),
    "ministral3": Plain(),
    "mistral3": Plain(),
}
LINEAR = ("linear_attention", "linear")


def decoder(said: Said, *, known: bool) -> Stack:
    """Raises BadSetting where a number is missing."""
    kind, d = PLAIN.get(said.kind.removesuffix("_text"), Plain()), said.of("hidden_size", "n_embd", "d_model")
    count = said.layers
    mixers, feed = _mixers(said, kind, d, count), feeds(said, kind, d, count)
    norms = kind.norms * kind.width * d
    layers = [joined(mixer, each, norms) for mixer, each in zip(mixers, feed, strict=True)]
    vocabulary = said.of("vocab_size")
    last = max(kind.width, 0) * d + (vocabulary if kind.head_bias else 0)
    return Stack(
        said.kind or "unknown", d, vocabulary, grouped(layers), said.flag("tie_word_embeddings", kind.tied), last,
        known=known,
    )  # fmt: skip


def windows(said: Said, count: int, local: int = 0) -> list[int]:
    """Each layer's window in tokens, 0 where it sees all: from `layer_types`, else from every how manieth is full."""
    size = said.maybe("sliding_window", "sliding_window_size") or 0
    if not size or not said.flag("use_sliding_window", True):
        return [0] * count
    types = said.list("layer_types", count)
    if types:
        return [size if "sliding" in str(kind) or "local" in str(kind) else 0 for kind in types]
    every = said.maybe("sliding_window_pattern") or local
    return [0 if every and (i + 1) % every == 0 else size for i in range(count)]


def _mixers(said: Said, kind: Plain, d: int, count: int) -> list[Part]:
    if said.maybe("kv_lora_rank"):
        return mla_of(said, d, count)
    full = _full(said, count)
    sizes = windows(said, count, kind.local)
    return [
        attention(said, kind, d, size) if whole else _delta(said, d) for whole, size in zip(full, sizes, strict=True)
    ]


def _full(said: Said, count: int) -> list[bool]:
    """Which layers have attention, and not a recurrent state."""
    if not said.maybe("linear_num_value_heads"):
        return [True] * count
    types = said.list("layer_types", count)
    every = said.maybe("full_attention_interval") or 4
    return [kind not in LINEAR for kind in types] if types else [(i + 1) % every == 0 for i in range(count)]


def attention(said: Said, kind: Plain, d: int, window: int) -> Part:
    heads = said.of("num_attention_heads", "n_head")
    kv = said.maybe("num_key_value_heads") or heads
    head = said.maybe("head_dim", "attention_head_dim") or d // heads
    qk = kind.qk or ("head" if said.kind == "glm4_moe" and said.flag("use_qk_norm") else "")
    norms = {"head": 2 * head, "all": (heads + kv) * head, "": 0}[qk]
    asked = said.flag("attention_bias", kind.bias) or said.flag("use_qkv_bias") or said.flag("qkv_bias")
    plain_bias = said.kind in ("llama", "mistral", "granite", "qwen3") and said.flag("attention_bias")
    return gqa(
        d, heads, kv, head, window=window, bias=asked, out_bias=kind.o_bias or plain_bias, norms=norms,
        gated=said.flag("attn_output_gate", bool(said.maybe("linear_num_value_heads"))), fused=kind.fused,
    )  # fmt: skip


def _delta(said: Said, d: int) -> Part:
    return delta(
        d, k_heads=said.of("linear_num_key_heads"), v_heads=said.of("linear_num_value_heads"),
        k_head=said.of("linear_key_head_dim"), v_head=said.of("linear_value_head_dim"),
        kernel=said.maybe("linear_conv_kernel_dim") or 4,
    )  # fmt: skip


def mla_of(said: Said, d: int, count: int) -> list[Part]:
    """MLA layers, with DeepSeek's indexer in those that have one of their own."""
    heads, q_rank = said.of("num_attention_heads"), said.maybe("q_lora_rank") or 0
    rope, nope = said.of("qk_rope_head_dim"), said.of("qk_nope_head_dim")
    part = mla(
        d, heads, q_rank=q_rank, kv_rank=said.of("kv_lora_rank"), nope=nope, rope=rope, value=said.of("v_head_dim")
    )
    index = said.maybe("index_n_heads")
    if not index:
        return [part] * count
    own = said.list("indexer_types", count) or ["full"] * count
    looks = part.plus(indexer(d, q_rank, index, said.of("index_head_dim")))
    return [looks if kind == "full" else part for kind in own]


def feeds(said: Said, kind: Plain, d: int, count: int) -> list[Feed]:
    """A dense half for the layers that are said to be dense, experts for the rest."""
    if not said.maybe("num_experts", "n_routed_experts", "num_local_experts"):
        f = said.of("intermediate_size", "n_inner", "ffn_dim")
        bias = kind.feed_bias or said.flag("mlp_bias")
        return [(gated if kind.gated else plain)(d, f, bias=bias)] * count
    return [_experts(said, d) if sparse else gated(d, _dense_width(said)) for sparse in _sparse(said, count)]


def _dense_width(said: Said) -> int:
    return said.of("dense_intermediate_size", "intermediate_size")


def _sparse(said: Said, count: int) -> list[bool]:
    types, freq = said.list("mlp_layer_types", count), said.list("moe_layer_freq", count)
    if types:
        return [kind != "dense" for kind in types]
    if freq:
        return [bool(each) for each in freq]
    first, dense = said.maybe("first_k_dense_replace") or 0, said.counts("mlp_only_layers")
    step = said.maybe("decoder_sparse_step", "moe_layer_freq", least=1) or 1
    return [i >= first and i not in dense and (first > 0 or (i + 1) % step == 0) for i in range(count)]


def _experts(said: Said, d: int) -> Feed:
    f = said.of("moe_intermediate_size", "intermediate_size")
    shared = said.maybe("shared_expert_intermediate_size", "shared_intermediate_size")
    if shared is None:
        shared = (said.maybe("n_shared_experts", "num_shared_experts") or 0) * f
    return experts(
        d, said.of("num_experts", "n_routed_experts", "num_local_experts"),
        said.of("num_experts_per_tok", "num_experts_per_token"), f, shared=shared,
        shared_gate="qwen" in said.kind,
        router_bias=said.config.get("topk_method") == "noaux_tc" or said.flag("use_routing_bias")
        or said.kind == "glm4_moe",
    )  # fmt: skip
