"""Memory that scoring needs above the model, measured in a process of its own.

    python -m llm_action.experiments.bench.memory MODEL --labels 2000 --batch 16

prints the bytes above the loaded model, as JSON, for the best five labels and for the full posterior.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from llm_action.experiments.bench.inputs import BenchInputs, Sizes, load_inputs
from llm_action.experiments.bench.timing import Figure, Section
from llm_action.modeling.label_scoring import score_labels, top_k_labels

SAMPLING_SECONDS = 0.005
_MODULE = "llm_action.experiments.bench.memory"


def memory_section(inputs: BenchInputs, repeats: int) -> Section:
    """What scoring the longest label list needs at batch 16, in gigabytes (10^9) above the model; one run."""
    labels, batch = inputs.sizes.label_counts[-1], inputs.sizes.batch
    command = [sys.executable, "-m", _MODULE, str(inputs.folder), "--labels", str(labels), "--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{_MODULE}: {done.stderr.strip()[-500:]}")
    peaks = json.loads(done.stdout.strip().splitlines()[-1])
    return Section(
        [
            Figure(f"memory, {way} of {labels} labels, batch {batch}", (peak / 1e9,), "GB", "<= 2")
            for way, peak in peaks.items()
        ]
    )


def measure(folder: Path, labels: int, batch: int) -> dict[str, int]:
    """Bytes above the loaded model that each way of scoring took at most."""
    sizes = Sizes(label_counts=(labels,), sequences=batch)
    inputs = load_inputs(folder, False, sizes)
    tree, model = inputs.tree(labels), inputs.model.causal_lm
    embeds = torch.cat([inputs.embeds(row) for row in range(batch)])  # one length: one person each
    with torch.no_grad():
        model.get_decoder()(inputs_embeds=embeds[:1], use_cache=False)  # libraries allocate what they keep
        before = _used()
        ways: dict[str, Callable[[], Any]] = {
            "best-first top-5": lambda: top_k_labels(model, tree, embeds, k=5),
            "full posterior": lambda: score_labels(model, tree, embeds),
        }
        return {name: peak_bytes(run) - before for name, run in ways.items()}


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most memory the process (with CUDA: its tensors on the device) holds while `run` runs."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated()
    peak, ended = [_used()], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLING_SECONDS):
            peak.append(max(peak.pop(), _used()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run()
    ended.set()
    watcher.join()
    return max(peak[0], _used())


def _used() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("--labels", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.model, arguments.labels, arguments.batch)))


if __name__ == "__main__":
    main()
