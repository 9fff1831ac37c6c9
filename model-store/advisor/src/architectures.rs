//! The table of architectures: which `model_type` is read how. Defaults are those of transformers' configuration classes, which vLLM and
//! SGLang use.

use super::architecture::{Architecture, Mixers, Windows};

const PLAIN: Architecture = Architecture {
    types: &[],
    classes: &[],
    family: "",
    tied: false,
    gated: true,
    positions: false,
    defaults: &[],
    reads: &[],
    windows: Windows::No,
    mixers: Mixers::Grouped,
};

const WINDOW: &[&str] = &["sliding_window"];
const LATE: &[&str] = &["sliding_window", "use_sliding_window", "max_window_layers"];
const PATTERN: &[&str] = &["sliding_window", "sliding_window_pattern"];
const QWEN_EXPERTS: &[&str] = &[
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "decoder_sparse_step",
    "mlp_only_layers",
];
const DEEPSEEK_EXPERTS: &[&str] = &[
    "n_routed_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "n_shared_experts",
    "first_k_dense_replace",
    "moe_layer_freq",
];
const LOCAL_EXPERTS: &[&str] = &["num_local_experts", "num_experts_per_tok"];
const LATENT: &[&str] = &[
    "kv_lora_rank",
    "q_lora_rank",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "qk_head_dim",
    "v_head_dim",
];
const INDEXER: &[&str] = &[
    "index_n_heads",
    "index_head_dim",
    "index_topk",
    "indexer_types",
    // With a list of the indexers these say nothing more; without one they are not understood.
    "index_topk_freq",
    "index_skip_topk_offset",
    "index_topk_pattern",
    "index_share_for_mtp_iteration",
    "indexer_rope_interleave",
];
const DELTA: &[&str] = &[
    "full_attention_interval",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_conv_kernel_dim",
    "attn_output_gate",
    "mamba_ssm_dtype",
];
const MAMBA2: &[&str] = &[
    "mamba_n_heads",
    "mamba_d_head",
    "mamba_n_groups",
    "mamba_d_state",
    "mamba_d_conv",
    "mamba_expand",
    "mamba_d_ssm",
    "mamba_chunk_size",
    "mamba_norm_before_gate",
    "mamba_rms_norm",
    "mamba_ssm_cache_dtype",
    "mamba_use_mlp",
];

const LLAMA: Architecture = Architecture {
    types: &["llama", "aquila", "code_llama"],
    classes: &["LLaMAForCausalLM", "LlamaForCausalLM", "AquilaModel"],
    family: "llama",
    defaults: &[
        ("hidden_size", 4096),
        ("num_hidden_layers", 32),
        ("num_attention_heads", 32),
        ("intermediate_size", 11008),
        ("vocab_size", 32000),
        ("max_position_embeddings", 2048),
    ],
    ..PLAIN
};
const QWEN2: Architecture = Architecture {
    types: &[
        "qwen2",
        "qwen2_vl",
        "qwen2_vl_text",
        "qwen2_5_vl",
        "qwen2_5_vl_text",
        "qwen2_5_omni_text",
        "qwen2_5_omni_thinker",
    ],
    classes: &["Qwen2_5_VLForConditionalGeneration"],
    family: "qwen",
    defaults: &[
        ("hidden_size", 4096),
        ("num_hidden_layers", 32),
        ("num_attention_heads", 32),
        ("num_key_value_heads", 32),
        ("intermediate_size", 22016),
        ("vocab_size", 151_936),
        ("max_position_embeddings", 32768),
        ("max_window_layers", 28),
        ("sliding_window", 4096),
    ],
    reads: &[LATE],
    windows: Windows::Late,
    ..PLAIN
};
const QWEN3: Architecture = Architecture {
    types: &["qwen3", "qwen3_vl", "qwen3_vl_text"],
    classes: &[],
    defaults: &[
        ("hidden_size", 4096),
        ("num_hidden_layers", 32),
        ("num_attention_heads", 32),
        ("num_key_value_heads", 32),
        ("head_dim", 128),
        ("intermediate_size", 22016),
        ("vocab_size", 151_936),
        ("max_position_embeddings", 32768),
        ("max_window_layers", 28),
        ("sliding_window", 4096),
    ],
    ..QWEN2
};
const QWEN3_MOE: Architecture = Architecture {
    types: &[
        "qwen3_moe",
        "qwen3_vl_moe",
        "qwen3_vl_moe_text",
        "qwen3_omni_moe_text",
    ],
    family: "qwen-moe",
    defaults: &[
        ("hidden_size", 2048),
        ("num_hidden_layers", 24),
        ("num_attention_heads", 32),
        ("num_key_value_heads", 4),
        ("intermediate_size", 6144),
        ("vocab_size", 151_936),
        ("max_position_embeddings", 32768),
        ("num_experts", 128),
        ("num_experts_per_tok", 8),
        ("moe_intermediate_size", 768),
        ("decoder_sparse_step", 1),
        ("max_window_layers", 28),
        ("sliding_window", 4096),
    ],
    reads: &[LATE, QWEN_EXPERTS],
    ..QWEN2
};
const GEMMA: Architecture = Architecture {
    types: &["gemma"],
    family: "gemma",
    tied: true,
    defaults: &[
        ("hidden_size", 3072),
        ("num_hidden_layers", 28),
        ("num_attention_heads", 16),
        ("num_key_value_heads", 16),
        ("head_dim", 256),
        ("intermediate_size", 24576),
        ("vocab_size", 256_000),
        ("max_position_embeddings", 8192),
    ],
    ..PLAIN
};
const GEMMA_SHARED: &[&str] = &[
    "sliding_window",
    "num_kv_shared_layers",
    "hidden_size_per_layer_input",
    "vocab_size_per_layer_input",
    "altup_num_inputs",
    "altup_active_idx",
    "altup_correct_scale",
    "altup_coef_clip",
    "laurel_rank",
    "activation_sparsity_pattern",
    "global_head_dim",
    "num_global_key_value_heads",
    "attention_k_eq_v",
    "use_double_wide_mlp",
    "enable_moe_block",
    "num_experts",
    "top_k_experts",
    "moe_intermediate_size",
];
const PHI3: Architecture = Architecture {
    types: &["phi3", "phi3_v", "phi4mm"],
    classes: &["Phi3VForCausalLM", "Phi4MMForCausalLM", "Phi3ForCausalLM"],
    family: "phi",
    defaults: &[
        ("hidden_size", 3072),
        ("num_hidden_layers", 32),
        ("num_attention_heads", 32),
        ("intermediate_size", 8192),
        ("vocab_size", 32064),
        ("max_position_embeddings", 4096),
    ],
    reads: &[
        WINDOW,
        &[
            "original_max_position_embeddings",
            "full_attn_mod",
            "embd_layer",
            "img_processor",
            "audio_processor",
            "speech_lora",
            "vision_lora",
        ],
    ],
    windows: Windows::All,
    ..PLAIN
};
const COHERE: Architecture = Architecture {
    types: &["cohere"],
    family: "cohere",
    tied: true,
    defaults: &[
        ("hidden_size", 8192),
        ("num_hidden_layers", 40),
        ("num_attention_heads", 64),
        ("intermediate_size", 22528),
        ("vocab_size", 256_000),
        ("max_position_embeddings", 8192),
    ],
    ..PLAIN
};
const DEEPSEEK: Architecture = Architecture {
    types: &["deepseek_v2", "deepseek_vl_v2_text"],
    classes: &["DeepseekV2ForCausalLM"],
    family: "deepseek",
    defaults: &[
        ("kv_lora_rank", 512),
        ("q_lora_rank", 1536),
        ("qk_rope_head_dim", 64),
        ("qk_nope_head_dim", 128),
        ("v_head_dim", 128),
        ("first_k_dense_replace", 0),
        ("moe_layer_freq", 1),
    ],
    reads: &[LATENT, DEEPSEEK_EXPERTS],
    mixers: Mixers::Latent,
    ..PLAIN
};
const GRANITE: Architecture = Architecture {
    types: &["granite"],
    family: "llama",
    ..LLAMA
};

