#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The training step of `kvlab bench`'s models in PyTorch, timed in turns with ours (A B A B ...).

Same architecture, batch and optimiser: pre-LN decoder, fused qkv, GELU (gpt2: its tanh form), learned positions, fused
causal scaled_dot_product_attention, Adam (gpt2: AdamW), head (gpt2: tied). The plain rows compute what a plain script computes: the whole forward pass, loss at
the scored positions. The "needed" row computes final norm and head at the scored positions only. PyTorch gets one fixed
batch; ours draws a fresh one each step, inside the time. Prints the ratio of steps a second (ours over PyTorch), its
range over the turns, and the target. Timings never decide the exit status.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# As harness/bench/workload.c; n_scored positions at the end of T have a target.
MODELS = {
    "small": dict(n_layer=4, d_model=64, n_head=4, d_ff=128, n_vocab=33, T=18, n_scored=1, batch=64, target=3.0),
    "middle": dict(n_layer=4, d_model=256, n_head=4, d_ff=1024, n_vocab=16, T=128, n_scored=121, batch=32, target=1.5),
    "gpt2": dict(n_layer=12, d_model=768, n_head=12, d_ff=3072, n_vocab=50257, T=64, n_scored=64, batch=4, target=1.2,
                 n_ctx=1024, gelu="tanh", is_tied=True, weight_decay=0.01, rows=["eager", "eager, fused Adam"], threads=[2], seconds=12),
}
ROWS = {  # only_needed, compiled, fused: the optimiser's one kernel for the processor, which is not its default
    "eager": (0, 0, 0), "eager, needed head": (1, 0, 0), "compiled": (0, 1, 0), "eager, fused Adam": (0, 0, 1)}


def causal_attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # Before PyTorch 2.0 a plain script writes it out.
    hidden = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["d_model"]
        self.n_head = c["n_head"]
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ff = nn.Sequential(nn.Linear(d, c["d_ff"]), nn.GELU(c.get("gelu", "none")), nn.Linear(c["d_ff"], d))

    def forward(self, x):
        B, T, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, self.n_head, d // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = causal_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, d))
        return x + self.ff(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, c, only_needed):
        super().__init__()
        d = c["d_model"]
        self.only_needed, self.n_scored = only_needed, c["n_scored"]
        self.token, self.position = nn.Embedding(c["n_vocab"], d), nn.Embedding(c.get("n_ctx", c["T"]), d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, c["n_vocab"], bias=False)
        if c.get("is_tied"):
            self.head.weight = self.token.weight

    def forward(self, tokens):
        x = self.token(tokens) + self.position.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        if self.only_needed:
            x = x[:, -self.n_scored:]
        return self.head(self.norm(x))[:, -self.n_scored:]


def make_step(c, only_needed, compiled, fused):
    torch.manual_seed(1)
    model = Decoder(c, only_needed)
    decay, form = c.get("weight_decay", 0), {"fused": True} if fused else {}
    adam = (torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=decay, **form) if decay
            else torch.optim.Adam(model.parameters(), lr=1e-3, **form))
    tokens = torch.randint(c["n_vocab"], (c["batch"], c["T"]))
    targets = torch.randint(c["n_vocab"], (c["batch"], c["n_scored"]))
    forward = torch.compile(model) if compiled else model

    def step():
        adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(tokens).flatten(0, 1), targets.flatten())
        loss.backward()
        adam.step()
        return loss.item()

    return step


def time_torch(step, seconds):
    start = time.perf_counter()
    while time.perf_counter() - start < 0.1 * seconds:
        step()
    samples, start = [], time.perf_counter()
    while not samples or time.perf_counter() - start < 0.9 * seconds:
        begin = time.perf_counter()
        step()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def time_ours(program, model, threads, seconds):
    command = [program, "bench", "--steps-only", "--model", model, "--threads", str(threads), "--seconds", str(seconds)]
    environment = dict(os.environ, OMP_WAIT_POLICY="active")
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return statistics.median(float(line) for line in output.split())


def compare(program, name, threads, turns, seconds):
    c = MODELS[name]
    torch.set_num_threads(threads)
    rows = []
    seconds = max(seconds, c.get("seconds", 0))
    for row in c.get("rows", list(ROWS)[:3]):
        try:
            step = make_step(c, *ROWS[row])
            step()
            rows.append((row, step, []))
        except Exception as error:  # torch.compile needs a compiler and a supported Python
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"  {name:6}  {threads} thread(s)  {row:18}  skipped: {reason[:90]}")
    ours = []
    for turn in range(turns):
        print(f"bench-peers: {name}, {threads} thread(s), turn {turn + 1} of {turns}", file=sys.stderr)
        ours.append(time_ours(program, name, threads, seconds))
        for _, step, samples in rows:
            samples.append(time_torch(step, seconds))
    for row, _, samples in rows:
        ratio = sorted(theirs / our for theirs, our in zip(samples, ours))
        middle = statistics.median(ratio)
        print(f"  {name:6}  {threads} thread(s)  {row:18}  PyTorch {1e3 * statistics.median(samples):9.3f} ms   "
              f"ours {1e3 * statistics.median(ours):9.3f} ms   ratio {middle:5.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}] n {turns}"
              f"   target {c['target']}: {'met' if middle >= c['target'] else 'missed'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "kvlab"))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    args = parser.parse_args()
    print(f"PyTorch {torch.__version__}: training step, ratio of steps a second, ours over PyTorch")
    print("  (median [least, most] over turns; PyTorch computes every position, 'needed head' the head at scored ones only;")
    print("  ours computes of the last layer, too, only what the scored positions need)")
    for name in args.models:
        for threads in args.threads:
            if threads <= os.cpu_count() and threads in MODELS[name].get("threads", args.threads):
                compare(args.program, name, threads, args.turns, args.seconds)


if __name__ == "__main__":
    main()
