"""Writes the benchmark's payloads in fixtures/, by the pack's own code. Their figures are invented."""

from __future__ import annotations

import json

from wanattn.bench.results.payload import payload
from wanattn.bench.results.row import Results, Row
from wanattn.tests.web.make_fixtures import FOLDER, H100, HOSTILE

TOKENS = {25: 27664, 81: 82992}
TIMES = {  # of self-attention at 81 frames
    "host": (409.0, 3e-3, "pytorch"),
    "cudnn": (246.0, 2.4e-3, "cudnn"),
    "fa3": (211.0, 2.5e-3, "fa3"),
    "flash": (396.0, 2.4e-3, "flash"),
    "efficient": (815.0, 2.4e-3, "efficient"),
    "fa3_fp8": (158.0, 5.1e-2, "fa3_fp8"),
}
MISSING = "sageattention not installed (No module named 'sageattention')"
RATE = 720.0


def rows(frames: int, part: str) -> list[Row]:
    tokens = TOKENS[frames]
    keys = tokens if part == "self" else 512
    flops = 4 * 40 * tokens * keys * 128
    scale = tokens * keys / TOKENS[81] ** 2
    made = []
    for name, (milliseconds, error, active) in TIMES.items():
        times = [milliseconds * scale * (1 + wave) for wave in (0.0, 0.004, -0.003, 0.002, 0.001)]
        facts = {"heads": 40, "q_len": tokens, "kv_len": keys, "flops": flops}
        row = Row("kernels", name, part, "14b", "832x1216", frames, "bfloat16", **facts)
        row.times, row.active, row.error, row.rate = times, active, error, RATE
        row.first, row.peak_gib = 2 * times[0], 1.6 * scale
        made.append(row)
    lost = Row("kernels", "sage", part, "14b", "832x1216", frames, "bfloat16", heads=40)
    lost.q_len, lost.kv_len, lost.reason = tokens, keys, MISSING
    return [*made, lost]


def finished() -> dict:
    places = [rows(frames, part) for frames in TOKENS for part in ("self", "text")]
    results = Results("kernels", dict(H100), "host", [row for place in places for row in place])
    results.notes, results.finished = ["kept for auto of Attention Backend: cudnn, fa3"], True
    kept = [(row.place, row.backend) for row in results.rows if row.backend in ("cudnn", "fa3")]
    answer = "Use fa3: 1.94x faster than host in self-attention at 832x1216, 81 frames."
    return payload(results, "finished", "12", kept, answer, f"wanattn bench kernels\n\n{answer}")


def running() -> dict:
    """The first place measured once, the second begun."""
    first, second = rows(25, "self"), rows(25, "text")
    for row in first:
        row.times = row.times[:1]
    for row in second[1:]:
        row.times, row.error, row.active = [], None, ""
    results = Results("kernels", dict(H100), "host", [*first, *second])
    return payload(results, "running", "12", (), "25 frames text cudnn, first call")


def hostile() -> dict:
    """Names and reasons as another pack could make them, numbers that no measurement gives."""
    made = []
    for position, text in enumerate(HOSTILE):
        row = Row("kernels", text, text, text, text, position, text, q_len=320, kv_len=512)
        row.times, row.reason = ([1e-9, 1e9] if position % 2 else []), text
        row.error = float("inf")
        made.append(row)
    results = Results("kernels", {"gpu": HOSTILE[0]}, HOSTILE[1], made, list(HOSTILE))
    return payload(results, "failed", "12", (), HOSTILE[2], HOSTILE[3])


def main() -> None:
    for made in (finished, running, hostile):
        path = FOLDER / f"bench_{made.__name__}.json"
        path.write_text(json.dumps(made()) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
