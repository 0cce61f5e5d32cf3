#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Decode and prefill of kvlab against llama.cpp's llama-bench, in turns (A B A B ...): make bench-peers LLAMA_BENCH=PATH.

Both run models of the same published shape with random weights (written here as GGUF, no download), the same type of
weights, an f16 cache, batch 1 and the same number of threads. Prints tokens a second of both, the ratio (ours over
llama.cpp's), its range over the turns, and the target. Timings never decide the exit status. Standard library only.
"""
import argparse
import array
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KVLAB = os.path.join(ROOT, "build", "kvlab")
PREFILL = 512
TARGETS = {"decode 4096": 1.6, "prefill": 1.4}  # of the issue; elsewhere the ratio is only told
SHAPES = {
    "gpt2-124m": dict(arch="gpt2", n_layer=12, d_model=768, n_head=12, n_kv_head=12, d_ff=3072, n_vocab=50257, n_ctx=1024),
    "llama-3.2-1b": dict(arch="llama", n_layer=16, d_model=2048, n_head=32, n_kv_head=8, d_ff=8192, n_vocab=128256,
                         n_ctx=131072, rope_base=500000.0),
}
# GGUF: number of the type, numbers in a block, bytes of it (one block of sensible numbers is written over and over).
F32, F16, Q8, BF16 = 0, 1, 8, 30
TYPES = {"f32": F32, "f16": F16, "bf16": BF16, "q8": Q8}
BLOCK = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q8: (32, 34)}
ALIGNMENT = 32


def numbers(kind, n):
    """n numbers of the type around 0, as bytes: a pattern of 64K of them."""
    rng = random.Random(1)
    values = array.array("f", (rng.gauss(0, 0.02) for _ in range(1 << 16)))
    if kind == F32:
        pattern = values.tobytes()
    elif kind == F16:
        pattern = struct.pack("<%de" % len(values), *values)
    elif kind == BF16:
        raw = values.tobytes()
        pattern = b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))
    else:
        pattern = b"".join(struct.pack("<e", 0.0005) + bytes(rng.randrange(256) for _ in range(32)) for _ in range(2048))
    per, size = BLOCK[kind]
    total = n // per * size
    return pattern, total


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    return text(key) + struct.pack("<II", 4, value)


def tensors(s, kind):
    """(name, shape innermost first, type): matrices in the type, vectors f32."""
    d, d_kv = s["d_model"], s["d_model"] // s["n_head"] * s["n_kv_head"]
    gpt2 = s["arch"] == "gpt2"
    yield "token_embd.weight", (d, s["n_vocab"]), kind
    if gpt2:
        yield "position_embd.weight", (d, s["positions"]), F32
    ends = ("weight", "bias") if gpt2 else ("weight",)
    for i in range(s["n_layer"]):
        at = "blk.%d." % i
        for norm in ("attn_norm", "ffn_norm"):
            for end in ends:
                yield at + norm + "." + end, (d,), F32
        if gpt2:
            maps = (("attn_qkv", d, 3 * d), ("attn_output", d, d), ("ffn_up", d, s["d_ff"]), ("ffn_down", s["d_ff"], d))
        else:
            maps = (("attn_q", d, d), ("attn_k", d, d_kv), ("attn_v", d, d_kv), ("attn_output", d, d),
                    ("ffn_gate", d, s["d_ff"]), ("ffn_up", d, s["d_ff"]), ("ffn_down", s["d_ff"], d))
        for name, n_in, n_out in maps:
            yield at + name + ".weight", (n_in, n_out), kind
            if gpt2:
                yield at + name + ".bias", (n_out,), F32
    for end in ends:
        yield "output_norm." + end, (d,), F32


def write_gguf(path, s, kind):
    a = s["arch"]
    meta = {"general.architecture": a, "general.name": "random", a + ".context_length": s["positions"],
            a + ".embedding_length": s["d_model"], a + ".block_count": s["n_layer"],
            a + ".feed_forward_length": s["d_ff"], a + ".attention.head_count": s["n_head"],
            a + ".attention.head_count_kv": s["n_kv_head"], a + ".vocab_size": s["n_vocab"],
            a + (".attention.layer_norm_epsilon" if a == "gpt2" else ".attention.layer_norm_rms_epsilon"): 1e-5,
            "tokenizer.ggml.model": "no_vocab"}
    if a == "llama":
        meta.update({"llama.rope.dimension_count": s["d_model"] // s["n_head"], "llama.rope.freq_base": s["rope_base"]})
    listed, at = [], 0
    for name, shape, of in tensors(s, kind):
        n = 1
        for size in shape:
            n *= size
        pattern, total = numbers(of, n)
        listed.append((name, shape, of, at, pattern, total))
        at += (total + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    with open(path, "wb") as f:
        f.write(struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(meta)))
        for key, value in meta.items():
            f.write(pair(key, value))
        for name, shape, of, offset, _, _ in listed:
            f.write(text(name) + struct.pack("<I", len(shape)) + struct.pack("<%dQ" % len(shape), *shape))
            f.write(struct.pack("<IQ", of, offset))
        f.write(b"\0" * (-f.tell() % ALIGNMENT))
        for _, _, _, _, pattern, total in listed:
            for _ in range(total // len(pattern)):
                f.write(pattern)
            f.write(pattern[:total % len(pattern)])
            f.write(b"\0" * (-f.tell() % ALIGNMENT))


def ours(model, layers, weights, depth, threads, seconds):
    command = [KVLAB, "bench", "--what", "decode", "--steps-only", "--model", model, "--layers", str(layers), "--weights",
               weights, "--threads", str(threads), "--seconds", str(seconds)]
    command += ["--prefill"] if depth is None else ["--depth", str(depth)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=dict(os.environ, OMP_WAIT_POLICY="active")).stdout
    return (PREFILL if depth is None else 1) / statistics.median(float(line) for line in out.split())


def theirs(bench, path, depth, threads, n_token):
    command = [bench, "-m", path, "-t", str(threads), "-r", "3", "-o", "json", "-ngl", "0"]
    command += ["-p", str(PREFILL), "-n", "0"] if depth is None else ["-p", "0", "-n", str(n_token), "-d", str(depth)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return json.loads(out)[0]["avg_ts"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("llama_bench")
    parser.add_argument("--models", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--weights", nargs="*", default=["f32", "f16", "bf16", "q8"], choices=list(TYPES))
    parser.add_argument("--depths", nargs="*", type=int, default=[0, 1024, 4096])
    parser.add_argument("--layers", type=int, default=0, help="of both; 0: all of the published shape")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    if not os.access(args.llama_bench, os.X_OK):
        print("bench_llama: %s cannot be run (LLAMA_BENCH=path/to/llama-bench)" % args.llama_bench, file=sys.stderr)
        return 2
    for model in args.models:
        s = dict(SHAPES[model])
        s["n_layer"] = args.layers or s["n_layer"]
        s["positions"] = max(s["n_ctx"], max(args.depths) + 64, PREFILL)
        print("\n%s, %d layers, random weights, cache f16, batch 1, %d threads" % (model, s["n_layer"], args.threads))
        for weights in args.weights:
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "random.gguf")
                write_gguf(path, s, TYPES[weights])
                for depth in [*args.depths, None]:
                    what = "prefill" if depth is None else "decode %d" % depth
                    us, them = [], []
                    for _ in range(args.turns):
                        us.append(ours(model, args.layers, weights, depth, args.threads, args.seconds))
                        them.append(theirs(args.llama_bench, path, depth, args.threads, 16))
                    ratios = [a / b for a, b in zip(us, them)]
                    ratio, target = statistics.median(ratios), TARGETS.get(what)
                    verdict = "" if not target else "   target %.1f: %s" % (target, "met" if ratio >= target else "missed")
                    print("  %-5s %-12s ours %9.2f tok/s   llama.cpp %9.2f   ratio %.2f [%.2f, %.2f]%s" % (
                        weights, what, statistics.median(us), statistics.median(them), ratio, min(ratios), max(ratios),
                        verdict), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
