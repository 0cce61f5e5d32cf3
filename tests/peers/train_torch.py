#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training steps of `kvlab bench --what train --device`'s models in PyTorch, timed in turns with ours (A B A B ...).

Same shapes and batch (ours says which fitted), AdamW, gradients clipped at norm 1, no dropout; PyTorch with
torch.compile, scaled_dot_product_attention, bf16 autocast over f32 weights, and its fused optimiser. PyTorch gets one
fixed batch; ours draws a fresh one each step, inside the time. FLOPs are ours: 6 for each multiply-add of the forward
pass's products, visible positions alone. --model tiny --torch-device cpu with an emulated plugin is a trial of this
program, whose figures say nothing. Without torch or a device it says so and exits 77.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("skipped: this python3 has no torch")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# As harness/bench/workload.c and the families' presets.
GPT2 = dict(n_vocab=50257, T=1024, n_ctx=1024, is_llama=False)
MODELS = {
    "tiny": dict(n_layer=1, d_model=16, n_head=2, n_kv_head=2, d_ff=16, n_vocab=32, T=16, n_ctx=16, is_tied=False,
                 is_llama=False),
    "gpt2-124m": dict(GPT2, n_layer=12, d_model=768, n_head=12, n_kv_head=12, d_ff=3072, is_tied=True),
    "gpt2-557m": dict(GPT2, n_layer=36, d_model=1024, n_head=8, n_kv_head=8, d_ff=4096, is_tied=False),
    "llama-3.2-1b": dict(n_layer=16, d_model=2048, n_head=32, n_kv_head=8, d_ff=8192, n_vocab=128256, T=2048,
                         is_tied=True, is_llama=True),
}


def flops_per_token(c):
    """6 for each multiply-add: maps of a block, head, scores and values of (T + 1) / 2 visible positions."""
    d, kv = c["d_model"], c["d_model"] // c["n_head"] * c["n_kv_head"]
    block = 2 * d * d + 2 * d * kv + (3 if c["is_llama"] else 2) * d * c["d_ff"]
    return 6 * (c["n_layer"] * (block + 2 * d * (c["T"] + 1) / 2) + d * c["n_vocab"])


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, d, bias = c, c["d_model"], not c["is_llama"]
        self.d_head = d // c["n_head"]
        self.kv = self.d_head * c["n_kv_head"]
        norm = nn.RMSNorm if c["is_llama"] else nn.LayerNorm
        self.norm1, self.norm2 = norm(d), norm(d)
        self.qkv, self.out = nn.Linear(d, d + 2 * self.kv, bias), nn.Linear(d, d, bias)
        self.up = nn.Linear(d, (2 if c["is_llama"] else 1) * c["d_ff"], bias)
        self.down = nn.Linear(c["d_ff"], d, bias)

    def forward(self, x, turn):
        B, T, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).split([d, self.kv, self.kv], -1)
        q, k, v = (y.view(B, T, -1, self.d_head).transpose(1, 2) for y in (q, k, v))
        if turn is not None:
            q, k = rotate(q, *turn), rotate(k, *turn)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.kv < d)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, d))
        h = self.up(self.norm2(x))
        if self.c["is_llama"]:
            gate, h = h.chunk(2, -1)
            h = F.silu(gate) * h
        else:
            h = F.gelu(h, approximate="tanh")
        return x + self.down(h)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, d_head = c["d_model"], c["d_model"] // c["n_head"]
        self.token = nn.Embedding(c["n_vocab"], d)
        self.position = None if c["is_llama"] else nn.Embedding(c["n_ctx"], d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.norm = (nn.RMSNorm if c["is_llama"] else nn.LayerNorm)(d)
        self.head = nn.Linear(d, c["n_vocab"], bias=False)
        if c["is_tied"]:
            self.head.weight = self.token.weight
        angle = torch.outer(torch.arange(c["T"]), 500000.0 ** (-torch.arange(0, d_head, 2) / d_head))
        self.register_buffer("cos", angle.cos()[None, None].bfloat16())
        self.register_buffer("sin", angle.sin()[None, None].bfloat16())

    def forward(self, tokens, targets):
        x = self.token(tokens)
        if self.position is not None:
            x = x + self.position.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x, None if self.position is not None else (self.cos, self.sin))
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), targets.flatten())


def make_step(c, batch, device, compiled):
    torch.manual_seed(1)
    with torch.device(device):
        model = Model(c)
        tokens = torch.randint(c["n_vocab"], (batch, c["T"]))
        targets = torch.randint(c["n_vocab"], (batch, c["T"]))
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if compiled else model

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        return loss.item()  # waits, as ours does

    return step


def time_torch(step, seconds):
    samples, start = [], time.perf_counter()
    while len(samples) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        step()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def time_ours(a, model, seconds):
    """Seconds of a step, and the batch that fitted."""
    command = [a.program, "bench", "--what", "train", "--device", a.device, "--model", model, "--steps-only", "--seconds",
               str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"train_torch: {' '.join(command)}: {done.stderr.strip()}")
    return statistics.median(map(float, done.stdout.split())), int(re.search(r"batch (\d+)", done.stderr)[1])


def compare(a, name):
    c = MODELS[name]
    step, batch, our_samples, samples = None, None, [], []
    for _ in range(a.turns):
        ours, fitted = time_ours(a, name, a.seconds)
        if batch not in (None, fitted):
            sys.exit(f"train_torch: {name}: a batch of {fitted} fitted beside PyTorch, {batch} before (something else uses "
                     "the device's memory)")
        our_samples.append(ours)
        if not step:
            step, batch = make_step(c, fitted, a.torch_device, not a.eager), fitted
            for _ in range(3):
                step()
        samples.append(time_torch(step, a.seconds))
        if a.torch_device == "cuda":
            torch.cuda.empty_cache()  # ours needs the memory; weights and moments stay
    ours, theirs = statistics.median(our_samples), statistics.median(samples)
    tokens = batch * c["T"]
    rate = flops_per_token(c) * tokens / 1e12
    ratios = sorted(t / o for t in samples for o in our_samples)
    print(f"  {name}: batch {batch} x {c['T']}, {1e3 * rate:.4g} GFLOP a step; {'eager' if a.eager else 'compiled'} PyTorch {torch.__version__} {1e3 * theirs:.2f} ms, "
          f"{tokens / theirs:.0f} tokens/s, {rate / theirs:.1f} TFLOP/s; ours {1e3 * ours:.2f} ms, {tokens / ours:.0f} "
          f"tokens/s, {rate / ours:.1f} TFLOP/s; ratio {theirs / ours:.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "kvlab"))
    parser.add_argument("--device", default="cuda", help="ours: cuda, or a plugin's path")
    parser.add_argument("--torch-device", default="cuda")
    parser.add_argument("--models", nargs="*", default=[m for m in MODELS if m != "tiny"], choices=list(MODELS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    a = parser.parse_args()
    if a.torch_device == "cuda" and not torch.cuda.is_available():
        print("skipped: this python3's torch has no device")
        sys.exit(77)
    torch.set_float32_matmul_precision("high")
    for name in a.models:
        compare(a, name)


if __name__ == "__main__":
    main()
