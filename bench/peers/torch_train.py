"""LoRA fine-tuning in PyTorch + transformers + peft: the peer of `npm run bench:train`. One JSON line on stdout.

  python bench/peers/torch_train.py MODEL_DIR [--steps 5] [--warmup 1] [--batch 4] [--length 256] [--rank 16] [--alpha 32]
                                    [--threads 2]

float32, all linear layers of the blocks, no dropout, AdamW (fused implementation), sdpa attention, a plain loop. Every row is
`length` random tokens, each of them predicted from those before it (the first token of a row has nothing before it).
Output: tokensPerSecond of each measured step and their median (batch * length tokens a step), seconds of the median step,
losses, peakRssBytes of the process, rssAfterImportBytes, versions.
"""
import argparse
import json
import os
import resource
import statistics
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name, default in (("steps", 5), ("warmup", 1), ("batch", 4), ("length", 256), ("rank", 16), ("alpha", 32), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


ARGS = arguments()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)

import peft  # noqa: E402  (threads must be set before torch loads)
import torch  # noqa: E402
import transformers  # noqa: E402

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def rss_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def load():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(ARGS.model, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False
    config = peft.LoraConfig(r=ARGS.rank, lora_alpha=ARGS.alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                             target_modules=TARGETS)
    return peft.get_peft_model(model.train(), config)


def step(model, optimizer, ids):
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def main():
    torch.set_num_threads(ARGS.threads)
    torch.manual_seed(0)
    rss_import = rss_bytes()
    model = load()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(1)
    seconds, losses = [], []
    for _ in range(ARGS.warmup + ARGS.steps):
        ids = torch.randint(0, model.config.vocab_size, (ARGS.batch, ARGS.length), generator=generator)
        start = time.perf_counter()
        losses.append(round(step(model, optimizer, ids), 5))
        seconds.append(time.perf_counter() - start)
    measured = seconds[ARGS.warmup:]
    tokens = ARGS.batch * ARGS.length
    print(json.dumps({
        "name": "transformers + peft", "method": "lora", "dtype": "f32", "rank": ARGS.rank, "batch": ARGS.batch,
        "length": ARGS.length, "threads": ARGS.threads, "trainableParameters": sum(p.numel() for p in trainable),
        "tokensPerSecond": [round(tokens / s, 1) for s in measured],
        "medianTokensPerSecond": round(tokens / statistics.median(measured), 1),
        "medianStepSeconds": round(statistics.median(measured), 4),
        "losses": losses,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rssAfterImportBytes": rss_import,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }), flush=True)


if __name__ == "__main__":
    main()
