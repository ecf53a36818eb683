"""Random adapters as PEFT writes them, for the tests that load foreign adapters.

  python scripts/judges/make_peft_adapter.py MODEL_DIR OPTIONS.json IDS.json OUT_DIR
  python scripts/judges/make_peft_adapter.py --jobs JOBS.json

JOBS.json is a list of {"model", "options", "ids", "out"}, options given in place. OPTIONS.json: arguments of peft.LoraConfig (r, lora_alpha, target_modules, rank_pattern, alpha_pattern, use_rslora,
"peft_type" (LORA, IA3 or LN_TUNING with the arguments of their configurations instead), layers_to_transform, ...) plus "seed" and "storage" ("float32", "bfloat16" or "float16": the type the tensors are stored in).
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
    """B gets the noise that PEFT gives A, so that the adapter changes the logits by about their own size; factors move by a third."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                noise = torch.randn(p.shape, generator=generator)
                if "lora_A" in name or "lora_B" in name:
                    p.copy_(0.3 * noise / p.shape[1] ** 0.5)
                else:
                    p.mul_(1 + 0.3 * noise)


def make(model, options, ids, out):
    seed, storage = options.pop("seed", 0), getattr(torch, options.pop("storage", "float32"))
    config = {"LORA": peft.LoraConfig, "IA3": peft.IA3Config, "LN_TUNING": peft.LNTuningConfig}[options.pop("peft_type", "LORA")]
    adapted = peft.get_peft_model(load_model(model), config(task_type="CAUSAL_LM", **options))
    randomise(adapted, seed)
    for p in adapted.parameters():
        if p.requires_grad:
            p.data = p.data.to(storage)
    adapted.save_pretrained(out)
    save_file(logits_by_sequence(load_adapter(load_model(model), out), read_sequences(ids)), f"{out}/logits.safetensors")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--jobs":
        for job in json.loads(Path(sys.argv[2]).read_text()):
            make(**job)
    elif len(sys.argv) == 5:
        model, options, ids, out = sys.argv[1:]
        make(model, json.loads(Path(options).read_text()), ids, out)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
