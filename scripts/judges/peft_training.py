"""Training runs of a base model with an adapter of PEFT, step by step: judges methods that we train.

  python scripts/judges/peft_training.py --jobs JOBS.json

JOBS.json is a list of {"model", "adapter", "rows", "learningRate", "out"}. adapter: a folder that the run starts from, as PEFT or this
package wrote it. rows: a JSON file with the rows of every step, [[{"ids", "labelsFrom"}, ...], ...]; token i carries loss iff i >= labelsFrom and
i >= 1. OUT gets {"losses"}. AdamW without weight decay and clipping; loss and steps as in scripts/fixtures/trajectory_runs.py. Optional "loraPlusRatio":
parameter groups as peft.optimizers.create_loraplus_optimizer makes them.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))

import peft
import torch
from peft.optimizers import create_loraplus_optimizer
from trajectory_runs import load_base, step_loss


def train(model, adapter, rows, learningRate, out, loraPlusRatio=None):
    torch.manual_seed(0)
    adapted = peft.PeftModel.from_pretrained(load_base(model), adapter, is_trainable=True, autocast_adapter_dtype=False)
    parameters = [p for p in adapted.parameters() if p.requires_grad]
    if loraPlusRatio is None:
        optimizer = torch.optim.AdamW(parameters, lr=learningRate, weight_decay=0, foreach=False, fused=False)
    else:
        optimizer = create_loraplus_optimizer(adapted, torch.optim.AdamW, lr=learningRate, loraplus_lr_ratio=loraPlusRatio, loraplus_weight_decay=0)
    losses = []
    for step in json.loads(Path(rows).read_text()):
        losses.append(step_loss(adapted, step))
        optimizer.step()
        optimizer.zero_grad()
    Path(out).write_text(json.dumps({"losses": losses}))


def main():
    if len(sys.argv) != 3 or sys.argv[1] != "--jobs":
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    for job in json.loads(Path(sys.argv[2]).read_text()):
        train(**job)


if __name__ == "__main__":
    main()
