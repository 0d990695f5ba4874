"""Writes a model's action tokenizer and student as ONNX, and checks them against torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from llm_action.hub.model_folder import describe
from llm_action.modeling.modeling_action_vqvae import ActionVQVAE
from llm_action.modeling.skeleton_layouts import get_layout
from llm_action.modeling.student import STUDENT_FOLDER, ActionStudent

ONNX_FOLDER = "onnx"
TOKENIZER_FILE, STUDENT_FILE = "action_tokenizer.onnx", "student.onnx"
_CHECKED = 8  # random skeletons
_SCORES, _DISTANCES = 1e-4, 1e-5  # how far numbers may be apart


class _Tokenizer(nn.Module):
    def __init__(self, vqvae: ActionVQVAE):
        super().__init__()
        self.vqvae = vqvae

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.vqvae.encode(*inputs)


class _Student(nn.Module):
    """All persons are read and the absent ones not counted: ONNX wants shapes that do not depend on the numbers."""

    def __init__(self, student: ActionStudent):
        super().__init__()
        self.student = student

    def forward(self, *inputs: Tensor) -> Tensor:
        skeletons, person_mask, *signals = inputs
        features = self.student.person_features(skeletons.flatten(0, 1)).unflatten(0, person_mask.shape)
        shares = person_mask.float() / person_mask.sum(1, keepdim=True).clamp(min=1)
        trunks = zip(self.student.trunk_of.items(), signals, strict=True)
        heard = {name: trunk.standardized(values) for (name, trunk), values in trunks}
        scores = self.student.outputs(self.student.with_signals((features * shares[..., None]).sum(1), heard))
        return (scores / self.student.config.temperature).log_softmax(-1)


def export_onnx(model: str | Path) -> list[Path]:
    """Writes `onnx/action_tokenizer.onnx`, and where there is a student `onnx/student.onnx`, into a model folder.

    The action tokenizer takes `skeletons` (batch, frames, joints, 3), one person each, and gives `codes` (batch,
    places, levels). The student takes `skeletons` (batch, persons, frames, joints, 3) and `person_mask` (batch,
    persons), and gives `log_posterior` (batch, labels). Batches are of any size. `SkeletonNormalizer.arrays`, which
    needs numpy alone, makes both inputs. A student of several senses takes a signal of each further one as well, under
    its name: (batch, frames, channels) as `signal_sequence.stretched` gives it, NaN throughout if it is missing;
    the person_mask of a missing skeleton is all False. What was written is run in onnxruntime and compared with torch.

    Raises:
        FileNotFoundError: no model folder.
        ImportError: onnx, onnxscript or onnxruntime is missing.
        ValueError: codes that differ where the two nearest codes are not equally near, or scores by more than 1e-4.
    """
    folder = Path(model)
    describe(folder)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(package)
        except ImportError as error:
            raise ImportError(f"ONNX needs {package}: pip install 'llm-action[onnx]' ({error})") from None
    (folder / ONNX_FOLDER).mkdir(exist_ok=True)
    vqvae = ActionVQVAE.from_pretrained(folder / "vqvae").eval()
    tokenizer = _write_tokenizer(vqvae, folder / ONNX_FOLDER / TOKENIZER_FILE)
    if not (folder / STUDENT_FOLDER).is_dir():
        return [tokenizer]
    student = ActionStudent.from_pretrained(folder)
    return [tokenizer, write_student(student, folder / ONNX_FOLDER / STUDENT_FILE)]


def _write_tokenizer(vqvae: ActionVQVAE, file: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    joints = get_layout(vqvae.config.layout).num_joints
    skeletons = torch.randn(_CHECKED, vqvae.config.num_frames, joints, 3, generator=generator)
    _export(_Tokenizer(vqvae), [skeletons], ["skeletons"], "codes", file)
    given = _run(file, {"skeletons": skeletons})
    with torch.inference_mode():
        expected, latents = vqvae.encode(skeletons), vqvae.latents(skeletons)
    differ = torch.from_numpy(given != expected.numpy())[..., 0]  # further levels follow from the first
    if differ.any():
        nearest = vqvae.codebook.distances(latents[differ], vqvae.codebook.codes[0]).topk(2, largest=False).values
        if (nearest[:, 1] - nearest[:, 0]).max() >= _DISTANCES:
            raise ValueError(f"{file}: onnxruntime gives {int(differ.sum())} other codes than torch; report this.")
    return file


def write_student(student: ActionStudent, file: Path) -> Path:
    """Writes a student as ONNX, checked as `export_onnx` says."""
    config = student.config
    generator = torch.Generator().manual_seed(0)
    shape = (_CHECKED, config.max_persons, config.num_frames, len(student.trunk.parents), 3)
    skeletons = torch.randn(shape, generator=generator)
    person_mask = torch.arange(config.max_persons).expand(shape[:2]) <= torch.arange(_CHECKED)[:, None]
    signals = {
        name: torch.randn(_CHECKED, sense.num_frames, len(sense.channels), generator=generator)
        for name, sense in config.senses.items()
    }
    for values in signals.values():
        values[: _CHECKED // 2] = torch.nan
    inputs = {"skeletons": skeletons, "person_mask": person_mask, **signals}
    _export(_Student(student), list(inputs.values()), list(inputs), "log_posterior", file)
    given = _run(file, inputs)
    with torch.inference_mode():
        standard = {name: trunk.standardized(signals[name]) for name, trunk in student.trunk_of.items()}
        expected = (student(skeletons, person_mask, standard) / config.temperature).log_softmax(-1).numpy()
    apart = np.abs(given - expected).max()
    if apart > _SCORES:
        raise ValueError(f"{file}: onnxruntime gives scores that are {apart:.1e} off torch's; report this.")
    return file


def _export(module: nn.Module, inputs: Sequence[Tensor], names: list[str], output: str, file: Path) -> None:
    shapes = (tuple({0: torch.export.Dim("batch")} for _ in inputs),)  # of the one argument *inputs
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs),
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=names,
        output_names=[output],
        verbose=False,
    )
    assert program is not None
    program.save(str(file))


def _run(file: Path, inputs: dict[str, Tensor]) -> np.ndarray:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
