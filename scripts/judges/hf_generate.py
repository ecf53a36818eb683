"""Greedy continuation by transformers.

  python scripts/judges/hf_generate.py MODEL_DIR IDS.json NEW_TOKENS OUT.json [ADAPTER_DIR]

IDS.json holds prompts [[id, ...], ...]. OUT gets [{"ids": [...], "margins": [...]}, ...]: the new ids, end of text included and
then stopping, and for each the lead of its logit over the second best (a small lead may fall either way in other arithmetic).
"""
import json
import sys
from pathlib import Path

from load import load_model, read_sequences

import torch


def greedy(model, prompt, new_tokens, end_ids):
    ids, new, margins = prompt, [], []
    with torch.no_grad():
        for _ in range(new_tokens):
            best = model(input_ids=ids, use_cache=False).logits[0, -1].float().topk(2)
            new.append(best.indices[0].item())
            margins.append(round((best.values[0] - best.values[1]).item(), 6))
            if new[-1] in end_ids:
                break
            ids = torch.cat([ids, best.indices[:1][None]], dim=1)
    return {"ids": new, "margins": margins}


def main():
    if len(sys.argv) not in (5, 6):
        raise SystemExit(__doc__)
    folder, ids, new_tokens, out = sys.argv[1:5]
    model = load_model(folder)
    if len(sys.argv) == 6:
        from peft_logits import load_adapter
        model = load_adapter(model, sys.argv[5])
    end = model.generation_config.eos_token_id
    end_ids = set(end if isinstance(end, list) else [end])
    results = [greedy(model, prompt, int(new_tokens), end_ids) for prompt in read_sequences(ids)]
    Path(out).write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
