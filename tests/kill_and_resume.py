"""Kills the whole way from recordings to the Hub at random moments, goes on, and compares with an undisturbed one.

    python tests/kill_and_resume.py CONFIG DATA FOLDER [KILLS] [SEED]

The way: prepare, both stages, distillation, adapt, export with its base, push to a Hub on loopback, each the command
a user gives again after a kill. CONFIG trains on the tiny base that it names, DATA holds recordings in UTD-MHAD's
format. Each way is killed once in every step, at a random moment, and then finished. Prints where the kills struck and
the hash of everything that came out. Each try runs in a forked process, so that none waits for imports.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent / "hub"))
from loopback_hub import LoopbackHub

TOKEN, BASE = "hf_" + "a" * 34, "base-org/tiny-llama"
LONGER = [f"{stage}.{field}" for stage in ("vqvae", "recognizer") for field in ("steps=12", "save_steps=3")]
STEPS = ("prepare", "train", "distill", "adapt", "export", "push")


def main(config: str, data: str, folder: str, kills: str = "40", seed: str = "0") -> None:
    hub = LoopbackHub({TOKEN: ("alice", "write")})
    hub.add_folder(BASE, Path(yaml.safe_load(Path(config).read_text())["base_model"]))
    os.environ.update(HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN, HF_HOME=f"{folder}/home", HF_HUB_DISABLE_XET="1")
    os.environ.update(HF_HUB_OFFLINE="0", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
    import torch

    import llm_action.training.adapt  # what every try needs
    import llm_action.training.distill
    import llm_action.training.train  # noqa: F401

    torch.set_num_threads(1)
    rng, work = random.Random(int(seed)), Path(folder)
    finish(config, data, work / "undisturbed")
    begun = [float(line.split()[1]) for line in (work / "undisturbed" / "steps.txt").read_text().splitlines()]
    seconds = {step: end - start for step, start, end in zip(STEPS, begun, begun[1:], strict=False)}
    expected = outcome(work / "undisturbed", hub)
    struck: Counter[str] = Counter()
    for number in itertools.count():
        disturbed, left = work / f"disturbed{number}", int(kills) - struck.total()
        if not left:
            break
        for place in sorted(rng.sample(range(len(STEPS)), min(left, len(STEPS)))):
            moment = rng.uniform(0, seconds[STEPS[place]])
            status = attempt(config, data, disturbed, (STEPS[place], moment))
            if status == 0:  # the step was faster than the undisturbed one
                break
            assert status == -signal.SIGKILL, (disturbed / "log.txt").read_text()[-3000:]
            struck[(disturbed / "steps.txt").read_text().splitlines()[-1].split()[0]] += 1
        finish(config, data, disturbed)
        assert outcome(disturbed, hub) == expected, disturbed
    print(f"{struck.total()} kills ({', '.join(f'{step} {struck[step]}' for step in STEPS)}) of {number} ways")
    print(f"each ended in {expected}, as the undisturbed one")
    hub.close()


def finish(config: str, data: str, out: Path) -> None:
    assert attempt(config, data, out) == 0, (out / "log.txt").read_text()[-3000:]


def attempt(config: str, data: str, out: Path, strike: tuple[str, float] | None = None) -> int:
    """The exit status of the whole way in a process of its own, negative the signal that ended it.

    Args:
        strike: a step and the seconds after its beginning at which the process is killed, default never.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "steps.txt").write_text("")
    process = os.fork()
    if process == 0:
        silence = os.open(out / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(whole_way(config, data, out))
    if strike is not None:
        while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            begun = dict(line.split() for line in (out / "steps.txt").read_text().splitlines())
            if strike[0] in begun and time.monotonic() >= float(begun[strike[0]]) + strike[1]:
                os.kill(process, signal.SIGKILL)
                break
            time.sleep(0.01)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def whole_way(config: str, data: str, out: Path) -> int:
    """Gives the commands one after the other; those that were finished do nothing, or the same again."""
    from llm_action.cli import main as command

    examples = out.parent / "examples"
    if not examples.is_dir():
        copied = examples.with_name(f"examples.{os.getpid()}")
        (copied / "saluting").mkdir(parents=True)
        for file in sorted(Path(data).glob("a27_s[12]_*.mat")):
            shutil.copy(file, copied / "saluting")
        os.replace(copied, examples)
    commands = {
        "prepare": ["prepare", "utd_mhad", "--source", data, "--out", out / "table", "--workers", "2"],
        "train": ["train", "--config", config, "--data", out / "table", "--out", out / "run", "--set",
                  f"base_model={BASE}", *LONGER],
        "distill": ["distill", out / "run" / "model", "--data", out / "table", "--steps", "20"],
        "adapt": ["adapt", out / "run" / "model", "--examples", examples, "--out", out / "adapted",
                  "--steps", "6"],
        "export": ["export", out / "adapted", "--out", out / "exported", "--include-base"],
        "push": ["push", out / "exported", f"alice/{out.name}"],
    }  # fmt: skip
    for step, words in (*commands.items(), ("end", None)):
        with (out / "steps.txt").open("a") as steps:
            steps.write(f"{step} {time.monotonic()}\n")
        if words is not None and (status := command(list(map(str, words)))):
            return status
    return 0


def outcome(out: Path, hub: LoopbackHub) -> str:
    """One hash of the table, the weights of every folder, and of what the Hub has."""
    digest = hashlib.sha256()
    files = [path for folder in ("table", "run/processor", "run/model", "adapted", "exported")
             for path in sorted((out / folder).rglob("*")) if path.suffix in (".arrow", ".safetensors")]  # fmt: skip
    assert len(files) == 1 + 1 + 6 + 5 + 5, files
    for file in files:
        digest.update(file.relative_to(out).as_posix().encode())
        digest.update(file.read_bytes())
    pushed = hub.model(f"alice/{out.name}").files()
    for name, blob in sorted(pushed.items()):
        if name.endswith(".safetensors"):
            assert blob.content == (out / "exported" / name).read_bytes(), name
            digest.update(name.encode())
    assert len([name for name in pushed if name.endswith(".safetensors")]) == 5, sorted(pushed)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main(*sys.argv[1:])
