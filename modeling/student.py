"""The student: the trunk with a reader, which answers the trained labels in milliseconds, without the language model.

It needs neither transformers nor the base model: of a model folder it reads `student/` alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .removed_options import without_removed
from .signal_sequence import beside, standardized
from .signal_trunk import SignalTrunk
from .skeleton_geometry import GEOMETRY_VERSION
from .skeleton_layouts import get_layout, own_layout
from .skeleton_normalization import SkeletonNormalizer
from .skeleton_sequence import SKELETON, SkeletonSequence
from .skeleton_trunk import SIZES, SkeletonTrunk

STUDENT_FOLDER = "student"
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FORMAT = 2
_WITHOUT_SENSES = 1  # what is written of a student of skeletons alone
_LATER = ("senses", "point_window")  # unknown to earlier versions, written where they are used


@dataclass
class SenseInput:
    """What a student is given of a further sense: (num_frames, channels), the channels by name."""

    channels: list[str]
    num_frames: int


@dataclass
class StudentConfig:
    """What a student is: its labels, the normalisation it was trained with, and its size.

    Args:
        labels: the answers, in the order of its scores.
        layout, num_frames, max_persons, align_facing, own_layout, geometry, dimensions: see
            `SkeletonNormalizer`.
        widths: of the trunk's blocks, see `skeleton_trunk.SIZES`.
        downsample: frames a step stands for.
        hidden_size, num_layers: of the reader's attention layers; without any, default, the order of the steps is what
            the trunk makes of it.
        dropout: of the reader while training.
        temperature: divides the scores before they become probabilities, see `llm_action.evaluation.calibration`.
        share: of its posterior where it is averaged with the language model's.
        senses: what it is given of further senses, by name; default none.
        point_window: seconds of the windows about action points that it was trained on; default None: whole actions.

    Raises:
        ValueError: fewer than two labels, or frames that the steps do not divide.
    """

    labels: list[str]
    layout: str = "kinect20"
    num_frames: int = 64
    max_persons: int = 2
    align_facing: bool = True
    own_layout: dict[str, Any] | None = None
    geometry: int = GEOMETRY_VERSION
    dimensions: int = 3
    widths: Sequence[int] = SIZES["small"]
    downsample: int = 8
    hidden_size: int = 64
    num_layers: int = 0
    dropout: float = 0.3
    temperature: float = 1.0
    share: float = 0.5
    format_version: int = _WITHOUT_SENSES
    senses: dict[str, SenseInput] = field(default_factory=dict)
    point_window: float | None = None

    def __post_init__(self):
        self.widths = list(self.widths)  # as JSON has them
        if self.own_layout is not None:
            get_layout(self.own_layout)
        self.own_layout = own_layout(self.layout)
        if self.format_version > _FORMAT:
            raise ValueError(
                f"Expected a student of format 1 to {_FORMAT}, got {self.format_version}; update the package."
            )
        self.senses = {
            name: SenseInput(**one) if isinstance(one, Mapping) else one for name, one in self.senses.items()
        }
        self.format_version = _FORMAT if self.senses else _WITHOUT_SENSES
        if len(self.labels) < 2:
            raise ValueError(f"Expected at least two labels, got {self.labels}.")
        if self.num_frames % self.downsample:
            raise ValueError(
                f"Expected num_frames to be a multiple of downsample {self.downsample}, got {self.num_frames}."
            )


class ActionStudent(nn.Module):
    """Class scores of skeletons (this project's design).

    The body parts' features of every step become one vector; attention with learned positions puts the steps in an
    order, which a mean over time alone forgets; then the mean over steps and persons. A small student does without
    attention, which gained it nothing on left-out subjects of UTD-MHAD. Each further sense adds what a `SignalTrunk`
    makes of it; of a sense that is lacking that is zero.
    """

    def __init__(self, config: StudentConfig):
        super().__init__()
        self.config = config
        self.trunk = SkeletonTrunk(get_layout(config.layout), config.widths, config.downsample)
        width = config.hidden_size
        self.inputs = nn.Linear(len(self.trunk.parts) * self.trunk.width, width)
        self.signal_trunks = nn.ModuleList(SignalTrunk(len(sense.channels), width) for sense in config.senses.values())
        self.outputs = nn.Linear(width * (1 + len(config.senses)), len(config.labels))
        if config.num_layers:
            self.positions = nn.Parameter(0.02 * torch.randn(config.num_frames // config.downsample, width))
            layer = nn.TransformerEncoderLayer(
                width, 4, 2 * width, config.dropout, "gelu", batch_first=True, norm_first=True
            )
            self.attention = nn.TransformerEncoder(
                layer, config.num_layers, nn.LayerNorm(width), enable_nested_tensor=False
            )

    @property
    def trunk_of(self) -> dict[str, SignalTrunk]:
        """What reads each further sense, by its name."""
        return dict(zip(self.config.senses, cast(Iterable[SignalTrunk], self.signal_trunks), strict=True))

    def forward(self, skeletons: Tensor, person_mask: Tensor, signals: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores (batch, labels), log-probabilities up to a constant once divided by the temperature.

        Args:
            skeletons: (batch, persons, frames, joints, 3) as `SkeletonNormalizer.arrays` makes them.
            person_mask: (batch, persons) bool, all False where the skeleton is lacking.
            signals: standardised, of the further senses that there are any of: (batch, frames, channels) each, NaN
                throughout where one is lacking.
        """
        return self.outputs(self.features(skeletons, person_mask, signals or {}))

    def features(self, skeletons: Tensor, person_mask: Tensor, signals: Mapping[str, Tensor]) -> Tensor:
        """(batch, hidden_size * senses) what the scores are read from: the mean over persons, and the signals'."""
        persons = skeletons[person_mask]
        seen = self.person_features(persons) if len(persons) else persons.new_zeros(0, self.config.hidden_size)
        return self.with_signals(self.pooled(seen, person_mask), signals)

    def with_signals(self, features: Tensor, signals: Mapping[str, Tensor]) -> Tensor:
        """(batch, hidden_size * senses) of the skeletons' features (batch, hidden_size) and of signals."""
        found = [
            trunk.of_those_there(signals[name]) if name in signals else torch.zeros_like(features)
            for name, trunk in self.trunk_of.items()
        ]
        return torch.cat([features, *found], 1)

    def pooled(self, features: Tensor, person_mask: Tensor) -> Tensor:
        """The mean over persons: (persons, hidden_size) of those in `person_mask` to (batch, hidden_size)."""
        rows = person_mask.nonzero()[:, 0]
        summed = features.new_zeros(len(person_mask), features.shape[1]).index_add(0, rows, features)
        return summed / person_mask.sum(1, keepdim=True).clamp(min=1)

    def person_features(self, persons: Tensor) -> Tensor:
        """(persons, hidden_size) of one person each, (persons, frames, joints, 3): the mean of `step_features`."""
        if not self.config.num_layers:  # a linear layer's mean is that of the mean
            return self.inputs(self.trunk(persons).flatten(2).mean(1)).float()
        return self.step_features(persons).mean(1).float()

    def step_features(self, persons: Tensor) -> Tensor:
        """(persons, steps, hidden_size) of persons (persons, frames, joints, 3)."""
        steps = self.inputs(self.trunk(persons).flatten(2))
        return self.attention(steps + self.positions) if self.config.num_layers else steps

    def normalizer(self) -> SkeletonNormalizer:
        """What makes its inputs."""
        config = self.config
        return SkeletonNormalizer(
            config.layout,
            config.num_frames,
            config.max_persons,
            config.align_facing,
            config.own_layout,
            config.geometry,
            config.dimensions,
        )

    def arrays(self, recordings: Sequence[Any], views: int = 1) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Skeletons, person_mask and signals of recordings, as `forward` takes them; see `log_posterior`."""
        read = [self._read(one) for one in recordings]
        skeletons, person_mask = self.normalizer().arrays([skeleton for skeleton, _ in read], views)
        signals = {}
        for name, trunk in self.trunk_of.items():
            given = [of_recording.get(name) for _, of_recording in read]
            frames, means, scales = self.config.senses[name].num_frames, trunk.means.numpy(), trunk.scales.numpy()
            rows = torch.from_numpy(standardized(given, frames, means, scales))
            signals[name] = rows.repeat_interleave(views, 0)
        return torch.from_numpy(skeletons), torch.from_numpy(person_mask), signals

    def _read(self, recording: Any) -> tuple[SkeletonSequence | None, dict[str, Any]]:
        """The skeleton and the signals (samples, channels) on its clock."""
        if not isinstance(recording, Mapping):
            return recording, {}
        there = {name: one for name, one in recording.items() if one is not None}
        skeleton, known = there.pop(SKELETON, None), self.config.senses
        if unknown := sorted(there.keys() - known.keys()):
            raise ValueError(
                f"The student reads {', '.join((SKELETON, *known))}, got {', '.join(unknown)}; leave that out, let the "
                "language model answer (without fast or hybrid), or distill a student of a model that reads it."
            )
        if skeleton is None and not there:
            raise ValueError(f"Expected a recording of at least one of {', '.join((SKELETON, *known))}, got none.")
        return skeleton, {name: beside(skeleton, one, name, known[name].channels) for name, one in there.items()}

    @torch.inference_mode()
    def log_posterior(self, sequences: Sequence[Any], views: int = 1, labels: Sequence[str] | None = None) -> Tensor:
        """(sequences, labels) log-probabilities of recordings.

        Args:
            sequences: a `SkeletonSequence` each, or a mapping of what there is of one and of the signals of `senses`:
                `{"skeleton": ..., "inertial": ...}`, a `SignalSequence` or (samples, channels).
            views: test-time views whose posteriors are averaged, see `skeleton_normalization.VIEWS`.
            labels: of its own, to choose among; default all.

        Raises:
            ValueError: a sense that it does not read, other channels.
        """
        scores = (self(*self.arrays(sequences, views)) / self.config.temperature).softmax(-1)
        posterior = scores.unflatten(0, (-1, views)).mean(1).log()
        if labels is None:
            return posterior
        return posterior[:, [self.config.labels.index(label) for label in labels]].log_softmax(-1)

    def recognize(
        self,
        sequences: Sequence[Any],
        top_k: int | None = 5,
        views: int = 1,
        labels: Sequence[str] | None = None,
    ) -> list[list[dict[str, Any]]]:
        """The likeliest labels of each recording, `[{"label", "score"}]` each, best first; all if `top_k` is None.

        Args:
            sequences, views, labels: see `log_posterior`.
        """
        if not sequences:
            return []
        labels = self.config.labels if labels is None else list(labels)
        scores, order = self.log_posterior(sequences, views, labels).exp().sort(dim=-1, descending=True, stable=True)
        return [
            [{"label": labels[label], "score": score} for label, score in zip(*best, strict=True)]
            for best in zip(order[:, :top_k].tolist(), scores[:, :top_k].tolist(), strict=True)
        ]

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes `student/config.json` and `student/model.safetensors` into a model folder, each whole or not."""
        folder = Path(folder) / STUDENT_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        weights, config = (folder / f"{name}.tmp" for name in (_WEIGHTS, _CONFIG))
        save_file({name: weight.contiguous() for name, weight in self.state_dict().items()}, weights)
        fields = {name: value for name, value in asdict(self.config).items() if name not in _LATER or value}
        text = json.dumps(fields, indent=2, ensure_ascii=False)
        config.write_text(text + "\n", encoding="utf-8")
        weights.replace(folder / _WEIGHTS)
        config.replace(folder / _CONFIG)

    @classmethod
    def from_pretrained(cls, model: str | Path, revision: str | None = None) -> ActionStudent:
        """The student of a model folder or a Hub repository, ready to answer.

        Raises:
            FileNotFoundError: there is no student.
            ValueError: files that are damaged or do not fit each other, with what to do.
        """
        files = f"{STUDENT_FOLDER}/*"
        folder = Path(model) if Path(model).is_dir() else downloaded(str(model), files, revision=revision)
        folder = folder / STUDENT_FOLDER
        if not (folder / _CONFIG).is_file():
            raise FileNotFoundError(f"{model}: has no student to answer fast; llm-action distill makes one.")
        try:
            fields = without_removed(json.loads((folder / _CONFIG).read_text(encoding="utf-8")))
            student = cls(StudentConfig(**fields))
            student.load_state_dict(load_file(folder / _WEIGHTS))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{folder}: the student cannot be read ({reason}); download it or distill it again."
            ) from error
        return student.eval()


def downloaded(repo_id: str, *patterns: str, revision: str | None = None) -> Path:
    """The folder of a Hub repository's files that fit one of the patterns."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(patterns)))
