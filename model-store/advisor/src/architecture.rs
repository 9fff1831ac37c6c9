//! What a row of the table of architectures holds, and which keys of a `config.json` shape layers.

/// How the windows of attention layers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// There are none.
    No,
    /// `sliding_window`, where it is a number, holds for all layers.
    All,
    /// As Qwen has it: with `use_sliding_window` alone, and only from layer `max_window_layers` on.
    Late,
    /// `layer_types`, else each n-th layer (`sliding_window_pattern`, or this number) has none.
    Pattern(u32),
    /// Llama 4: chunks of `attention_chunk_size` in the layers with rotary positions.
    Chunks,
    /// MiMo: `hybrid_layer_pattern`, 1 for a window, with heads of their own.
    Flags,
}

/// What mixes the tokens of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mixers {
    /// Attention in groups of query heads.
    Grouped,
    /// Latent attention (DeepSeek-V2, arXiv 2405.04434), with an indexer where the file has one.
    Latent,
    /// Latent attention with compressed caches (DeepSeek-V4).
    Compressed,
    /// Gated delta rule in all but each n-th layer (Qwen3-Next).
    Delta,
    /// One mixer or one feed-forward layer at a time, by `hybrid_override_pattern` (Nemotron-H).
    Pattern,
    /// Mamba-2 or attention by a list (Granite 4, Bamba).
    MambaOrAttention,
    /// Mamba-1, with attention at a period (Jamba).
    Jamba,
    /// Mamba-2 beside attention in each layer (Falcon-H1).
    Both,
    /// Lightning attention or full attention by a list (MiniMax-Text-01, MiniMax-M1).
    Lightning,
    /// Short convolutions or attention by a list (LFM2).
    Convolutions,
    /// Kimi delta attention or latent attention by two lists (Kimi-Linear).
    KimiDelta,
    /// Attention over an image in the layers listed (Llama 3.2 Vision).
    Cross,
    /// Attention whose last layers share caches, with embeddings for each layer (Gemma 3n, Gemma 4).
    Shared,
}

/// One row: what a `model_type` means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Architecture {
    /// Values of `model_type`.
    pub types: &'static [&'static str],
    /// Classes in `architectures` whose names do not follow from the types.
    pub classes: &'static [&'static str],
    /// Lineage, the support check's first axis.
    pub family: &'static str,
    /// Whether embedding and head are one matrix where the file does not say.
    pub tied: bool,
    /// Whether a feed-forward layer has three matrices, and not two.
    pub gated: bool,
    /// Whether there is a matrix of learnt positions.
    pub positions: bool,
    /// Values that the configuration class has where the file has no such key.
    pub defaults: &'static [(&'static str, u32)],
    /// Groups of keys that are read beside those that every decoder has.
    pub reads: &'static [&'static [&'static str]],
    /// Windows.
    pub windows: Windows,
    /// Mixers.
    pub mixers: Mixers,
}

impl Architecture {
    /// The configuration class's value of a key.
    pub(super) fn default_of(&self, key: &str) -> Option<u32> {
        self.defaults
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| *v)
    }

    /// True where the key is read for this architecture, or says nothing of layers.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.reads.iter().any(|group| group.contains(&key))
            || EVERY_DECODER.iter().any(|names| names.contains(&key))
            || says_nothing(key)
    }
}

