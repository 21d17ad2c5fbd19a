"""The half of a layer that looks at other tokens, one function a kind: what it is made of, what it keeps of them.

gqa     H query heads over K key heads (MHA: K = H); a window; a gate on the output       2 K h numbers a token
mla     queries and keys through low ranks (DeepSeek-V2, arXiv 2405.04434)                kv_lora + h_rope
delta   gated delta rule (Qwen3-Next, Qwen3.5), Kimi's delta attention                    a state of H h_k h_v
mamba   Mamba-2 as in Nemotron-H (arXiv 2504.03624)                                       a state of H h n
pooled  DeepSeek-V4: a window, older tokens pooled 4 or 128 into one                    h a token, later h / 4, h / 128

Each gives a Part, which `read` joins with a feed-forward half (`feed`).
"""

from __future__ import annotations

from typing import NamedTuple

from freehold.fit.architecture import Kept, Matrix

__all__ = ["Part", "delta", "gqa", "indexer", "kimi_delta", "mamba", "mla", "pooled"]


class Part(NamedTuple):
    matrices: tuple[Matrix, ...]
    vectors: int = 0
    kept: tuple[Kept, ...] = ()
    state: int = 0
    heads: int = 0

    def plus(self, other: Part) -> Part:
        return Part(
            self.matrices + other.matrices,
            self.vectors + other.vectors,
            self.kept + other.kept,
            self.state + other.state,
            max(self.heads, other.heads),
        )


def gqa(
    d: int,
    heads: int,
    kv: int,
    head: int,
    *,
    value: int = 0,
    window: int = 0,
    bias: bool = False,
    out_bias: bool = False,
    norms: int = 0,
    gated: bool = False,
    sinks: bool = False,
    shared: bool = False,
    fused: bool = False,
    gates: int = 0,
) -> Part:
    """`value`: width of a value head where it isn't a key head's. `gated`: the query layer makes a gate as well.
    `shared`: the keys are the values too (no value layer). `fused`: one matrix for all three. `gates`: one number a
    head that the output is multiplied with. `norms`: weights of the norms of queries and keys."""
    v = value or head
    made = (heads * head * (2 if gated else 1), kv * head, 0 if shared else kv * v)
    wide = (Matrix("qkv", d, sum(made)),) if fused else tuple(
        Matrix(role, d, out) for role, out in zip("qkv", made, strict=True) if out
    )  # fmt: skip
    vectors = (sum(made) if bias else 0) + (d if out_bias else 0) + norms + (heads if sinks else 0)
    gate = (Matrix("attention_gate", d, gates),) if gates else ()
    return Part((*wide, *gate, Matrix("o", heads * v, d)), vectors, (Kept(kv * (head + v), window),), heads=heads)


def mla(d: int, heads: int, *, q_rank: int, kv_rank: int, nope: int, rope: int, value: int) -> Part:
    """d r_q + r_q H (n + r) + d (r_kv + r) + r_kv H (n + v) + H v d; the cache holds r_kv + r a token."""
    inputs = q_rank or d
    first = (Matrix("q_a", d, q_rank),) if q_rank else ()
    matrices = (
        *first,
        Matrix("q", inputs, heads * (nope + rope)),
        Matrix("kv_a", d, kv_rank + rope),
        Matrix("kv_b", kv_rank, heads * (nope + value)),
        Matrix("o", heads * value, d),
    )
    return Part(matrices, q_rank + kv_rank, (Kept(kv_rank + rope),), heads=heads)


def indexer(d: int, q_rank: int, heads: int, head: int) -> Part:
    """DeepSeek's lightning indexer (V3.2): which tokens attention will read. It keeps a key a token of its own."""
    matrices = (Matrix("index_q", q_rank, heads * head), Matrix("index_k", d, head), Matrix("index_weights", d, heads))
    return Part(matrices, 2 * head, (Kept(head),))


def delta(d: int, *, k_heads: int, v_heads: int, k_head: int, v_head: int, kernel: int) -> Part:
    """Gated DeltaNet: q, k, v and the gate z in one matrix, two numbers a value head in another."""
    keys, values = k_heads * k_head, v_heads * v_head
    convolved = 2 * keys + values
    matrices = (
        Matrix("qkv", d, convolved),
        Matrix("z", d, values),
        Matrix("ba", d, 2 * v_heads),
        Matrix("o", values, d),
    )
    vectors = convolved * kernel + 2 * v_heads + v_head
    return Part(matrices, vectors, state=v_heads * k_head * v_head + convolved * (kernel - 1), heads=v_heads)


def kimi_delta(d: int, heads: int, head: int, kernel: int, *, full_gate: bool, decays: int) -> Part:
    """Kimi delta attention (Kimi Linear, arXiv 2510.26692): a decay for each channel, through a low rank."""
    wide = heads * head
    gate = (Matrix("g", d, wide),) if full_gate else (Matrix("g_a", d, head), Matrix("g_b", head, wide))
    matrices = (
        Matrix("q", d, wide), Matrix("k", d, wide), Matrix("v", d, wide), Matrix("f_a", d, head),
        Matrix("f_b", head, wide), Matrix("b", d, heads), *gate, Matrix("o", wide, d),
    )  # fmt: skip
    vectors = 3 * wide * kernel + decays + wide + head
    return Part(matrices, vectors, state=heads * head * head + 3 * wide * (kernel - 1), heads=heads)


def mamba(d: int, *, heads: int, head: int, groups: int, states: int, kernel: int, conv_bias: bool) -> Part:
    inner = heads * head
    convolved = inner + 2 * groups * states
    matrices = (Matrix("ssm_in", d, inner + convolved + heads), Matrix("ssm_out", inner, d))
    vectors = convolved * (kernel + (1 if conv_bias else 0)) + 3 * heads + inner
    return Part(matrices, vectors, state=inner * states + convolved * (kernel - 1), heads=heads)


def pooled(
    d: int, heads: int, head: int, *, ratio: int, q_rank: int, o_rank: int, o_groups: int, window: int,
    index_heads: int, index_head: int,
) -> Part:  # fmt: skip
    """DeepSeek-V4: one head that is key and value; `ratio` tokens pooled into one (0: the window alone). With 4 to 1
    the windows overlap, so the pool is twice as wide, and an indexer picks which pooled tokens are read."""
    matrices = [
        Matrix("q_a", d, q_rank), Matrix("q", q_rank, heads * head), Matrix("kv", d, head),
        Matrix("o_a", heads * head // o_groups, o_groups * o_rank), Matrix("o", o_groups * o_rank, d),
    ]  # fmt: skip
    vectors, kept = q_rank + head + heads, [Kept(head, window)]
    twice = 2 if ratio == 4 else 1
    pools = [(head, "pool")] * (ratio > 0) + [(index_head, "index_pool")] * (ratio == 4)
    for width, role in pools:
        matrices += [Matrix(role, d, twice * width), Matrix(f"{role}_gate", d, twice * width)]
        vectors += ratio * twice * width + width
        kept.append(Kept(width, every=ratio))
    if ratio == 4:
        matrices += [Matrix("index_q", q_rank, index_heads * index_head), Matrix("index_weights", d, index_heads)]
    return Part(tuple(matrices), vectors, tuple(kept), heads=heads)
