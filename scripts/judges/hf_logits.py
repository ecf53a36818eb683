"""Logits of a model folder by transformers: judges merged exports and checkpoints.

  python scripts/judges/hf_logits.py MODEL_DIR IDS.json OUT.safetensors [--gguf FILE] [--hidden]

IDS.json holds [[id, ...], ...]. OUT gets logits.<i> [T, V] float32 for each sequence; with --hidden also hidden.<i>.<layer>
[T, C]: the embeddings (0), the output of each block, the last one after the final norm. --gguf names a file in MODEL_DIR.
"""
import argparse

from load import load_model, logits_by_sequence, read_sequences

import torch
from safetensors.torch import save_file


def hidden_states(model, sequences):
    out = {}
    with torch.no_grad():
        for i, ids in enumerate(sequences):
            states = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
            out |= {f"hidden.{i}.{layer}": h[0].contiguous() for layer, h in enumerate(states)}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("ids")
    parser.add_argument("out")
    parser.add_argument("--gguf")
    parser.add_argument("--hidden", action="store_true")
    a = parser.parse_args()
    sequences = read_sequences(a.ids)
    model = load_model(a.model, a.gguf)
    tensors = logits_by_sequence(model, sequences)
    if a.hidden:
        tensors |= hidden_states(model, sequences)
    save_file(tensors, a.out)


if __name__ == "__main__":
    main()