pub(super) const HIDDEN: &[&str] = &["hidden_size", "n_embd", "n_embed", "d_model"];
pub(super) const LAYERS: &[&str] = &["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
pub(super) const HEADS: &[&str] = &["num_attention_heads", "n_head", "n_heads", "num_heads"];
pub(super) const KV_HEADS: &[&str] = &["num_key_value_heads", "num_kv_heads", "n_head_kv"];
pub(super) const HEAD_DIM: &[&str] = &["head_dim", "attention_head_dim", "kv_channels"];
pub(super) const INTERMEDIATE: &[&str] = &[
    "intermediate_size",
    "ffn_dim",
    "n_inner",
    "d_ff",
    "ffn_hidden_size",
    "block_ff_dim",
    "ff_intermediate_size",
];
/// The padded one is the embedding's.
pub(super) const VOCAB: &[&str] = &["padded_vocab_size", "vocab_size"];
/// Of several the smallest counts, as vLLM has it.
pub(super) const CONTEXT: &[&str] = &[
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
    "n_ctx",
];
pub(super) const EXPERTS: &[&str] = &[
    "n_routed_experts",
    "num_local_experts",
    "num_experts",
    "moe_num_experts",
];
pub(super) const EXPERTS_USED: &[&str] = &[
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_topk",
    "moe_k",
    "moe_top_k",
    "top_k_experts",
];
pub(super) const EXPERT_WIDTH: &[&str] = &["moe_intermediate_size", "expert_ffn_hidden_size"];
pub(super) const SHARED_EXPERTS: &[&str] = &[
    "n_shared_experts",
    "num_shared_experts",
    "num_shared_expert",
    "moe_num_shared_experts",
];
pub(super) const SHARED_WIDTH: &[&str] = &[
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
];

/// Keys that are read of every decoder.
const EVERY_DECODER: [&[&str]; 9] = [
    HIDDEN,
    LAYERS,
    HEADS,
    KV_HEADS,
    HEAD_DIM,
    INTERMEDIATE,
    VOCAB,
    CONTEXT,
    &["tie_word_embeddings", "tie_embedding", "layer_types"],
];

/// Words in the name of a key that is about layers, their widths, heads, experts, caches.
const WORDS_OF_SHAPE: [&str; 44] = [
    "layer",
    "head",
    "expert",
    "moe",
    "ffn",
    "mlp",
    "intermediate",
    "hidden",
    "dim",
    "size",
    "rank",
    "window",
    "attn",
    "attention",
    "kv",
    "state",
    "conv",
    "mamba",
    "ssm",
    "linear",
    "recurrent",
    "block",
    "vocab",
    "embed",
    "width",
    "depth",
    "group",
    "chunk",
    "compress",
    "shared",
    "topk",
    "top_k",
    "sparse",
    "index",
    "mixer",
    "delta",
    "lora",
    "ratio",
    "channel",
    "stack",
    "loop",
    "cache",
    "latent",
    "memory",
];
/// Beginnings of keys that count something.
const COUNTS: [&str; 3] = ["n_", "num_", "number_"];

/// True where an unknown key of this name may be about the layers.
pub(super) fn may_shape(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["use_cla", "use_mla"].contains(&key.as_str())
        || COUNTS.iter().any(|c| key.starts_with(c))
        || WORDS_OF_SHAPE.iter().any(|w| key.contains(w))
}

/// Beginnings of keys that say nothing of layers: positions, routers' arithmetic, what is predicted ahead,
/// other senses than text.
const HARMLESS_BEGINNINGS: [&str; 30] = [
    "rope_",
    "router_",
    "moe_router_",
    "mtp_",
    "vision_",
    "image_",
    "video_",
    "audio_",
    "mm_",
    "img_",
    "vit_",
    "projector_",
    "multi_modal_",
    "multimodal_",
    "summary_",
    "generation_",
    "initializer_",
    "_",
    "unsloth_",
    "speech_",
    "talker_",
    "token2wav_",
    "code2wav_",
    "tts_",
    "downsample_",
    "spatial_",
    "temporal_",
    "pad_",
    "mask_",
    "compress_rope",
];
/// Ends of such keys.
const HARMLESS_ENDS: [&str; 21] = [
    "_token_id",
    "_token_ids",
    "_token_index",
    "_token",
    "_dropout",
    "_dropout_prob",
    "_pdrop",
    "_drop",
    "_eps",
    "_epsilon",
    "_multiplier",
    "_multipliers",
    "_bias",
    "_act",
    "_activation",
    "_softcapping",
    "_softcap",
    "_coef",
    "_alpha",
    "_theta",
    "_gain",
];
/// Such keys by name.
const HARMLESS: &[&str] = &[
    "architectures",
    "model_type",
    "torch_dtype",
    "dtype",
    "auto_map",
    "transformers_version",
    "quantization_config",
    "quantization",
    "compression_config",
    "attention_bias",
    "qkv_bias",
    "max_window_layers",
    "num_nextn_predict_layers",
    "num_mtp_modules",
    "num_mtp_layers",
    "nextn_is_sparse",
    "hidden_act",
    "hidden_activation",
    "hidden_dropout",
    "attention_dropout",
    "ffn_dropout",
    "mlp_bias",
    "mlp_hidden_act",
    "layer_norm_type",
    "layernorm_epsilon",
    "layer_norm_epsilon",
    "norm_topk_prob",
    "moe_renormalize",
    "norm_head",
    "normalize_attention_scores",
    "n_group",
    "topk_group",
    "topk_method",
    "num_expert_group",
    "num_limited_groups",
    "scoring_func",
    "score_function",
    "routed_scaling_factor",
    "ep_size",
    "seq_aux",
    "pretraining_tp",
    "tensor_parallel_size",
    "query_pre_attn_scalar",
    "attn_scale",
    "attn_temperature_tuning",
    "attention_value_scale",
    "partial_rotary_factor",
    "rotary_dim",
    "rotary",
    "use_qk_norm",
    "qk_layernorm",
    "qk_norm",
    "add_qk_norm",
    "use_cache",
    "cache_implementation",
    "apply_residual_connection_post_layernorm",
    "post_layer_norm",
    "pre_layer_norm",
    "use_parallel_residual",
    "parallel_attn",
    "alibi",
    "bias",
    "num_ln_in_parallel_attn",
    "layer_norm_elementwise_affine",
    "norm_after_embedding",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "reorder_and_upcast_attn",
    "attention_softmax_in_fp32",
    "scale_attention_softmax_in_fp32",
    "masked_softmax_fusion",
    "bias_dropout_fusion",
    "fp32_residual_connection",
    "apply_query_key_layer_scaling",
    "hidden_size_for_tokenizer",
    "skip_bias_add",
    "slow_but_exact",
    "n_head_logits",
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
    "chunk_size_feed_forward",
    "pruned_heads",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "top_k",
    "top_p",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "tie_encoder_decoder",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "task_specific_params",
    "tokenizer_class",
    "finetuning_task",
    "attn_implementation",
    "use_flash_attn",
    "use_flash_attention",
    "flash_attn",
    "use_mamba_kernels",
    "use_bias",
    "residual_in_fp32",
    "rescale_prenorm_residual",
    "num_logits_to_keep",
    "logits_to_keep",
    "swiglu_limit",
    "hc_eps",
    "hc_sinkhorn_iters",
    "hc_mult",
    "num_hash_layers",
    "scale_depth",
    "scale_emb",
    "dim_model_base",
    "scale_fmt",
    "attn_sink",
    "add_swa_attention_sink_bias",
    "add_full_attention_sink_bias",
    "output_gate",
    "clip_qkv",
    "logit_scale",
    "qk_clip",
    "sep_style",
    "architecture",
    "language",
    "prefix",
    "template",
    "force_image_size",
    "use_thumbnail",
    "dynamic_image_size",
    "min_dynamic_patch",
    "max_dynamic_patch",
    "ps_version",
    "select_layer",
    "use_backbone_lora",
    "use_llm_lora",
    "pixel_shuffle_ratio",
    "is_causal",
    "use_bidirectional_attention",
    "moe_aux_loss_coef",
    "aux_loss_alpha",
    "output_router_logits",
    "num_image_tokens",
    "image_seq_length",
    "max_num_tiles",
    "embedding_initializer_range",
    "num_patches",
    "patch_size",
    "num_attention_heads_per_tp",
    "model_parallel_size",
    "decoder_start_token_id",
    "vocab_offset",
    "num_crops",
    "disable_ffn_model_parallel",
    "checkpoint_in_cpu",
    "sequence_parallel",
    "bos_token",
    "bad_words_ids",
    "suppress_tokens",
    "forced_bos_token_id",
    "use_rms_norm",
    "rmsnorm",
    "layer_norm_rms_eps",
    "use_qkv_bias",
    "use_mlp_bias",
    "moe_layer_use_bias",
    "mlp_layer_use_bias",
    "use_kernel",
    "use_cla_flag",
];

fn says_nothing(key: &str) -> bool {
    HARMLESS.contains(&key)
        || HARMLESS_BEGINNINGS.iter().any(|b| key.starts_with(b))
        || HARMLESS_ENDS.iter().any(|e| key.ends_with(e)) && !key.contains("dim_multiplier")
}
