"""A tiny Llama without weights: config.json and a tokenizer, for `vllm serve DIR --load-format dummy`.

usage: model.py DIR [LAYERS HIDDEN]
"""

import json
import os
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024


def write(folder, name, content):
    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
        json.dump(content, file)


def main(folder, layers=2, hidden=128):
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [f"the quick brown fox jumps over the lazy dog {n}" for n in range(2000)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(f"{folder}/tokenizer.json")
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    write(folder, "generation_config.json", ends)
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    words = {"bos_token": "<s>", "eos_token": "</s>", "model_max_length": 100000, "chat_template": template}
    write(folder, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **words})
    shape = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": hidden // 4}
    rope = {"max_position_embeddings": 131072, "rope_theta": 10000.0, "rope_scaling": None}
    other = {"attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "initializer_range": 0.02}
    kind = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5}
    config = {**kind, **shape, **heads, **rope, **other, **ends}
    write(folder, "config.json", {**config, "vocab_size": VOCABULARY, "torch_dtype": "bfloat16", "use_cache": True})


main(sys.argv[1], *map(int, sys.argv[2:4]))
