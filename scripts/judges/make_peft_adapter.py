"""Random adapters as PEFT writes them, for the tests that load foreign adapters.

  python scripts/judges/make_peft_adapter.py MODEL_DIR OPTIONS.json IDS.json OUT_DIR

OPTIONS.json: arguments of peft.LoraConfig (r, lora_alpha, target_modules, rank_pattern, alpha_pattern, use_rslora,
layers_to_transform, ...) plus "seed" and "storage" ("float32", "bfloat16" or "float16": the type the tensors are stored in).
A and B are both random, so that every tensor matters. OUT_DIR gets the adapter folder and logits.safetensors with
logits.<i> [T, V] float32 for each sequence of IDS.json, computed from the adapter as stored.
"""
import json
import sys
from pathlib import Path

from load import load_model, logits_by_sequence, read_sequences
from peft_logits import load_adapter

import peft
import torch
from safetensors.torch import save_file


def randomise(model, seed):
    """B gets the noise that PEFT gives A, so that the adapter changes the logits by about their own size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=generator) / p.shape[1] ** 0.5)


def main():
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    base, options_file, ids, out = sys.argv[1:]
    options = json.loads(Path(options_file).read_text())
    seed, storage = options.pop("seed", 0), getattr(torch, options.pop("storage", "float32"))
    model = peft.get_peft_model(load_model(base), peft.LoraConfig(task_type="CAUSAL_LM", **options))
    randomise(model, seed)
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data = p.data.to(storage)
    model.save_pretrained(out)
    save_file(logits_by_sequence(load_adapter(load_model(base), out), read_sequences(ids)), f"{out}/logits.safetensors")


if __name__ == "__main__":
    main()
