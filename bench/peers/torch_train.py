"""Fine-tuning in PyTorch + transformers + peft: the peer of `npm run bench:train`. One JSON line on stdout.

  python bench/peers/torch_train.py MODEL_DIR --method lora|adamw|sgd|lomo --dtype f32|bf16 [--checkpointing] [--compile]
      [--steps 5] [--warmup 1] [--batch 4] [--length 256] [--rank 16] [--alpha 32] [--learning-rate 1e-4] [--threads 2]

lora: all linear layers of the blocks, no dropout, the adapter in the type of the base, fused AdamW. adamw: every weight, fused
AdamW, moments in the type of the weights. sgd: the like without moments. lomo: every weight, updated with plain SGD in a hook as soon as its gradient is complete, the
gradient dropped there. checkpointing: every block, non-reentrant. compile: torch.compile with its defaults. sdpa attention, no weight
decay, no clipping, a plain loop. Every row is `length` random tokens, each of them predicted from those before it (the first token
of a row has nothing before it).
A step is clean if other processes took less than 4% of the cores meanwhile (/proc/stat); steps run until `steps` clean ones are in,
at most three times as many. Output: seconds and others' share of each measured step, losses, peakRssBytes (VmHWM of the process),
rssAfterImportBytes, versions.
"""
import argparse
import json
import os
import resource
import time

OTHERS_LIMIT = 0.04


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--method", choices=["lora", "adamw", "sgd", "lomo"], required=True)
    parser.add_argument("--dtype", choices=["f32", "bf16"], required=True)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    for name, default in (("steps", 5), ("warmup", 1), ("batch", 4), ("length", 256), ("rank", 16), ("alpha", 32), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


ARGS = arguments()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)

import torch  # noqa: E402  (threads must be set before torch loads)
import transformers  # noqa: E402

VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
if ARGS.method == "lora":
    import peft

    VERSIONS["peft"] = peft.__version__

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def status_bytes(key):
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(key)


class Stopwatch:
    """Seconds since it was made, and the share of the cores that other processes took."""

    def __init__(self):
        self.busy, self.own, self.start = self.busy_seconds(), self.own_seconds(), time.perf_counter()

    @staticmethod
    def busy_seconds():
        with open("/proc/stat") as lines:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def own_seconds():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def read(self):
        seconds = time.perf_counter() - self.start
        others = (self.busy_seconds() - self.busy - (self.own_seconds() - self.own)) / (seconds * os.cpu_count())
        return {"seconds": round(seconds, 5), "others": round(max(0.0, others), 4)}


def load():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[ARGS.dtype]
    model = transformers.AutoModelForCausalLM.from_pretrained(ARGS.model, dtype=dtype, attn_implementation="sdpa").train()
    model.config.use_cache = False
    if ARGS.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if ARGS.method != "lora":
        return model
    config = peft.LoraConfig(r=ARGS.rank, lora_alpha=ARGS.alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                             target_modules=TARGETS)
    return peft.get_peft_model(model, config, autocast_adapter_dtype=False)


def update_in_hooks(parameters):
    @torch.no_grad()
    def update(parameter):
        parameter.sub_(parameter.grad, alpha=ARGS.learning_rate)
        parameter.grad = None

    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(update)


def main():
    torch.set_num_threads(ARGS.threads)
    torch.manual_seed(0)
    rss_after_import = status_bytes("VmRSS")
    model = load()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = None
    if ARGS.method == "lomo":
        update_in_hooks(trainable)
    else:
        settings = {"lr": ARGS.learning_rate, "weight_decay": 0.0, "fused": True}
        optimizer = torch.optim.SGD(trainable, **settings) if ARGS.method == "sgd" else torch.optim.AdamW(trainable, **settings)
    forward = torch.compile(model) if ARGS.compile else model

    def step(ids):
        loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    generator = torch.Generator().manual_seed(1)
    steps, losses, clean = [], [], 0
    for i in range(ARGS.warmup + 3 * ARGS.steps):
        if clean >= ARGS.steps:
            break
        ids = torch.randint(0, model.config.vocab_size, (ARGS.batch, ARGS.length), generator=generator)
        watch = Stopwatch()
        losses.append(round(step(ids), 5))
        measured = watch.read()
        if i < ARGS.warmup:
            continue
        steps.append(measured)
        clean += measured["others"] < OTHERS_LIMIT
    print(json.dumps({
        "trainableParameters": sum(p.numel() for p in trainable), "steps": steps, "losses": losses,
        "peakRssBytes": status_bytes("VmHWM"), "rssAfterImportBytes": rss_after_import, "versions": VERSIONS,
    }), flush=True)


if __name__ == "__main__":
    main()
