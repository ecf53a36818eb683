"""Logits of a base model with a PEFT adapter, by transformers + peft: judges the adapters we write.

  python scripts/judges/peft_logits.py MODEL_DIR ADAPTER_DIR IDS.json OUT.safetensors
  python scripts/judges/peft_logits.py --jobs JOBS.json

IDS.json holds [[id, ...], ...]. OUT gets logits.<i> [T, V] float32 for each sequence. Fails if the adapter holds a tensor that
the model has no place for, or lacks one. JOBS.json is a list of {"model", "adapter", "ids", "out"}, for many in one process;
without "adapter" the model is judged as it is.
"""
import json
import sys
from pathlib import Path

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


def judge(model, ids, out, adapter=None):
    loaded = load_model(model)
    save_file(logits_by_sequence(load_adapter(loaded, adapter) if adapter else loaded, read_sequences(ids)), out)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--jobs":
        for job in json.loads(Path(sys.argv[2]).read_text()):
            judge(**job)
    elif len(sys.argv) == 5:
        model, adapter, ids, out = sys.argv[1:]
        judge(model, ids, out, adapter)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
