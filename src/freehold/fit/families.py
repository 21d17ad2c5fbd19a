"""Families whose layers aren't those of `decoders`: each from its own published code, named at its function."""

from __future__ import annotations

from freehold.fit.architecture import Layer, Matrix, Stack, grouped
from freehold.fit.decoders import mla_of, windows
from freehold.fit.feeds import NOTHING, Feed, experts, gated, joined, plain
from freehold.fit.mixers import Part, gqa, kimi_delta, mamba, pooled
from freehold.fit.said import Said

__all__ = [
    "bert", "deepseek_v4", "falcon", "gemma4", "gpt_oss", "granite_hybrid", "kimi_linear", "llama4", "mimo_v2",
    "minimax_m3", "nemotron_h", "nemotron_layers", "nemotron_nas", "rwkv", "step3",
]  # fmt: skip


def _made(said: Said, d: int, layers: list[Layer], vectors: int, *, tied: bool = False, **more: object) -> Stack:
    ties = said.flag("tie_word_embeddings", tied)
    return Stack(said.kind, d, said.of("vocab_size"), grouped(layers), ties, vectors, **more)  # type: ignore[arg-type]


def gpt_oss(said: Said) -> Stack:
    """transformers, models/gpt_oss: biases on everything, a sink a head, every second layer a window."""
    d, count, head = said.of("hidden_size"), said.layers, said.of("head_dim")
    heads, kv = said.of("num_attention_heads"), said.of("num_key_value_heads")
    feed = experts(
        d, said.of("num_local_experts"), said.of("num_experts_per_tok", "experts_per_token"),
        said.of("intermediate_size"), router_bias=True, bias=True,
    )  # fmt: skip
    parts = [
        gqa(d, heads, kv, head, window=size, bias=True, out_bias=True, sinks=True) for size in windows(said, count, 2)
    ]
    return _made(said, d, [joined(part, feed, 2 * d) for part in parts], d)


