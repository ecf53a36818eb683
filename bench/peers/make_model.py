"""Writes a model of SmolLM2-135M's shape with random weights, the subject of the training benchmark.

  python bench/peers/make_model.py OUT_DIR [--layers 30]

OUT_DIR gets config.json and model.safetensors (float32, 134.5 M parameters, 538 MB, tied embeddings), seed 0. Does nothing if
OUT_DIR already holds the model of that many layers; a half-written one is never left under the final name.
"""
import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
    "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": True, "max_position_embeddings": 8192,
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    "torch_dtype": "float32",
}


def shapes(config):
    c, f, d = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    yield "model.embed_tokens.weight", (config["vocab_size"], c)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        yield block + "input_layernorm.weight", (c,)
        yield block + "self_attn.q_proj.weight", (q, c)
        yield block + "self_attn.k_proj.weight", (kv, c)
        yield block + "self_attn.v_proj.weight", (kv, c)
        yield block + "self_attn.o_proj.weight", (c, q)
        yield block + "post_attention_layernorm.weight", (c,)
        yield block + "mlp.gate_proj.weight", (f, c)
        yield block + "mlp.up_proj.weight", (f, c)
        yield block + "mlp.down_proj.weight", (c, f)
    yield "model.norm.weight", (c,)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=CONFIG["num_hidden_layers"])
    a = parser.parse_args()
    config = CONFIG | {"num_hidden_layers": a.layers}
    config_file, weights_file = a.out / "config.json", a.out / "model.safetensors"
    if weights_file.exists() and config_file.exists() and json.loads(config_file.read_text()) == config:
        return
    a.out.mkdir(parents=True, exist_ok=True)
    weights_file.unlink(missing_ok=True)
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.ones(shape) if len(shape) == 1 else 0.02 * torch.randn(shape, generator=generator)
             for name, shape in shapes(config)}
    partial = a.out / "model.safetensors.partial"
    save_file(state, partial, metadata={"format": "pt"})
    config_file.write_text(json.dumps(config, indent=2) + "\n")
    partial.rename(weights_file)


if __name__ == "__main__":
    main()
