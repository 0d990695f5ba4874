"""What the cards say, and that the Hub's checks take them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, SpaceCard, parse_eval_result_entries
from PIL import Image

from llm_action.config.experiment import load_experiment
from llm_action.datasets import load_benchmark
from llm_action.hub.cards import MARK, dataset_card, space_card, write_card
from llm_action.hub.model_folder import add_result


def accepted(check_card, card, kind: str) -> None:
    assert check_card(str(card), kind) == ([], [])


@pytest.fixture(scope="module")
def card(model_folder) -> ModelCard:
    return ModelCard.load(model_folder / "README.md")


def test_the_metadata_is_what_the_hub_wants(card, check_card):
    accepted(check_card, card, "model")
    data = card.data.to_dict()
    assert data["license"] == "apache-2.0" and data["language"] == "en" and data["library_name"] == "transformers"
    assert data["base_model"] == "base-org/tiny-llama" and data["base_model_relation"] == "adapter"
    assert data["datasets"] == ["utd_mhad"] and data["pipeline_tag"] == "video-classification"
    assert "skeleton-action-recognition" in data["tags"] and "model-index" not in data


def test_every_part_of_the_card_is_there(card, model_folder):
    titles = re.findall(r"^## (.+)$", card.content, re.MULTILINE)
    assert titles == [
        "How to use it",
        "Training",
        "Action sentences",
        "Evaluation",
        "Limits",
        "Bias and privacy",
        "Versions",
        "Citation",
    ]
    assert "2404.00532" in card.content and "no checkpoint of the paper's authors" in card.content
    for library in ("llm-action", "transformers", "peft", "torch"):
        assert re.search(rf"{library} \d+\.\d+", card.content)
    assert not re.search(r"\n{4,}|{{|{%|\bNone\b", card.content)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", card.content):
        assert Image.open(model_folder / picture).size[0] > 300
    judges = (model_folder / "familiarity.safetensors").is_file()
    assert ("how familiar the motion is" in card.content) == judges != ("nothing tells" in card.content)
    assert "training/rank_frequency.png" in card.content and "training/learning_curve.png" in card.content


def test_the_recipe_trains_the_same(card, tiny_config, tmp_path):
    (recipe,) = re.findall(r"```yaml\n(.*?)```", card.content, re.DOTALL)
    (tmp_path / "experiment.yaml").write_text(recipe)
    told, wanted = load_experiment(tmp_path / "experiment.yaml"), load_experiment(tiny_config)
    assert (told.vqvae, told.recognizer, told.dataset) == (wanted.vqvae, wanted.recognizer, wanted.dataset)
    assert told.base_model == "base-org/tiny-llama", "not a path of this machine"


def test_the_sentence_statistics_are_those_of_the_training_sentences(model_folder, tiny_run):
    from datasets import load_from_disk

    config = json.loads((model_folder / "config.json").read_text())
    told = json.loads((model_folder / "training" / "record.json").read_text())["sentences"]
    rows = load_from_disk(str(tiny_run / "sentences"))["input_ids"]
    tokens = np.array([index for row in rows for index in row if index >= config["base_vocab_size"]])
    _, counts = np.unique(tokens, return_counts=True)
    shares = counts / len(tokens)
    assert (told["sentences"], told["tokens"], told["used"]) == (len(rows), len(tokens), len(counts))
    assert told["entropy_bits"] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-3)
    assert 0 <= told["zipf_divergence"] <= 1
    assert told["most_frequent"][0]["share"] == pytest.approx(shares.max(), abs=1e-4)


def test_evaluation_results_go_onto_the_card_and_into_eval_results(own_folder, check_card, result):
    add_result(own_folder, result)
    add_result(own_folder, {**result, "dataset": "nw_ucla", "protocol": "cross_view", "top1": 0.25})
    add_result(own_folder, {**result, "top1": 0.75})
    card = ModelCard.load(own_folder / "README.md")
    accepted(check_card, card, "model")
    found = {(r.dataset_type, r.metric_name): r.metric_value for r in card.data.eval_results}
    assert len(found) == 6
    assert found["utd_mhad", "top-1 accuracy"] == 75 and found["nw_ucla", "top-1 accuracy"] == 25
    title, head, _, row = card.content[card.content.index("### UTD-MHAD") :].replace("\n\n", "\n").split("\n")[:4]
    assert head == "| Protocol | sequences | top-1 accuracy | top-5 accuracy | mean class accuracy |"
    assert (title, row) == ("### UTD-MHAD", "| cross_subject | 12 | 75.00 % | 100.00 % | 45.00 % |")
    assert (own_folder / "training" / "confusion_utd_mhad_cross_subject.png").is_file()
    files = sorted(file.name for file in (own_folder / ".eval_results").iterdir())
    assert files == ["nw_ucla_cross_view.yaml", "utd_mhad_cross_subject.yaml"]
    entries = parse_eval_result_entries(yaml.safe_load((own_folder / ".eval_results" / files[1]).read_text()))
    values = {entry.task_id: entry.value for entry in entries}
    assert values["cross_subject_top1"] == 75 and values["cross_subject_mean_class_accuracy"] == 45
    with pytest.raises(ValueError, match="llm-action evaluate.*n, top1"):
        add_result(own_folder, {key: value for key, value in result.items() if key not in ("n", "top1")})


def test_a_table_for_each_data_set_with_its_own_metric_first(own_folder, check_card, result):
    for protocol in ("cross_subject", "cross_view1"):
        add_result(own_folder, {**result, "dataset": "smarthome", "protocol": protocol})
    card = ModelCard.load(own_folder / "README.md")
    accepted(check_card, card, "model")
    table = card.content[card.content.index("### Toyota Smarthome") :].split("\n\n")[1].splitlines()
    assert table[0] == "| Protocol | sequences | mean class accuracy | top-1 accuracy | top-5 accuracy |"
    assert table[2:] == [
        "| cross_subject | 12 | 45.00 % | 50.00 % | 100.00 % |",
        "| cross_view1 | 12 | 45.00 % | 50.00 % | 100.00 % |",
    ]
    assert card.data.eval_results[0].metric_name == "mean class accuracy"


def test_evaluate_writes_into_the_folder_when_asked_to_and_says_so(
    own_folder, tiny_base, recordings, monkeypatch, capsys
):
    from llm_action.cli import main

    def files() -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in own_folder.rglob("*") if file.is_file()}

    monkeypatch.setenv("LLM_ACTION_BASE_MODEL", str(tiny_base))
    untouched = files()
    command = ["evaluate", str(own_folder), "--dataset", "utd_mhad", "--data", str(recordings)]
    assert main(command) == 0
    assert files() == untouched and "recorded" not in capsys.readouterr().err
    with monkeypatch.context() as broken:
        broken.setattr("llm_action.hub.model_folder.write_card", fail_half_way)
        assert main([*command, "--record"]) == 2
    assert files() == untouched and "recorded" not in capsys.readouterr().err
    assert main([*command, "--record"]) == 0
    assert f"recorded in {own_folder}: README.md, training/ and .eval_results/" in capsys.readouterr().err
    (result, *_) = ModelCard.load(own_folder / "README.md").data.eval_results
    assert result.dataset_type == "utd_mhad" and result.dataset_config == "cross_subject"


def fail_half_way(folder):
    (folder / "README.tmp").write_text("half a card")
    raise OSError("No space left on device")


def test_text_of_one_s_own_stays(own_folder, result):
    path = own_folder / "README.md"
    path.write_text(path.read_text().replace(MARK, "").replace("# tiny-actions", "# My model\n\nMy words."))
    add_result(own_folder, result)
    card = ModelCard.load(path)
    assert "My words." in card.content and card.data.eval_results[0].metric_value == 50
    write_card(own_folder, "alice/other")
    assert "My words." in path.read_text()


@pytest.mark.parametrize(
    ("base", "license"),
    [
        ("meta-llama/Llama-2-13b-hf", "llama2"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("meta-llama/Meta-Llama-3.1-8B", "llama3.1"),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama3.2"),
    ],
)
def test_what_is_derived_from_llama_keeps_its_licence(own_folder, check_card, base, license):
    config = json.loads((own_folder / "config.json").read_text())
    (own_folder / "config.json").write_text(json.dumps({**config, "base_model": base}))
    card = ModelCard.load(write_card(own_folder))
    assert card.data.license == license
    accepted(check_card, card, "model")


def test_the_data_set_card_and_its_example(client, hub, recordings, check_card, tokens, tmp_path):
    table = load_benchmark("utd_mhad", str(recordings))
    card = dataset_card(table, "alice/skeletons", "synthetic")
    accepted(check_card, card, "dataset")
    assert isinstance(card, DatasetCard) and card.data.license == "apache-2.0"
    assert "24 sequences of 8 subjects" in card.content and "No person" in card.content
    assert "| cross_subject | protocol: 12 `train`, 12 `test` |" in card.content
    other = dataset_card(table, "alice/skeletons", "utd_mhad")
    accepted(check_card, other, "dataset")
    assert other.data.license == "other" and "keep this repository private" in other.content
    card.save(tmp_path / "card.md")
    table.save_to_disk(str(tmp_path / "table"))
    code = f"""