def llama4(said: Said) -> Stack:
    """transformers, models/llama4: one expert beside a shared one in every `interleave_moe_layer_step`th layer; three
    layers of four see only their chunk."""
    d, count, f = said.of("hidden_size"), said.layers, said.of("intermediate_size")
    heads, step = said.of("num_attention_heads"), said.maybe("interleave_moe_layer_step") or 1
    sparse = experts(d, said.of("num_local_experts"), said.of("num_experts_per_tok"), f, shared=f)
    dense = gated(d, said.of("intermediate_size_mlp", "intermediate_size"))
    layers = []
    for i in range(count):
        chunk = 0 if (i + 1) % 4 == 0 else said.maybe("attention_chunk_size") or 0
        part = gqa(d, heads, said.of("num_key_value_heads"), said.maybe("head_dim") or d // heads, window=chunk)
        layers.append(joined(part, sparse if (i + 1) % step == 0 else dense, 2 * d))
    return _made(said, d, layers, d)


def gemma4(said: Said) -> Stack:
    """transformers, models/gemma4: wider heads in the full layers, where keys are values too; in the 26B an MLP and
    experts side by side; in E2B and E4B a table of embeddings a layer, and late layers that read earlier keys."""
    d, count = said.of("hidden_size"), said.layers
    small, late = said.maybe("hidden_size_per_layer_input") or 0, said.maybe("num_kv_shared_layers") or 0
    sizes = windows(said, count, 6)
    layers = []
    for i, size in enumerate(sizes):
        borrows = i >= count - late > 0
        part = _gemma4_attention(said, d, size, borrows=borrows)
        layers.append(joined(part, _gemma4_feed(said, d, borrows, small), 4 * d + 1))
    other: tuple[Matrix, ...] = ()
    vectors = d
    if small:
        wide = small * count
        other = (Matrix("layer_table", wide, said.of("vocab_size_per_layer_input")), Matrix("layer_in", d, wide))
        vectors += small
    return _made(said, d, layers, vectors, tied=True, other=other)


def _gemma4_attention(said: Said, d: int, window: int, *, borrows: bool) -> Part:
    heads, kv, head = said.of("num_attention_heads"), said.of("num_key_value_heads"), said.of("head_dim")
    shared = not window and said.flag("attention_k_eq_v")
    if not window:
        head = said.maybe("global_head_dim") or head
        kv = (said.maybe("num_global_key_value_heads") or kv) if shared else kv
    if borrows:
        return Part((Matrix("q", d, heads * head), Matrix("o", heads * head, d)), head, heads=heads)
    return gqa(d, heads, kv, head, window=window, norms=2 * head, shared=shared)


def _gemma4_feed(said: Said, d: int, borrows: bool, small: int) -> Feed:
    f = said.of("intermediate_size") * (2 if borrows and said.flag("use_double_wide_mlp") else 1)
    dense = gated(d, f)
    if small:
        extra = (Matrix("layer_gate", d, small), Matrix("layer_out", small, d))
        dense = dense._replace(matrices=dense.matrices + extra, vectors=dense.vectors + d)
    if not said.flag("enable_moe_block"):
        return dense
    count = said.of("num_experts")
    sparse = experts(d, count, said.of("top_k_experts"), said.of("moe_intermediate_size"))
    return sparse._replace(matrices=dense.matrices + sparse.matrices, vectors=count + d + 3 * d)


def falcon(said: Said) -> Stack:
    """transformers, models/falcon: attention and MLP side by side on one norm (two in the 40B and 180B), no gate."""
    d, count, heads = (
        said.of("hidden_size"),
        said.layers,
        said.of("num_attention_heads", "n_head"),
    )
    new = said.flag("new_decoder_architecture")
    kv = said.of("num_kv_heads", "n_head_kv") if new else 1 if said.flag("multi_query", True) else heads
    norms = (4 if new and said.maybe("num_ln_in_parallel_attn") != 1 else 2) * d
    norms = norms if said.flag("parallel_attn", True) else 4 * d
    bias = said.flag("bias")
    part = gqa(d, heads, kv, d // heads, fused=True, bias=bias, out_bias=bias)
    feed = plain(d, said.maybe("ffn_hidden_size") or 4 * d, bias=bias)
    return _made(said, d, [joined(part, feed, norms)] * count, 2 * d, tied=True)


def bert(said: Said) -> Stack:
    """An encoder (arXiv 1810.04805), with the pooler; it has no head and keeps nothing. Legal-BERT, MiniLM."""
    d, f, heads = said.of("hidden_size"), said.of("intermediate_size"), said.of("num_attention_heads")
    part = gqa(d, heads, heads, d // heads, bias=True, out_bias=True)._replace(kept=())
    rows = said.of("max_position_embeddings") + (said.maybe("type_vocab_size") or 2)
    layers = [joined(part, plain(d, f, bias=True), 4 * d)] * said.layers
    other = (Matrix("positions", d, rows), Matrix("pooler", d, d))
    return _made(said, d, layers, 3 * d, other=other, headless=True)


def rwkv(said: Said) -> Stack:
    """RWKV-4 (arXiv 2305.13048; transformers, models/rwkv): no attention, five numbers a channel and layer as state."""
    d, count = said.of("hidden_size"), said.layers
    a, f = said.maybe("attention_hidden_size") or d, said.maybe("intermediate_size") or 4 * d
    matrices = (
        Matrix("k", d, a), Matrix("v", d, a), Matrix("receptance", d, a), Matrix("o", a, d),
        Matrix("up", d, f), Matrix("feed_receptance", d, d), Matrix("down", f, d),
    )  # fmt: skip
    layer = Layer(matrices, 4 * d + 2 * a + 5 * d, state=5 * d)
    return _made(said, d, [layer] * count, 4 * d)


def nemotron_h(said: Said) -> Stack:
    """NVIDIA's modeling_nemotron_h: each layer is one thing, M Mamba-2, * attention, - an MLP, E experts."""
    layers = nemotron_layers(said, "hybrid_override_pattern", "layers_block_type")
    if not layers:
        raise said.wrong("hybrid_override_pattern")
    return _made(said, said.of("hidden_size"), layers, said.of("hidden_size"))


def nemotron_layers(said: Said, pattern: str, kinds: str) -> list[Layer]:
    """Those that `pattern` (letters) or `kinds` (words) names, in order."""
    d, make = said.of("hidden_size"), {"M": _mamba, "*": _alone, "-": _squared, "E": _latent}
    words = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}
    letters = str(said.config.get(pattern) or "") or "".join(
        words.get(str(kind), "?") for kind in said.config.get(kinds) or []
    )
    if set(letters) - set(make):
        raise said.wrong(pattern if said.config.get(pattern) else kinds)
    return [make[letter](said, d) for letter in letters]


def _mamba(said: Said, d: int) -> Layer:
    part = mamba(
        d, heads=said.of("mamba_num_heads"), head=said.of("mamba_head_dim"), groups=said.of("n_groups"),
        states=said.of("ssm_state_size"), kernel=said.of("conv_kernel"), conv_bias=said.flag("use_conv_bias", True),
    )  # fmt: skip
    return joined(part, NOTHING, d)


def _alone(said: Said, d: int) -> Layer:
    heads = said.of("num_attention_heads")
    head = said.maybe("head_dim", "attention_head_dim") or d // heads
    return joined(gqa(d, heads, said.of("num_key_value_heads"), head), NOTHING, d)


def _squared(said: Said, d: int) -> Layer:
    return joined(Part(()), plain(d, said.of("intermediate_size")), d)


def _latent(said: Said, d: int) -> Layer:
    feed = experts(
        d, said.of("n_routed_experts"), said.of("num_experts_per_tok"), said.of("moe_intermediate_size"),
        shared=said.of("moe_shared_expert_intermediate_size"), router_bias=True, gates=False,
        latent=said.maybe("moe_latent_size") or 0,
    )  # fmt: skip
    return joined(Part(()), feed, d)


def granite_hybrid(said: Said) -> Stack:
    """transformers, models/granitemoehybrid: Mamba-2 or attention, then experts and a shared MLP in every layer."""
    d, count = said.of("hidden_size"), said.layers
    heads, f, own = said.of("num_attention_heads"), said.of("intermediate_size"), said.of("shared_intermediate_size")
    looks = gqa(d, heads, said.of("num_key_value_heads"), d // heads)
    state = mamba(
        d, heads=said.of("mamba_n_heads"), head=said.of("mamba_d_head"), groups=said.of("mamba_n_groups"),
        states=said.of("mamba_d_state"), kernel=said.of("mamba_d_conv"), conv_bias=said.flag("mamba_conv_bias", True),
    )  # fmt: skip
    experts_of = said.maybe("num_local_experts")
    feed = experts(d, experts_of, said.of("num_experts_per_tok"), f, shared=own) if experts_of else gated(d, own)
    kinds = said.list("layer_types", count) or ["attention"] * count
    return _made(said, d, [joined(looks if kind == "attention" else state, feed, 2 * d) for kind in kinds], d)


def nemotron_nas(said: Said) -> Stack:
    """NVIDIA's modeling_decilm: a block has attention with its own groups or none, an MLP of its own width or none."""
    d, heads = said.of("hidden_size"), said.of("num_attention_heads")
    layers = []
    for block in said.parts("block_configs"):
        attention, ffn = block.part("attention"), block.part("ffn")
        part, norms = Part(()), 0
        if attention.flag("replace_with_linear"):
            part, norms = Part((Matrix("linear", d, d),)), d
        elif not attention.flag("no_op"):
            part, norms = gqa(d, heads, heads // attention.of("n_heads_in_group"), d // heads), d
        feed = NOTHING
        if ffn.flag("replace_with_linear"):
            feed, norms = Feed((Matrix("linear", d, d),)), norms + d
        elif not ffn.flag("no_op"):
            feed, norms = gated(d, _rounded(2 * ffn.factor("ffn_mult") * d / 3)), norms + d
        layers.append(joined(part, feed, norms))
    return _made(said, d, layers, d)


def _rounded(width: float) -> int:
    return (int(width) + 255) // 256 * 256


def deepseek_v4(said: Said) -> Stack:
    """transformers, models/deepseek_v4: one key and value head of 512, pooled caches, four residual streams
    (hyper-connections), the first layers' experts picked by a table of token ids."""
    d, count, streams = said.of("hidden_size"), said.layers, said.maybe("hc_mult") or 4
    ratios = said.counts("compress_ratios", count) or [0] * count
    feed = experts(
        d, said.of("n_routed_experts"), said.of("num_experts_per_tok"), said.of("moe_intermediate_size"),
        shared=(said.maybe("n_shared_experts") or 0) * said.of("moe_intermediate_size"),
    )  # fmt: skip
    mixed = (2 + streams) * streams
    around = 2 * d + 2 * (mixed * (streams * d + 1) + 3)
    hashed = said.maybe("num_hash_layers") or 0
    layers = []
    for i, ratio in enumerate(ratios):
        part = pooled(
            d, said.of("num_attention_heads"), said.of("head_dim"), ratio=ratio, q_rank=said.of("q_lora_rank"),
            o_rank=said.of("o_lora_rank"), o_groups=said.of("o_groups"), window=said.of("sliding_window"),
            index_heads=said.of("index_n_heads"), index_head=said.of("index_head_dim"),
        )  # fmt: skip
        table = said.of("vocab_size") * feed.chosen if i < hashed else feed.experts
        layers.append(joined(part, feed, around + table))
    return _made(said, d, layers, d + streams * (streams * d + 1) + 1)


def kimi_linear(said: Said) -> Stack:
    """Kimi-K3's published tensors: delta attention in three layers of four, MLA in the rest; experts on half the
    numbers; two more norms and rows a layer for what earlier blocks add."""
    d, count = said.of("hidden_size"), said.layers
    inner = said.part("linear_attn_config")
    full = set(inner.counts("full_attn_layers"))
    delta = kimi_delta(
        d, inner.of("num_heads"), inner.of("head_dim"), inner.of("short_conv_kernel_size"),
        full_gate=inner.flag("use_full_rank_gate"), decays=inner.of("head_dim"),
    )  # fmt: skip
    looks, f = mla_of(said, d, 1)[0], said.of("moe_intermediate_size")
    if inner.flag("use_full_rank_gate"):
        gate = Matrix("g", d, said.of("num_attention_heads") * said.of("v_head_dim"))
        looks = looks._replace(matrices=(*looks.matrices, gate))
    latent = said.maybe("routed_expert_hidden_size") or 0
    sparse = experts(
        d, said.of("num_experts"), said.of("num_experts_per_token"), f, router_bias=True, latent=latent,
        shared=(said.maybe("num_shared_experts") or 0) * f, latent_norm=said.flag("latent_moe_use_norm"),
    )  # fmt: skip
    dense, first = gated(d, said.of("intermediate_size")), said.maybe("first_k_dense_replace") or 0
    norms = 2 * d + (4 * d if said.maybe("attn_res_block_size") else 0)
    layers = [
        joined(looks if i + 1 in full else delta, sparse if i >= first else dense, norms) for i in range(count)
    ]  # fmt: skip
    return _made(said, d, layers, 3 * d if said.maybe("attn_res_block_size") else d)


def minimax_m3(said: Said) -> Stack:
    """vLLM, models/minimax_m3: GQA; in sparse layers an index of 4 queries and one key picks the blocks to read."""
    d, count, head = said.of("hidden_size"), said.layers, said.of("head_dim")
    sparse = said.part("sparse_attention_config")
    picks = sparse.list("sparse_attention_freq", count) or [0] * count
    dense = said.list("moe_layer_freq", count) or [1] * count
    kv, heads = said.of("num_key_value_heads"), said.of("num_attention_heads")
    feed = experts(
        d, said.of("num_local_experts"), said.of("num_experts_per_tok"), said.of("moe_intermediate_size"),
        shared=said.maybe("shared_intermediate_size") or 0, router_bias=said.flag("use_routing_bias"),
    )  # fmt: skip
    layers = []
    for pick, moe in zip(picks, dense, strict=True):
        part = gqa(d, heads, kv, head, norms=2 * head)
        if pick:
            wide = sparse.of("sparse_index_dim")
            index = (Matrix("index_q", d, sparse.of("sparse_num_index_heads") * wide), Matrix("index_k", d, wide))
            part = part._replace(matrices=part.matrices + index, vectors=part.vectors + 2 * wide)
        layers.append(joined(part, feed if moe else gated(d, said.of("dense_intermediate_size")), 2 * d))
    return _made(said, d, layers, d)


def mimo_v2(said: Said) -> Stack:
    """Xiaomi's modeling_mimo_v2_flash: value heads narrower than key heads; windows with more key heads and a sink."""
    d, count = said.of("hidden_size"), said.layers
    local = said.list("hybrid_layer_pattern", count) or [0] * count
    moe = said.list("moe_layer_freq", count) or [1] * count
    feed = experts(
        d, said.of("n_routed_experts"), said.of("num_experts_per_tok"), said.of("moe_intermediate_size"),
        shared=(said.maybe("n_shared_experts") or 0) * said.of("moe_intermediate_size"), router_bias=True,
    )  # fmt: skip
    layers = []
    for short, sparse in zip(local, moe, strict=True):
        name = "swa_" if short else ""
        part = gqa(
            d, said.of(f"{name}num_attention_heads"), said.of(f"{name}num_key_value_heads"),
            said.of(f"{name}head_dim"), value=said.of(f"{name}v_head_dim"),
            window=said.of("sliding_window") if short else 0,
            sinks=said.flag("add_swa_attention_sink_bias" if short else "add_full_attention_sink_bias"),
        )  # fmt: skip
        layers.append(joined(part, feed if sparse else gated(d, said.of("intermediate_size")), 2 * d))
    return _made(said, d, layers, d)


def step3(said: Said) -> Stack:
    """StepFun's modeling_step3p5: more query heads in the windows (where `attention_other_setting` says so), a gate a
    head, a shared expert beside the chosen ones."""
    d, count, head = said.of("hidden_size"), said.layers, said.of("head_dim")
    other = said.part("attention_other_setting")
    first = said.maybe("first_k_dense_replace") or 0
    feed = experts(
        d, said.of("num_experts", "moe_num_experts"), said.of("num_experts_per_tok", "moe_top_k"),
        said.of("moe_intermediate_size"), shared=said.maybe("share_expert_dim") or 0, router_bias=True,
    )  # fmt: skip
    layers = []
    for i, size in enumerate(windows(said, count)):
        heads = (other.maybe("num_attention_heads") if size else None) or said.of("num_attention_heads")
        kv = (other.maybe("num_attention_groups") if size else None) or said.of(
            "num_key_value_heads", "num_attention_groups"
        )
        part = gqa(d, heads, kv, head, window=size, norms=2 * head, gates=heads)
        layers.append(joined(part, feed if i >= first else gated(d, said.of("intermediate_size")), 2 * d))
    return _made(said, d, layers, d)
