"""Logits of a base model with a PEFT adapter, by transformers + peft: judges the adapters we write.

  python scripts/judges/peft_logits.py MODEL_DIR ADAPTER_DIR IDS.json OUT.safetensors

IDS.json holds [[id, ...], ...]. OUT gets logits.<i> [T, V] float32 for each sequence. Fails if the adapter holds a tensor that
the model has no place for, or lacks one.
"""
import sys

from load import load_model, logits_by_sequence, read_sequences

import peft
from safetensors import safe_open
from safetensors.torch import save_file


def load_adapter(model, folder):
    adapted = peft.PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=True).eval()
    wanted = set(peft.get_peft_model_state_dict(adapted))
    with safe_open(f"{folder}/adapter_model.safetensors", "pt") as file:
        got = set(file.keys())
    if wanted != got:
        raise SystemExit(f"adapter tensors differ: missing {sorted(wanted - got)}, unexpected {sorted(got - wanted)}")
    return adapted


def main():
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    base, adapter, ids, out = sys.argv[1:]
    sequences = read_sequences(ids)
    save_file(logits_by_sequence(load_adapter(load_model(base), adapter), sequences), out)


if __name__ == "__main__":
    main()