import re
from datasets import load_from_disk
from huggingface_hub import DatasetCard
load_from_disk({str(tmp_path / "table")!r}).push_to_hub("alice/skeletons")
card = DatasetCard.load({str(tmp_path / "card.md")!r})
exec(re.findall(r"```python\\n(.*?)```", card.content, re.DOTALL)[0])
"""
    done = client.run(code, tmp_path, HF_TOKEN=tokens[0])
    assert done.status == 0, done.err
    assert re.search(r"\w+ \(1, \d+, 20, 3\)", done.out)


def test_the_space_card(check_card):
    card = space_card("alice/tiny-actions")
    accepted(check_card, card, "space")
    assert isinstance(card, SpaceCard) and card.data.sdk == "gradio" and card.data.app_file == "app.py"


def test_the_space_asks_for_what_the_package_needs():
    from importlib.metadata import requires

    from llm_action.hub.cards import TEMPLATES

    listed = set((TEMPLATES / "space" / "requirements.txt").read_text().split())
    needed = {line.replace(" ", "") for line in requires("llm-action") if "extra ==" not in line}

    def parts(requirement: str) -> tuple[str, frozenset[str]]:
        name = re.match(r"[\w.-]+", requirement)[0].lower().replace("-", "_")
        return name, frozenset(requirement[len(name) :].split(",")) - {""}

    assert {parts(line) for line in listed} == {parts(line) for line in needed}
