"""modeling/README.md: what it lists is there, and it stays where it is."""

from pathlib import Path

from llm_action.modeling.hub_repository import copy_code

MODELING = Path(__file__).resolve().parents[2] / "modeling"
MODULES = {file.name for file in MODELING.glob("*.py")}


def test_every_file_has_a_line():
    lines = (MODELING / "README.md").read_text(encoding="utf-8").splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == sorted(MODULES - {"__init__.py"})


def test_a_model_folder_gets_the_modules_alone(tmp_path):
    """README.md of a repository on the Hub is the model's card."""
    copy_code(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == MODULES
