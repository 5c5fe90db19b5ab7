"""What does cutting a recording take beside decoding it alone, and how much memory, whatever its length?

    .venv/bin/python -m benchmarks.recordings [--minutes 10 60]

Speech is imitated by noise with pauses. Each figure is of a process of its own: seconds of processor time, and
megabytes beyond what the process takes before it reads. Decoding alone is the bound: it is the same decoder, to one
channel of 16,000 samples a second, and nothing is kept.
"""

from __future__ import annotations

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

from ingest.readers.media import Media, ServedKind
from ingest.readers.pyav import PyavSound
from ingest.readers.sound_kinds import kind_of
from rag.types import MediaLimits

RATE = 44_100
CONTAINERS = {"mp3": "libmp3lame", "ipod": "aac"}
LIMITS = MediaLimits(max_bytes=25_000_000, max_seconds=600.0, media_types=("audio/flac",))


def recording(container: str, minutes: int) -> bytes:
    """Return bursts of noise of one to eight seconds, with pauses of 0.2 to 1.2 s, at 64 kbit/s."""
    rng = np.random.default_rng(7)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as writer:
        stream: Any = writer.add_stream(CONTAINERS[container], rate=RATE, layout="mono")
        stream.bit_rate = 64_000
        left = minutes * 60 * RATE
        while left > 0:
            burst, pause = (round(RATE * rng.uniform(*range_s)) for range_s in ((1, 8), (0.2, 1.2)))
            samples = np.concatenate([3_000 * rng.standard_normal(burst), np.zeros(pause)])[:left].astype(np.int16)
            left -= len(samples)
            for start in range(0, len(samples), RATE):
                part = np.ascontiguousarray(samples[np.newaxis, start : start + RATE])
                frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
                frame.sample_rate = RATE
                writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return file.getvalue()


def measure(what: str, path: Path) -> None:
    """Print processor seconds, megabytes and parts of one way to read a file; runs in a process of its own."""
    from ingest.readers import read

    data = path.read_bytes()
    kind = kind_of(data, path.suffix)
    assert kind is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, n_parts = time.process_time(), 0
    if what == "decode":
        for _ in PyavSound(data, kind).blocks():
            pass
    else:
        media = Media([ServedKind("speech", "nobody", LIMITS)], max_bytes=sys.maxsize, max_seconds=1e9)
        read(path, document_id=path.name, data=data, media=media)
        n_parts = len(media.wants)
        kept = sum(len(want.medium.data) for want in media.wants if want.medium is not None) // 1_000_000
        before += kept * 1_000  # what is sent is kept for sending: a reply holds 32 MB at most, here it is all
    seconds, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"{seconds:.2f} {grown / 1000:.0f} {n_parts}\n")


def main() -> None:
    """Run each way on each recording, twice, and print the better of both."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=int, nargs="+", default=[10, 60])
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    sys.stdout.write(
        "| Recording | Decoding alone | Cut and encoded | Ratio | Parts | Memory beyond the file and the parts |\n"
    )
    sys.stdout.write("|---|--:|--:|--:|--:|--:|\n")
    with tempfile.TemporaryDirectory() as folder:
        for container in CONTAINERS:
            for minutes in arguments.minutes:
                path = Path(folder) / f"talk.{container}"
                path.write_bytes(recording(container, minutes))
                alone_s, _, _ = best("decode", path)
                cut_s, grown_mb, n_parts = best("cut", path)
                ratio = f"{cut_s / alone_s:.2f}"
                row = (f"{container}, {minutes} min", f"{alone_s:.1f} s", f"{cut_s:.1f} s", ratio)
                sys.stdout.write(f"| {' | '.join(row)} | {n_parts:.0f} | {grown_mb:.0f} MB |\n")


def best(what: str, path: Path) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "benchmarks.recordings", "--measure", what, str(path)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    seconds, grown, n_parts = min([float(value) for value in run] for run in runs)
    return seconds, grown, n_parts


if __name__ == "__main__":
    main()
