"""`plan` against calculations by hand, and the configurations that ship beside it."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

import llm_action.config
from llm_action.cli import main
from llm_action.config.experiment import load_experiment, preset_names
from llm_action.datasets import BENCHMARKS, describe_dataset
from llm_action.datasets.protocols import protocol_name
from llm_action.training.plan import base_config, plan_training

# LLaMA-13B: 40 layers, width 5120, inner width 13824, 32000 words, LoRA 64 on all seven projections, 512 action tokens.
LAYER = 4 * 5120**2 + 3 * 5120 * 13824 + 2 * 5120
BASE = 40 * LAYER + 2 * 32000 * 5120 + 5120
LORA_LAYER = 64 * (4 * (5120 + 5120) + 3 * (5120 + 13824))
TRAINED = 40 * LORA_LAYER + 512 * 5120


@pytest.mark.parametrize(
    ("gpus", "memory", "strategy", "share"), [(1, 80, "ddp", 1), (4, 24, "fsdp", 4), (8, 80, "ddp", 1)]
)
def test_llama_13b_by_hand(gpus, memory, strategy, share):
    plan = plan_training(load_experiment("ntu60"), gpus, memory)
    assert (plan["strategy"], plan["fits"]) == (strategy, True)
    parts = plan["parts"]
    assert parts["base"] == pytest.approx(BASE * 2 / share / 1e9, rel=0.01)
    assert parts["adapter"] == pytest.approx(TRAINED * 4 / share / 1e9, rel=0.01)
    assert parts["gradients"] == pytest.approx(TRAINED * 4 / share / 1e9, rel=0.01)
    assert parts["optimizer"] == pytest.approx(TRAINED * 8 / share / 1e9, rel=0.01)
    gathered = 2 * (LAYER * 2 + LORA_LAYER * 4)
    communication = {1: 0, 4: gathered, 8: TRAINED * 4}[gpus] / 1e9
    assert parts["communication"] == pytest.approx(communication, rel=0.02)
    # 4 sequences of 12 + 2 x (16 + 1) + 10 tokens; checkpoints of 40 layers, and one layer in full
    tokens = 4 * 56
    layer = 5120 * (2 * 6 + 6 * 2 + 6 * 2) + 13824 * (3 * 2 + 2) + 7 * 64 * 2
    activations = tokens * (40 * 5120 * 2 + layer) + 4 * 10 * 32000 * 14
    assert parts["activations"] == pytest.approx(activations / 1e9, rel=0.02)
    assert plan["total"] == pytest.approx(sum(parts.values()), rel=1e-3)
    assert plan["sequences"] == 40091
    assert plan["tokens"] == 40091 * 3 * 56


def test_known_sizes_are_those_of_the_models():
    assert BASE == 13_015_864_320
    assert plan_training(load_experiment("ntu60_llama_7b"), 1, 80)["sizes"]["base_weights"] == 6_738_415_616
    assert plan_training(load_experiment("ntu60_smollm2"), 1, 80)["sizes"]["base_weights"] == 134_515_008


def test_four_bits_shrink_the_layers_and_leave_words_and_head():
    plan = plan_training(load_experiment("ntu60", ["recognizer.base_dtype=nf4"]), 1, 24)
    bytes_of_a_weight = 0.5 + 1 / 64 + 4 / (64 * 256)  # QLoRA: scales of 8 bits a block, of 32 bits 256 blocks
    expected = 40 * LAYER * bytes_of_a_weight + (BASE - 40 * LAYER) * 2
    assert plan["parts"]["base"] == pytest.approx(expected / 1e9, rel=0.001)
    assert plan["parts"]["adapter"] == pytest.approx(TRAINED * 4 / 1e9, rel=0.01)


def test_checkpointing_changes_the_activations_alone():
    experiment = load_experiment("ntu60_llama_7b")
    with_checkpoints = plan_training(experiment, 1, 80)["parts"]
    experiment.recognizer.gradient_checkpointing = False
    without = plan_training(experiment, 1, 80)["parts"]
    assert without["activations"] > 5 * with_checkpoints["activations"]
    assert {**without, "activations": 0} == {**with_checkpoints, "activations": 0}


def test_command(tiny_base, tmp_path, capsys):
    arguments = ["plan", "--config", "utd_mhad", "--gpus", "2", "--memory", "0.1", "--set", f"base_model={tiny_base}"]
    assert main([*arguments, "--json", str(tmp_path / "plan.json")]) == 0
    text = capsys.readouterr().out
    assert "2 x 0.1 GB, fsdp" in text
    assert "does not fit in 0.1" in text
    assert "431 training sequences" in text
    assert (tmp_path / "plan.json").is_file()
    assert main(["plan", "--config", "ntu60", "--gpus", "0", "--memory", "80"]) == 2


# "general" names folders that `make model` prepares
@pytest.mark.parametrize("name", [name for name in preset_names() if name != "general"])
def test_presets_name_what_exists(name):
    experiment = load_experiment(name)
    benchmark = describe_dataset(experiment.dataset)
    assert protocol_name(benchmark, experiment.protocol) in benchmark.protocols
    width = base_config(experiment.base_model).hidden_size
    if name in ("ntu60", "ntu120", "smarthome", "uav_human"):
        assert experiment.vqvae.model["code_dim"] == width == 5120
        assert experiment.vqvae.model["codebook_size"] == 512
        assert (experiment.recognizer.lora_rank, experiment.recognizer.lora_alpha) == (64, 16)


def test_every_benchmark_has_a_preset():
    assert set(BENCHMARKS) <= set(preset_names())
    for name in ("ntu60", "ntu120", "smarthome", "uav_human"):
        bases = [load_experiment(f"{name}{suffix}").base_model for suffix in ("", "_llama_7b", "_smollm2")]
        assert bases == ["huggyllama/llama-13b", "huggyllama/llama-7b", None]


def test_accelerate_configs_load():
    folder = Path(llm_action.config.__file__).parent / "accelerate"
    kinds = {path.stem: load_config_from_file(str(path)) for path in folder.glob("*.yaml")}
    assert {name: (str(config.distributed_type.value), config.num_processes) for name, config in kinds.items()} == {
        "one_gpu": ("NO", 1),
        "ddp_8_gpus": ("MULTI_GPU", 8),
        "fsdp_8_gpus": ("FSDP", 8),
        "zero3_8_gpus": ("DEEPSPEED", 8),
        "cpu": ("MULTI_CPU", 2),
    }
