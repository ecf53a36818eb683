"""Single operations in PyTorch: the rival of `npm run bench:ops`. Answers one JSON line for each JSON line on stdin.

  {"do": "prepare", "case": "0", "kind": ..., "threads": 2, ...}   builds a case; answer {"engine": what runs it}
  {"do": "time", "case": "0", "seconds": 0.2}   answer {"milliseconds": [...], "others": share of the cores that other processes took}
  {"do": "forget"}                              drops all cases

The first line out says the versions. Matrix products go through oneDNN in both types: for f32, where torch prefers MKL, that is what
the setting fp32_precision = "bf16" does on a processor without bf16 tiles; a product is checked to be an f32 one first, else MKL
is kept.
"""
import json
import math
import os
import resource
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import torch  # noqa: E402  (threads must be set before torch loads)
import torch.nn.functional as F  # noqa: E402

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
torch.manual_seed(0)


def random(dtype, *shape, grad=False):
    return (2 * torch.rand(*shape) - 1).to(DTYPES[dtype]).requires_grad_(grad)


def f32_through_onednn():
    x, w = torch.randn(64, 512), torch.randn(512, 64)
    exact = x.double() @ w.double()
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    if (x @ w - exact).abs().max() < 1e-3:
        return "oneDNN"
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"
    return "MKL"


F32_ENGINE = f32_through_onednn()


def engine(dtype):
    return F32_ENGINE if dtype == "f32" else "oneDNN"


def gemm(layout, m, k, n, dtype):
    x, w, dy = random(dtype, m, k), random(dtype, n, k), random(dtype, m, n)
    y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(w)
    calls = {
        "NT": lambda: torch.mm(x, w.t(), out=y),
        "NN": lambda: torch.mm(dy, w, out=dx),
        "TN": lambda: torch.mm(dy.t(), x, out=dw),
    }
    return engine(dtype), calls[layout]


def attention(backward, sequences, length, heads, kv_heads, width, dtype):
    q = random(dtype, sequences, heads, length, width, grad=backward)
    k, v = (random(dtype, sequences, kv_heads, length, width, grad=backward) for _ in range(2))

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)

    if not backward:
        return "sdpa", forward
    out, dout = forward(), random(dtype, sequences, heads, length, width)
    return "sdpa", lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)


def rms_norm(backward, rows, width, dtype):
    x, weight = random(dtype, rows, width, grad=backward), random(dtype, width, grad=backward)
    if not backward:
        return "rms_norm", lambda: F.rms_norm(x, (width,), weight, 1e-6)
    y, dy, residual = F.rms_norm(x, (width,), weight, 1e-6), random(dtype, rows, width), random(dtype, rows, width)

    def run():
        dx, _ = torch.autograd.grad(y, (x, weight), dy, retain_graph=True)
        dx.add_(residual)

    return "rms_norm", run


def swiglu(backward, rows, width, dtype):
    gate, up = random(dtype, rows, width, grad=backward), random(dtype, rows, width, grad=backward)
    if not backward:
        return "silu x up", lambda: F.silu(gate) * up
    y, dy = F.silu(gate) * up, random(dtype, rows, width)
    return "silu x up", lambda: torch.autograd.grad(y, (gate, up), dy, retain_graph=True)


def head(rows, vocab, width, dtype, weight_gradient):
    """Logits, cross entropy and the gradients of the input and, if asked for, of the weight."""
    h, w = random(dtype, rows, width, grad=True), random(dtype, vocab, width, grad=weight_gradient)
    targets = torch.randint(0, vocab, (rows,))

    def run():
        loss = F.cross_entropy((h @ w.t()).float(), targets)
        torch.autograd.grad(loss, (h, w) if weight_gradient else (h,))

    return f"{engine(dtype)}, cross_entropy", run


def lora_layer(rows, widths, rank, adapted, backward, dtype):
    """Linear layers of a decoder block, forward, or forward and backward; `adapted`: with peft's LoRA on each."""
    class Layer(torch.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.linear = torch.nn.Linear(inputs, outputs, bias=False, dtype=DTYPES[dtype])

        def forward(self, x):
            return self.linear(x)

    cases = []
    for inputs, outputs in widths:
        layer = Layer(inputs, outputs)
        if adapted:
            import peft
            config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["linear"])
            layer = peft.get_peft_model(layer, config, autocast_adapter_dtype=False).base_model.model
        else:
            layer.requires_grad_(False)
        trained = [p for p in layer.parameters() if p.requires_grad]
        cases.append((layer, trained, random(dtype, rows, inputs, grad=True), random(dtype, rows, outputs)))

    def run():
        for layer, trained, x, dy in cases:
            y = layer(x)
            if backward:
                torch.autograd.grad(y, (x, *trained), dy)

    return "peft" if adapted else engine(dtype), run


KINDS = {f.__name__: f for f in (gemm, attention, rms_norm, swiglu, head, lora_layer)}


def busy_seconds():
    with open("/proc/stat") as lines:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(run, seconds):
    begin = time.perf_counter()
    run()
    repeats = max(1, math.ceil(0.001 / max(time.perf_counter() - begin, 1e-6)))
    busy, own, start = busy_seconds(), own_seconds(), time.perf_counter()
    milliseconds = []
    while True:
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        milliseconds.append(1000 * (time.perf_counter() - begin) / repeats)
        if time.perf_counter() - start >= seconds:
            break
    others = (busy_seconds() - busy - (own_seconds() - own)) / ((time.perf_counter() - start) * os.cpu_count())
    return {"milliseconds": milliseconds, "others": max(0.0, others)}


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    answer({"torch": torch.__version__, "f32": F32_ENGINE})
    cases = {}
    for line in sys.stdin:
        request = json.loads(line)
        wanted, case = request.pop("do"), request.pop("case", None)
        if wanted == "prepare":
            threads = request.pop("threads")
            torch.set_num_threads(threads)
            name, run = KINDS[request.pop("kind")](**request)
            cases[case] = threads, run
            answer({"engine": name})
        elif wanted == "time":
            threads, run = cases[case]
            torch.set_num_threads(threads)
            answer(measure(run, request["seconds"]))
        else:
            cases.clear()
            answer({})


if __name__ == "__main__":
    main()
