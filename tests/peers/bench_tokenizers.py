#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Encoding speed of the Hugging Face `tokenizers` package, on one thread, in turns with `kvlab bench --what tokenize`.

    DATA=folder python3 bench_tokenizers.py

The same files and text, a whole text in a call. The package gets its text in one piece, as ours does, and, since pieces
are kinder to it, also in lines (encode_batch without its threads); the faster counts. The ids are compared first.
Prints megabytes a second and the ratio, ours over theirs. Timings never decide the exit status.
"""
import os
import re
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KVLAB = os.path.join(ROOT, "build", "kvlab")
SPLIT_QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TURNS = 5


def make(data):
    folder = os.path.join(data, "tokenizers")
    gpt2 = Tokenizer(BPE.from_file(f"{folder}/gpt2/encoder.json", f"{folder}/gpt2/vocab.bpe"))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    qwen = Tokenizer(BPE.from_file(f"{folder}/qwen/vocab.json", f"{folder}/qwen/merges.txt"))
    qwen.normalizer = normalizers.NFC()
    qwen.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT_QWEN), "isolated"),
                                                  pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    neox = "gpt-neox/20B_tokenizer.json"
    return {"gpt2": (gpt2, "gpt2", []), "gpt_neox": (Tokenizer.from_file(f"{folder}/{neox}"), neox, []),
            "qwen2": (qwen, "qwen", ["--family", "qwen2"])}


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    data = os.environ.get("DATA", "")
    path = os.path.join(data, "wikitext-2", "valid.txt")
    if not os.path.exists(path):
        print("bench-tokenizers: skipped: DATA names no folder with wikitext-2/valid.txt")
        return
    text = open(path, encoding="utf-8", newline="").read()
    lines, n = text.splitlines(keepends=True), len(text.encode())
    peers, ours, theirs = make(data), {}, {}
    for name, (peer, file, options) in peers.items():
        command = [KVLAB, "tokenize", os.path.join(data, "tokenizers", file), path] + options
        ids = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        if list(map(int, ids)) != peer.encode(text, add_special_tokens=False).ids:
            sys.exit(f"bench-tokenizers: {name}: the ids differ")
    for turn in range(TURNS):
        print(f"bench-tokenizers: turn {turn + 1} of {TURNS}", file=sys.stderr)
        out = subprocess.run([KVLAB, "bench", "--what", "tokenize"], check=True, capture_output=True, text=True).stdout
        for name, rate in re.findall(r"^  (\w+) .*? ([\d.]+) MB/s   target", out, re.M):
            ours.setdefault(name, []).append(float(rate))
        for name, (peer, _, _) in peers.items():
            seconds = min(timed(lambda: peer.encode(text, add_special_tokens=False)),
                          timed(lambda: peer.encode_batch(lines, add_special_tokens=False)))
            theirs.setdefault(name, []).append(n / seconds / 1e6)
    print(f"encoding wikitext-2/valid.txt, one thread, tokenizers {tokenizers.__version__}; median of {TURNS} turns")
    for name in peers:
        ratios = sorted(a / b for a, b in zip(ours[name], theirs[name]))
        print(f"  {name:9} ours {statistics.median(ours[name]):6.1f} MB/s   theirs {statistics.median(theirs[name]):5.2f} MB/s   "
              f"ratio {statistics.median(ratios):5.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}]")


if __name__ == "__main__":
    main()
