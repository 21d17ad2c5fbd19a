"""What a model is made of, read from its configuration: counts, what a token reads, what it leaves in the cache."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.errors import BadSetting
from freehold.fit import Architecture, active, cache_bytes, experts_touched, flop, lora_parameters, parameters, touched

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}  # fmt: skip
MIXTRAL = LLAMA | {"model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2}
NAS = {"model_type": "nemotron-nas", "hidden_size": 64, "vocab_size": 9, "num_attention_heads": 4}
DEEPSEEK: dict[str, Any] = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "first_k_dense_replace": 3, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
    "topk_method": "noaux_tc", "num_nextn_predict_layers": 1, "tie_word_embeddings": False,
}  # fmt: skip
QWEN35: dict[str, Any] = {
    "model_type": "qwen3_5", "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_5_text", "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 64,
        "num_attention_heads": 24, "num_key_value_heads": 4, "head_dim": 256, "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": 48, "linear_value_head_dim": 128, "vocab_size": 248320, "mtp_num_hidden_layers": 1,
    },
    "vision_config": {
        "model_type": "qwen3_5", "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "in_channels": 3,
        "num_position_embeddings": 2304, "out_hidden_size": 5120, "patch_size": 16, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}  # fmt: skip
GPT_OSS: dict[str, Any] = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24, "head_dim": 64,
    "num_attention_heads": 64, "num_key_value_heads": 8, "num_local_experts": 32, "num_experts_per_tok": 4,
    "sliding_window": 128, "vocab_size": 201088, "tie_word_embeddings": False, "attention_bias": True,
}  # fmt: skip


def test_a_mixture_of_experts_holds_all_and_reads_some() -> None:
    a = Architecture.of(MIXTRAL)
    assert (parameters(a), active(a)) == (46_702_792_704, 12_879_925_248)
    assert touched(a, 1) == active(a)
    assert active(a) < touched(a, 4) < touched(a, 32) < parameters(a)
    assert [round(experts_touched(8, 2, streams), 1) for streams in (1, 4, 8, 16)] == [2.0, 5.5, 7.2, 7.9]
    assert [round(experts_touched(256, 8, s), 1) for s in (1, 4, 8, 16, 32)] == [8.0, 30.5, 57.4, 102.0, 163.3]


def test_mla_with_dense_first_layers_and_a_shared_expert() -> None:
    a = Architecture.of(DEEPSEEK)
    assert parameters(a) == 671_026_419_200
    assert parameters(a) + dict(a.beside)["mtp"] == 684_489_845_504
    assert round(active(a) / 1e9, 1) == 37.6
    assert cache_bytes(a, 1) == 70_272
    index = Architecture.of(DEEPSEEK | {"model_type": "deepseek_v32", "index_n_heads": 64, "index_head_dim": 128})
    assert parameters(index) + dict(index.beside)["mtp"] == 685_355_329_792
    assert cache_bytes(index, 1) == 70_272 + 61 * 128 * 2


def test_a_hybrid_keeps_a_state_and_the_cache_of_its_full_layers() -> None:
    a = Architecture.of(QWEN35)
    assert parameters(a) == 26_895_998_464
    assert sum(size for _, size in a.beside) == 27_781_427_952 - 26_895_998_464
    grows = cache_bytes(a, 2000) - cache_bytes(a, 1000)
    assert grows == 1000 * 16 * 2 * 4 * 256 * 2
    assert cache_bytes(a, 0) == 48 * 4 * (48 * 128 * 128 + (2 * 16 * 128 + 48 * 128) * 3)


def test_windows_stop_growing() -> None:
    a = Architecture.of(GPT_OSS)
    assert parameters(a) == 20_914_757_184
    token = 2 * 8 * 64 * 2
    assert cache_bytes(a, 128) == 24 * 128 * token
    assert cache_bytes(a, 1128) == 12 * 128 * token + 12 * 1128 * token
    assert cache_bytes(a, 1128, bits=8.5) == pytest.approx(cache_bytes(a, 1128) * 8.5 / 16, abs=1)
    gemma = LLAMA | {"model_type": "gemma3", "sliding_window": 1024, "num_hidden_layers": 12}
    full = [layer.kept[0].window for times, layer in Architecture.of(gemma).layers for _ in range(times)].count(0)
    assert full == 2, "one of six sees everything"


def test_the_cache_of_plain_attention_and_the_work_of_a_token() -> None:
    a = Architecture.of(LLAMA)
    assert cache_bytes(a, 1) == 131_072
    assert cache_bytes(Architecture.of(LLAMA | {"num_key_value_heads": 32, "intermediate_size": 11008}), 1) == 524_288
    assert flop(a, 1) == 2 * parameters(a)
    assert flop(a, 10, 8192) == 10 * (2 * parameters(a) + 4 * 32 * 4096 * 8192)
    assert lora_parameters(a, 16) == 41_943_040


def test_biases_tied_heads_and_an_encoder() -> None:
    tied = Architecture.of(LLAMA | {"tie_word_embeddings": True})
    assert parameters(Architecture.of(LLAMA)) - parameters(tied) == 4096 * 128256
    biased = Architecture.of(LLAMA | {"model_type": "qwen2"})
    assert parameters(biased) - parameters(Architecture.of(LLAMA)) == 32 * (4096 + 2 * 1024)
    bert = Architecture.of({
        "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512,
    })  # fmt: skip
    assert (parameters(bert), cache_bytes(bert, 512)) == (109_482_240, 0)


def test_an_unknown_kind_with_the_usual_names_is_read_and_said() -> None:
    a = Architecture.of(LLAMA | {"model_type": "brand_new"})
    assert not a.known
    assert parameters(a) == 8_030_261_248
    assert Architecture.of(LLAMA).known


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, r"config.json isn't a language model's: it has no hidden_size\."),
        ({"tokenizer_class": "LlamaTokenizer", "vocab_size": 32000}, "it has no hidden_size"),
        ({"peft_type": "LORA", "r": 16}, "it has no hidden_size"),
        (LLAMA | {"num_hidden_layers": -1}, "num_hidden_layers in config.json is '-1'"),
        (LLAMA | {"num_hidden_layers": "many"}, "'many'; a count was looked for"),
        (LLAMA | {"hidden_size": 10**12}, "hidden_size"),
        (LLAMA | {"vocab_size": None}, "it has no vocab_size"),
        (DEEPSEEK | {"mlp_layer_types": ["dense"]}, "mlp_layer_types in config.json has 1 values for 61 layers"),
        ({"model_type": "nemotron_h", "hidden_size": 64, "vocab_size": 9, "hybrid_override_pattern": "MXM"}, "'MXM'"),
        ({"model_type": "nemotron_h", "hidden_size": 64, "vocab_size": 9}, "hybrid_override_pattern"),
        ({"model_type": "nemotron-nas", "hidden_size": 64, "vocab_size": 9}, "num_attention_heads"),
        (NAS, "block_configs"),
        (NAS | {"block_configs": [{"attention": 3, "ffn": {}}]}, "attention in config.json is '3'"),
        (NAS | {"block_configs": [{"attention": {"no_op": True}, "ffn": {"ffn_mult": "x"}}]}, "ffn_mult"),
        (LLAMA | {"hidden_size": float("inf")}, "hidden_size in config.json is 'inf'"),
        (LLAMA | {"hidden_size": float("nan")}, "hidden_size in config.json is 'nan'"),
        (LLAMA | {"num_hidden_layers": 10**9}, "num_hidden_layers in config.json is '1000000000'"),
        (MIXTRAL | {"num_experts_per_tok": 9}, "picks more experts a token than there are"),
        (MIXTRAL | {"mlp_only_layers": 5}, "mlp_only_layers"),
    ],
)
def test_a_configuration_that_isnt_a_models_is_one_sentence(config: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as caught:
        Architecture.of(config)
    assert caught.value.exit_code == 2


def test_what_isnt_an_object_is_said_with_its_place() -> None:
    with pytest.raises(BadSetting, match=r"config\.json in models/x isn't a JSON object"):
        Architecture.of([1, 2], "models/x")  # type: ignore[arg-type]


def test_a_tower_that_is_not_told_does_not_hide_the_text_part() -> None:
    found = Architecture.of({"model_type": "x", "text_config": LLAMA, "vision_config": {"model_type": "qwen3_vl"}})
    assert (dict(found.beside), parameters(found)) == ({"vision": 0}, parameters(Architecture.of(LLAMA)))