/// Every architecture that is read. The first row of a `model_type` counts.
pub(super) const ARCHITECTURES: &[Architecture] = &[
    LLAMA,
    Architecture {
        types: &["mistral"],
        classes: &["LlavaMistralForCausalLM"],
        family: "mistral",
        defaults: &[
            ("hidden_size", 4096),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("intermediate_size", 14336),
            ("vocab_size", 32000),
            ("max_position_embeddings", 131_072),
            ("sliding_window", 4096),
        ],
        reads: &[WINDOW],
        windows: Windows::All,
        ..PLAIN
    },
    Architecture {
        types: &["ministral", "ministral3"],
        family: "mistral",
        reads: &[WINDOW],
        windows: Windows::All,
        ..PLAIN
    },
    Architecture {
        types: &["mixtral"],
        family: "mixtral",
        defaults: &[
            ("hidden_size", 4096),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("intermediate_size", 14336),
            ("vocab_size", 32000),
            ("max_position_embeddings", 131_072),
            ("num_local_experts", 8),
            ("num_experts_per_tok", 2),
        ],
        reads: &[WINDOW, LOCAL_EXPERTS],
        windows: Windows::All,
        ..PLAIN
    },
    QWEN2,
    QWEN3,
    QWEN3_MOE,
    Architecture {
        types: &["qwen2_moe"],
        family: "qwen-moe",
        defaults: &[
            ("hidden_size", 2048),
            ("num_hidden_layers", 24),
            ("num_attention_heads", 16),
            ("num_key_value_heads", 16),
            ("intermediate_size", 5632),
            ("vocab_size", 151_936),
            ("max_position_embeddings", 32768),
            ("num_experts", 60),
            ("num_experts_per_tok", 4),
            ("moe_intermediate_size", 1408),
            ("shared_expert_intermediate_size", 5632),
            ("decoder_sparse_step", 1),
            ("max_window_layers", 28),
            ("sliding_window", 4096),
        ],
        ..QWEN3_MOE
    },
    Architecture {
        types: &["qwen3_next"],
        family: "qwen-moe",
        defaults: &[
            ("head_dim", 256),
            ("full_attention_interval", 4),
            ("linear_conv_kernel_dim", 4),
            ("linear_key_head_dim", 128),
            ("linear_value_head_dim", 128),
            ("linear_num_key_heads", 16),
            ("linear_num_value_heads", 32),
            ("decoder_sparse_step", 1),
            ("num_key_value_heads", 2),
            ("max_position_embeddings", 32768),
        ],
        reads: &[DELTA, QWEN_EXPERTS, LATE],
        mixers: Mixers::Delta,
        ..PLAIN
    },
    Architecture {
        types: &["qwen3_5", "qwen3_5_text"],
        family: "qwen",
        defaults: &[
            ("head_dim", 256),
            ("full_attention_interval", 4),
            ("linear_conv_kernel_dim", 4),
            ("linear_key_head_dim", 128),
            ("linear_value_head_dim", 128),
            ("linear_num_key_heads", 16),
            ("linear_num_value_heads", 32),
            ("num_key_value_heads", 4),
            ("max_position_embeddings", 32768),
        ],
        reads: &[DELTA, &["mlp_only_layers"]],
        mixers: Mixers::Delta,
        ..PLAIN
    },
    Architecture {
        types: &["qwen3_5_moe", "qwen3_5_moe_text"],
        family: "qwen-moe",
        defaults: &[
            ("head_dim", 256),
            ("full_attention_interval", 4),
            ("linear_conv_kernel_dim", 4),
            ("linear_key_head_dim", 128),
            ("linear_value_head_dim", 128),
            ("linear_num_key_heads", 16),
            ("linear_num_value_heads", 32),
            ("num_key_value_heads", 2),
            ("max_position_embeddings", 32768),
        ],
        reads: &[DELTA, QWEN_EXPERTS],
        mixers: Mixers::Delta,
        ..PLAIN
    },
    // Its feed-forward layers are half as wide as the file says.
    Architecture {
        types: &["qwen"],
        classes: &["QWenLMHeadModel"],
        family: "qwen",
        reads: &[&[
            "no_bias",
            "use_dynamic_ntk",
            "use_logn_attn",
            "fp32",
            "onnx_safe",
        ]],
        ..PLAIN
    },
    GEMMA,
    Architecture {
        types: &["gemma2"],
        defaults: &[
            ("hidden_size", 2304),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("intermediate_size", 9216),
            ("vocab_size", 256_000),
            ("max_position_embeddings", 8192),
            ("sliding_window", 4096),
        ],
        reads: &[PATTERN, &["sliding_window_size"]],
        windows: Windows::Pattern(2),
        ..GEMMA
    },
    Architecture {
        types: &["gemma3_text", "gemma3"],
        defaults: &[
            ("hidden_size", 2304),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("intermediate_size", 9216),
            ("vocab_size", 262_208),
            ("max_position_embeddings", 131_072),
            ("sliding_window", 4096),
        ],
        reads: &[PATTERN],
        windows: Windows::Pattern(6),
        ..GEMMA
    },
    Architecture {
        types: &["gemma3n_text", "gemma3n"],
        defaults: &[
            ("hidden_size", 2048),
            ("num_hidden_layers", 35),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 2),
            ("head_dim", 256),
            ("intermediate_size", 16384),
            ("vocab_size", 262_400),
            ("vocab_size_per_layer_input", 262_144),
            ("hidden_size_per_layer_input", 256),
            ("max_position_embeddings", 32768),
            ("sliding_window", 512),
            ("num_kv_shared_layers", 15),
            ("altup_num_inputs", 4),
            ("laurel_rank", 64),
        ],
        reads: &[GEMMA_SHARED],
        windows: Windows::Pattern(5),
        mixers: Mixers::Shared,
        ..GEMMA
    },
    Architecture {
        types: &["gemma4_text", "gemma4"],
        defaults: &[
            ("hidden_size", 2304),
            ("num_hidden_layers", 30),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("global_head_dim", 512),
            ("intermediate_size", 9216),
            ("vocab_size", 262_144),
            ("vocab_size_per_layer_input", 262_144),
            ("hidden_size_per_layer_input", 256),
            ("max_position_embeddings", 131_072),
            ("sliding_window", 512),
            ("num_kv_shared_layers", 0),
        ],
        reads: &[GEMMA_SHARED],
        windows: Windows::Pattern(6),
        mixers: Mixers::Shared,
        ..GEMMA
    },
    Architecture {
        types: &["phi"],
        classes: &["PhiForCausalLM"],
        family: "phi",
        gated: false,
        defaults: &[
            ("hidden_size", 2048),
            ("num_hidden_layers", 24),
            ("num_attention_heads", 32),
            ("intermediate_size", 8192),
            ("vocab_size", 51200),
            ("max_position_embeddings", 2048),
        ],
        ..PLAIN
    },
    PHI3,
    Architecture {
        types: &["phi3small"],
        tied: true,
        reads: &[&[
            "blocksparse_block_size",
            "blocksparse_homo_head_pattern",
            "blocksparse_num_local_blocks",
            "blocksparse_triton_kernel_block_size",
            "blocksparse_vert_stride",
            "dense_attention_every_n_layers",
            "dummy_token_indices",
            "gegelu_limit",
            "gegelu_pad_to_256",
            "mup_attn_multiplier",
            "mup_use_scaling",
            "mup_width_multiplier",
            "original_max_position_embeddings",
        ]],
        windows: Windows::No,
        ..PHI3
    },
    Architecture {
        types: &["phimoe"],
        classes: &["PhiMoEForCausalLM", "PhimoeForCausalLM"],
        family: "phi",
        defaults: &[
            ("num_key_value_heads", 8),
            ("num_local_experts", 16),
            ("num_experts_per_tok", 2),
        ],
        reads: &[
            WINDOW,
            LOCAL_EXPERTS,
            &["input_jitter_noise", "original_max_position_embeddings"],
        ],
        windows: Windows::All,
        ..PLAIN
    },
    Architecture {
        types: &["starcoder2"],
        family: "starcoder",
        tied: true,
        gated: false,
        defaults: &[("num_key_value_heads", 2), ("vocab_size", 49152)],
        reads: &[WINDOW, &["mlp_type", "norm_type"]],
        windows: Windows::All,
        ..PLAIN
    },
    Architecture {
        types: &["gpt_bigcode"],
        classes: &["GPTBigCodeForCausalLM", "GPTBigCodeLMHeadModel"],
        family: "starcoder",
        tied: true,
        gated: false,
        positions: true,
        reads: &[&[
            "multi_query",
            "attention_type",
            "max_batch_size",
            "max_sequence_length",
            "pre_allocate_kv_cache",
            "inference_runner",
            "validate_runner_input",
        ]],
        ..PLAIN
    },
    Architecture {
        types: &["gpt2"],
        classes: &["GPT2LMHeadModel", "GPT2Model"],
        family: "gpt2",
        tied: true,
        gated: false,
        positions: true,
        defaults: &[
            ("n_embd", 768),
            ("n_layer", 12),
            ("n_head", 12),
            ("vocab_size", 50257),
            ("n_positions", 1024),
        ],
        ..PLAIN
    },
    Architecture {
        types: &["gptj"],
        classes: &["GPTJForCausalLM"],
        family: "gpt-j",
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["codegen"],
        classes: &["CodeGenForCausalLM"],
        family: "codegen",
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["gpt_neox"],
        classes: &["GPTNeoXForCausalLM"],
        family: "gpt-neox",
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["opt"],
        classes: &["OPTForCausalLM"],
        family: "opt",
        tied: true,
        gated: false,
        positions: true,
        reads: &[&[
            "word_embed_proj_dim",
            "do_layer_norm_before",
            "_remove_final_layer_norm",
        ]],
        ..PLAIN
    },
    Architecture {
        types: &["bloom"],
        family: "bloom",
        tied: true,
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["falcon", "RefinedWeb", "RefinedWebModel"],
        classes: &["FalconForCausalLM", "RWForCausalLM"],
        family: "falcon",
        tied: true,
        gated: false,
        reads: &[&["multi_query", "new_decoder_architecture"]],
        ..PLAIN
    },
    Architecture {
        types: &["mpt"],
        classes: &["MPTForCausalLM"],
        family: "mpt",
        tied: true,
        gated: false,
        reads: &[&[
            "expansion_ratio",
            "attn_config",
            "ffn_config",
            "init_config",
            "init_device",
            "norm_type",
            "embedding_fraction",
            "learned_pos_emb",
            "fc_type",
            "use_pad_tok_in_ffn",
        ]],
        ..PLAIN
    },
    COHERE,
    Architecture {
        types: &["cohere2"],
        reads: &[
            PATTERN,
            &[
                "layer_switch",
                "order_of_interleaved_layers",
                "use_gated_activation",
                "use_embedding_sharing",
                "use_parallel_block",
                "use_parallel_embedding",
                "position_embedding_type",
            ],
        ],
        windows: Windows::Pattern(4),
        ..COHERE
    },
    Architecture {
        types: &["olmo", "olmo2"],
        ..GRANITE
    },
    Architecture {
        types: &["olmo3"],
        reads: &[PATTERN],
        windows: Windows::Pattern(4),
        ..GRANITE
    },
    Architecture {
        types: &["olmoe"],
        classes: &["OlmoeForCausalLM"],
        family: "olmoe",
        defaults: &[("num_experts", 64), ("num_experts_per_tok", 8)],
        reads: &[QWEN_EXPERTS],
        ..PLAIN
    },
    GRANITE,
    Architecture {
        types: &["granitemoe", "granitemoeshared"],
        classes: &["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
        family: "granite-moe",
        reads: &[LOCAL_EXPERTS, &["shared_intermediate_size"]],
        ..PLAIN
    },
    Architecture {
        types: &["granitemoehybrid"],
        classes: &["GraniteMoeHybridForCausalLM"],
        family: "granite-hybrid",
        defaults: &[
            ("mamba_n_heads", 128),
            ("mamba_n_groups", 1),
            ("mamba_d_state", 256),
            ("mamba_d_conv", 4),
            ("mamba_expand", 2),
            ("shared_intermediate_size", 1024),
            ("num_local_experts", 8),
            ("num_experts_per_tok", 2),
            ("max_position_embeddings", 2048),
        ],
        reads: &[
            LOCAL_EXPERTS,
            MAMBA2,
            &[
                "shared_intermediate_size",
                "layers_block_type",
                "position_embedding_type",
                "normalization_function",
            ],
        ],
        mixers: Mixers::MambaOrAttention,
        ..PLAIN
    },
    Architecture {
        types: &["bamba"],
        family: "bamba",
        defaults: &[
            ("mamba_n_groups", 1),
            ("mamba_d_state", 256),
            ("mamba_d_conv", 4),
            ("mamba_expand", 2),
            ("mamba_n_heads", 128),
        ],
        reads: &[MAMBA2, &["attn_layer_indices", "attn_rotary_emb"]],
        mixers: Mixers::MambaOrAttention,
        ..PLAIN
    },
    Architecture {
        types: &["falcon_h1"],
        classes: &["FalconH1ForCausalLM"],
        family: "falcon-h1",
        defaults: &[
            ("num_key_value_heads", 8),
            ("mamba_d_ssm", 1024),
            ("mamba_n_heads", 128),
            ("mamba_n_groups", 1),
            ("mamba_d_state", 256),
            ("mamba_d_conv", 4),
            ("mamba_expand", 2),
        ],
        reads: &[
            MAMBA2,
            &[
                "mlp_expansion_factor",
                "attn_layer_indices",
                "time_step_limit",
            ],
        ],
        mixers: Mixers::Both,
        ..PLAIN
    },
    Architecture {
        types: &["nemotron_h", "nemotron_h_text"],
        classes: &["NemotronHForCausalLM"],
        family: "nemotron-h",
        gated: false,
        defaults: &[
            ("num_key_value_heads", 8),
            ("head_dim", 128),
            ("ssm_state_size", 128),
            ("mamba_num_heads", 128),
            ("mamba_head_dim", 64),
            ("n_groups", 8),
            ("conv_kernel", 4),
            ("num_experts_per_tok", 2),
            ("n_shared_experts", 1),
            ("max_position_embeddings", 4096),
        ],
        reads: &[
            DEEPSEEK_EXPERTS,
            WINDOW,
            &[
                "hybrid_override_pattern",
                "layers_block_type",
                "mamba_num_heads",
                "mamba_head_dim",
                "ssm_state_size",
                "n_groups",
                "mamba_n_groups",
                "conv_kernel",
                "mamba_d_conv",
                "expand",
                "mamba_expand",
                "chunk_size",
                "mamba_chunk_size",
                "mamba_hidden_act",
                "mamba_ssm_cache_dtype",
                "moe_shared_expert_intermediate_size",
                "moe_latent_size",
                "moe_shared_expert_overlap",
                "mamba_state_size",
                "time_step_rank",
                "mamba_dt_limit",
                "mamba_dt_min",
                "mamba_dt_max",
            ],
        ],
        mixers: Mixers::Pattern,
        ..PLAIN
    },
    Architecture {
        types: &["jamba"],
        family: "jamba",
        defaults: &[
            ("attn_layer_period", 8),
            ("attn_layer_offset", 4),
            ("expert_layer_period", 2),
            ("expert_layer_offset", 1),
            ("num_experts", 16),
            ("num_experts_per_tok", 2),
            ("num_key_value_heads", 8),
            ("mamba_d_state", 16),
            ("mamba_d_conv", 4),
            ("mamba_expand", 2),
            ("max_position_embeddings", 262_144),
        ],
        reads: &[
            WINDOW,
            &[
                "attn_layer_period",
                "attn_layer_offset",
                "expert_layer_period",
                "expert_layer_offset",
                "num_experts",
                "num_experts_per_tok",
                "mamba_d_state",
                "mamba_d_conv",
                "mamba_expand",
                "mamba_dt_rank",
                "mamba_inner_layernorms",
            ],
        ],
        mixers: Mixers::Jamba,
        ..PLAIN
    },
    Architecture {
        types: &["lfm2", "lfm2_moe"],
        classes: &["Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "LFM2ForCausalLM"],
        family: "lfm2",
        tied: true,
        defaults: &[
            ("conv_L_cache", 3),
            ("num_key_value_heads", 8),
            ("block_multiple_of", 256),
            ("max_position_embeddings", 128_000),
        ],
        reads: &[&[
            "conv_L_cache",
            "conv_dim",
            "conv_dim_out",
            "block_dim",
            "block_ff_dim",
            "block_auto_adjust_ff_dim",
            "block_multiple_of",
            "block_ffn_dim_multiplier",
            "block_mlp_init_scale",
            "block_norm_eps",
            "block_out_init_scale",
            "block_use_swiglu",
            "block_use_xavier_init",
            "conv_use_xavier_init",
            "full_attn_idxs",
            "num_dense_layers",
            "num_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            "use_expert_bias",
            "use_pos_enc",
        ]],
        mixers: Mixers::Convolutions,
        ..PLAIN
    },
    Architecture {
        types: &["minimax_text_01", "minimax_m1", "minimax"],
        classes: &[
            "MiniMaxText01ForCausalLM",
            "MiniMaxM1ForCausalLM",
            "MiniMaxForCausalLM",
        ],
        family: "minimax",
        defaults: &[("num_experts_per_tok", 2), ("num_local_experts", 8)],
        reads: &[
            LOCAL_EXPERTS,
            WINDOW,
            &[
                "attn_type_list",
                "shared_intermediate_size",
                "shared_moe_mode",
                "postnorm",
                "layernorm_full_attention_alpha",
                "layernorm_full_attention_beta",
                "layernorm_linear_attention_alpha",
                "layernorm_linear_attention_beta",
                "layernorm_mlp_alpha",
                "layernorm_mlp_beta",
                "full_attn_alpha_factor",
                "full_attn_beta_factor",
                "linear_attn_alpha_factor",
                "linear_attn_beta_factor",
                "mlp_alpha_factor",
                "mlp_beta_factor",
                "block_size",
            ],
        ],
        mixers: Mixers::Lightning,
        ..PLAIN
    },
    Architecture {
        types: &["minimax_m2"],
        classes: &["MiniMaxM2ForCausalLM"],
        family: "minimax",
        reads: &[
            LOCAL_EXPERTS,
            &[
                "attn_type_list",
                "shared_intermediate_size",
                "use_routing_bias",
                "qk_norm_type",
                "layernorm_full_attention_beta",
                "layernorm_linear_attention_beta",
                "layernorm_mlp_beta",
            ],
        ],
        ..PLAIN
    },
    Architecture {
        types: &["stablelm"],
        classes: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
        family: "stablelm",
        ..PLAIN
    },
    Architecture {
        types: &["nemotron"],
        family: "nemotron",
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["arcee", "apertus"],
        family: "arcee",
        gated: false,
        ..PLAIN
    },
    Architecture {
        types: &["internlm", "internlm2", "internlm3"],
        classes: &[
            "InternLMForCausalLM",
            "InternLM2ForCausalLM",
            "InternLM3ForCausalLM",
        ],
        family: "internlm",
        ..PLAIN
    },
    Architecture {
        types: &["baichuan"],
        classes: &["BaichuanForCausalLM", "BaiChuanForCausalLM"],
        family: "baichuan",
        reads: &[&["z_loss_weight"]],
        ..PLAIN
    },
    Architecture {
        types: &["chatglm"],
        classes: &["ChatGLMModel", "ChatGLMForConditionalGeneration"],
        family: "glm",
        reads: &[&[
            "multi_query_attention",
            "multi_query_group_num",
            "add_bias_linear",
            "add_qkv_bias",
            "original_rope",
            "interleaved_qkv",
            "classifier_dropout",
            "post_layer_norm",
            "pre_seq_len",
            "prefix_projection",
            "quantization_bit",
        ]],
        ..PLAIN
    },
    Architecture {
        types: &["glm", "glm4", "glm4v_text"],
        family: "glm",
        defaults: &[
            ("num_key_value_heads", 2),
            ("head_dim", 128),
            ("max_position_embeddings", 131_072),
        ],
        ..PLAIN
    },
    Architecture {
        types: &["glm4_moe", "glm4v_moe_text", "glm4_moe_text"],
        classes: &["Glm4MoeForCausalLM"],
        family: "glm",
        defaults: &[
            ("num_key_value_heads", 8),
            ("first_k_dense_replace", 1),
            ("moe_layer_freq", 1),
        ],
        reads: &[DEEPSEEK_EXPERTS],
        ..PLAIN
    },
    Architecture {
        types: &["glm4_moe_lite"],
        classes: &["Glm4MoeLiteForCausalLM"],
        family: "glm",
        ..DEEPSEEK
    },
    Architecture {
        types: &["glm_moe_dsa"],
        classes: &["GlmMoeDsaForCausalLM"],
        family: "glm",
        defaults: &[
            ("kv_lora_rank", 512),
            ("q_lora_rank", 2048),
            ("qk_rope_head_dim", 64),
            ("qk_nope_head_dim", 192),
            ("v_head_dim", 256),
            ("first_k_dense_replace", 3),
            ("moe_layer_freq", 1),
            ("index_n_heads", 32),
            ("index_head_dim", 128),
        ],
        reads: &[LATENT, DEEPSEEK_EXPERTS, INDEXER, &["mlp_layer_types"]],
        ..DEEPSEEK
    },
    DEEPSEEK,
    Architecture {
        types: &["deepseek_v3", "kimi_k2", "kimi_k25", "kimi_vl_text"],
        classes: &["DeepseekV3ForCausalLM", "KimiK25ForConditionalGeneration"],
        defaults: &[
            ("kv_lora_rank", 512),
            ("q_lora_rank", 1536),
            ("qk_rope_head_dim", 64),
            ("qk_nope_head_dim", 128),
            ("v_head_dim", 128),
            ("first_k_dense_replace", 3),
            ("moe_layer_freq", 1),
        ],
        ..DEEPSEEK
    },
    Architecture {
        types: &["deepseek_v32"],
        classes: &["DeepseekV32ForCausalLM"],
        defaults: &[
            ("kv_lora_rank", 512),
            ("q_lora_rank", 1536),
            ("qk_rope_head_dim", 64),
            ("qk_nope_head_dim", 128),
            ("v_head_dim", 128),
            ("first_k_dense_replace", 3),
            ("moe_layer_freq", 1),
            ("index_n_heads", 64),
            ("index_head_dim", 128),
        ],
        reads: &[LATENT, DEEPSEEK_EXPERTS, INDEXER],
        ..DEEPSEEK
    },
    Architecture {
        types: &["deepseek_v4"],
        classes: &["DeepseekV4ForCausalLM"],
        family: "deepseek-v4",
        defaults: &[
            ("num_key_value_heads", 1),
            ("head_dim", 512),
            ("qk_rope_head_dim", 64),
            ("q_lora_rank", 1024),
            ("o_groups", 8),
            ("o_lora_rank", 1024),
            ("index_n_heads", 64),
            ("index_head_dim", 128),
            ("sliding_window", 128),
            ("n_shared_experts", 1),
        ],
        reads: &[
            LATENT,
            DEEPSEEK_EXPERTS,
            INDEXER,
            WINDOW,
            &[
                "compress_ratios",
                "compress_rates",
                "compress_rate_csa",
                "compress_rate_hca",
                "expert_dtype",
                "o_groups",
                "o_lora_rank",
                "mlp_layer_types",
            ],
        ],
        mixers: Mixers::Compressed,
        ..DEEPSEEK
    },
    Architecture {
        types: &["deepseek"],
        classes: &["DeepseekForCausalLM"],
        family: "deepseek-moe",
        defaults: &[("first_k_dense_replace", 0), ("moe_layer_freq", 1)],
        reads: &[DEEPSEEK_EXPERTS],
        ..PLAIN
    },
    Architecture {
        types: &["kimi_linear"],
        classes: &["KimiLinearForCausalLM"],
        family: "kimi-linear",
        defaults: &[
            ("kv_lora_rank", 512),
            ("qk_rope_head_dim", 64),
            ("qk_nope_head_dim", 128),
            ("v_head_dim", 128),
            ("first_k_dense_replace", 1),
            ("moe_layer_freq", 1),
        ],
        reads: &[
            LATENT,
            DEEPSEEK_EXPERTS,
            &[
                "linear_attn_config",
                "mla_use_nope",
                "num_experts",
                "num_experts_per_token",
                "num_shared_experts",
                "use_grouped_topk",
            ],
        ],
        mixers: Mixers::KimiDelta,
        ..PLAIN
    },
    Architecture {
        types: &["dots1"],
        family: "dots",
        defaults: &[("first_k_dense_replace", 0), ("moe_layer_freq", 1)],
        reads: &[DEEPSEEK_EXPERTS, LATE],
        windows: Windows::Late,
        ..PLAIN
    },
    Architecture {
        types: &["bailing_moe", "bailing_moe_v2"],
        classes: &["BailingMoeForCausalLM", "BailingMoeV2ForCausalLM"],
        family: "bailing",
        reads: &[
            DEEPSEEK_EXPERTS,
            &[
                "num_experts",
                "num_shared_experts",
                "moe_shared_expert_intermediate_size",
                "multi_gate",
                "norm_softmax",
            ],
        ],
        ..PLAIN
    },
    Architecture {
        types: &["ernie4_5"],
        classes: &["Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"],
        family: "ernie",
        tied: true,
        ..PLAIN
    },
    Architecture {
        types: &["ernie4_5_moe"],
        classes: &["Ernie4_5_MoeForCausalLM"],
        family: "ernie-moe",
        tied: true,
        reads: &[&[
            "moe_num_experts",
            "moe_k",
            "moe_intermediate_size",
            "moe_num_shared_experts",
            "moe_layer_start_index",
            "moe_layer_end_index",
            "moe_layer_interval",
            "moe_capacity",
            "moe_gate",
            "moe_gate_act",
            "moe_norm_min",
            "moe_use_aux_free",
            "moe_norm_gate_logits",
        ]],
        ..PLAIN
    },
    Architecture {
        types: &["hunyuan_v1_dense"],
        classes: &["HunYuanDenseV1ForCausalLM"],
        family: "hunyuan",
        tied: true,
        ..PLAIN
    },
    Architecture {
        types: &["hunyuan_v1_moe", "hunyuan"],
        classes: &["HunYuanMoEV1ForCausalLM", "HunYuanForCausalLM"],
        family: "hunyuan",
        tied: true,
        reads: &[&[
            "num_experts",
            "moe_topk",
            "moe_intermediate_size",
            "num_shared_expert",
            "use_mixed_mlp_moe",
            "moe_layer_num_skipped",
            "anyres_pooling_size",
            "anyres_vit_max_image_size",
            "num_media_embeds",
            "moe_drop_tokens",
            "moe_random_routing_dropped_token",
            "group_limited_greedy",
            "class_num",
            "pool_type",
            "dense_list",
            "capacity_factor",
        ]],
        ..PLAIN
    },
    Architecture {
        types: &["seed_oss"],
        classes: &["SeedOssForCausalLM"],
        family: "seed",
        ..PLAIN
    },
    Architecture {
        types: &["smollm3"],
        classes: &["SmolLM3ForCausalLM"],
        family: "smollm",
        tied: true,
        defaults: &[("num_key_value_heads", 4)],
        reads: &[LATE, &["no_rope_layers", "no_rope_layer_interval"]],
        windows: Windows::Late,
        ..PLAIN
    },
    Architecture {
        types: &["exaone"],
        classes: &["ExaoneForCausalLM"],
        family: "exaone",
        ..PLAIN
    },
    Architecture {
        types: &["exaone4", "exaone4_5_text"],
        classes: &["Exaone4ForCausalLM"],
        family: "exaone",
        reads: &[PATTERN],
        windows: Windows::Pattern(4),
        ..PLAIN
    },
    Architecture {
        types: &["minicpm"],
        classes: &["MiniCPMForCausalLM"],
        family: "minicpm",
        tied: true,
        ..PLAIN
    },
    Architecture {
        types: &["mimo"],
        classes: &["MiMoForCausalLM"],
        ..QWEN2
    },
    Architecture {
        types: &["mimo_v2_flash"],
        classes: &["MiMoV2FlashForCausalLM"],
        family: "mimo",
        reads: &[
            DEEPSEEK_EXPERTS,
            WINDOW,
            &[
                "hybrid_layer_pattern",
                "hybrid_block_size",
                "attention_chunk_size",
                "sliding_window_size",
                "v_head_dim",
                "swa_num_attention_heads",
                "swa_num_key_value_heads",
                "swa_head_dim",
                "swa_v_head_dim",
                "swa_rope_theta",
            ],
        ],
        windows: Windows::Flags,
        ..PLAIN
    },
    Architecture {
        types: &["gpt_oss"],
        classes: &["GptOssForCausalLM"],
        family: "gpt-oss",
        defaults: &[
            ("num_local_experts", 128),
            ("num_experts_per_tok", 4),
            ("sliding_window", 128),
            ("head_dim", 64),
            ("num_key_value_heads", 8),
            ("max_position_embeddings", 131_072),
        ],
        reads: &[
            PATTERN,
            LOCAL_EXPERTS,
            &["experts_per_token", "initial_context_length"],
        ],
        windows: Windows::Pattern(2),
        ..PLAIN
    },
    Architecture {
        types: &["llama4_text", "llama4"],
        classes: &["Llama4ForCausalLM"],
        family: "llama4",
        defaults: &[
            ("interleave_moe_layer_step", 1),
            ("num_local_experts", 16),
            ("num_experts_per_tok", 1),
            ("attention_chunk_size", 8192),
            ("no_rope_layer_interval", 4),
            ("num_key_value_heads", 8),
            ("max_position_embeddings", 131_072),
        ],
        reads: &[
            LOCAL_EXPERTS,
            &[
                "attention_chunk_size",
                "no_rope_layers",
                "no_rope_layer_interval",
                "interleave_moe_layer_step",
                "moe_layers",
                "intermediate_size_mlp",
                "floor_scale",
                "for_llm_compressor",
            ],
        ],
        windows: Windows::Chunks,
        ..PLAIN
    },
    Architecture {
        types: &["mllama_text_model", "mllama"],
        classes: &["MllamaForCausalLM"],
        family: "mllama",
        defaults: &[("num_key_value_heads", 8)],
        reads: &[&["cross_attention_layers"]],
        mixers: Mixers::Cross,
        ..PLAIN
    },
    Architecture {
        types: &["chameleon"],
        classes: &["ChameleonForConditionalGeneration"],
        family: "llama",
        reads: &[&["vq_config", "vocabulary_map", "swin_norm"]],
        ..LLAMA
    },
    Architecture {
        types: &["dbrx"],
        family: "dbrx",
        reads: &[&["attn_config", "ffn_config"]],
        ..PLAIN
    },
];

/// Models that generate no text token by token, or keep no cache that is known here, by `model_type`; and what they are.
pub(super) const OTHERS: &[(&str, &[&str])] = &[
    (
        "an encoder, which generates no tokens",
        &[
            "bert",
            "roberta",
            "xlm-roberta",
            "xlm",
            "distilbert",
            "albert",
            "electra",
            "camembert",
            "deberta",
            "deberta-v2",
            "modernbert",
            "mpnet",
            "nomic_bert",
            "new",
            "longformer",
            "big_bird",
            "xlnet",
            "ernie",
            "funnel",
            "squeezebert",
            "mobilebert",
            "clip",
            "siglip",
            "vit",
            "dinov2",
            "wav2vec2",
            "hubert",
        ],
    ),
    (
        "an encoder-decoder model, whose decoder's cache is not read from a file",
        &[
            "t5",
            "mt5",
            "umt5",
            "longt5",
            "switch_transformers",
            "bart",
            "mbart",
            "pegasus",
            "marian",
            "m2m_100",
            "blenderbot",
            "led",
            "whisper",
            "speech_to_text",
            "t5gemma",
            "nllb-moe",
            "florence2",
        ],
    ),
    (
        "a model of states alone, without attention; its memory is not reckoned here",
        &[
            "mamba",
            "mamba2",
            "falcon_mamba",
            "rwkv",
            "rwkv5",
            "rwkv6",
            "rwkv7",
            "recurrent_gemma",
            "xlstm",
        ],
    ),
];

/// Ends of class names of models that generate no text, and what they are.
pub(super) const OTHER_CLASSES: &[(&str, &str)] = &[
    (
        "ForSequenceClassification",
        "a classifier or reranker, which generates no tokens",
    ),
    (
        "ForTokenClassification",
        "a classifier, which generates no tokens",
    ),
    (
        "ForRewardModel",
        "a reward model, which generates no tokens",
    ),
    ("RewardModel", "a reward model, which generates no tokens"),
    (
        "ForProcessRewardModel",
        "a reward model, which generates no tokens",
    ),
    ("ForMaskedLM", "an encoder, which generates no tokens"),
    (
        "ForQuestionAnswering",
        "an encoder, which generates no tokens",
    ),
    ("Eagle", "a draft model for speculative decoding"),
    ("Eagle3", "a draft model for speculative decoding"),
    ("MTP", "a draft model for speculative decoding"),
    ("MTPModel", "a draft model for speculative decoding"),
    ("Model", "an embedding model, which generates no tokens"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_stands_in_one_row_and_the_document_names_it() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = here
            .ancestors()
            .map(|a| a.join("docs/models.md"))
            .find(|p| p.is_file());
        let document = std::fs::read_to_string(found.unwrap()).unwrap();
        let mut types: Vec<&str> = ARCHITECTURES
            .iter()
            .flat_map(|row| row.types)
            .copied()
            .collect();
        for kind in &types {
            assert!(
                document.contains(&format!("`{kind}`")),
                "{kind} is not in docs/models.md"
            );
        }
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all, "a model_type stands in two rows");
    }
}
