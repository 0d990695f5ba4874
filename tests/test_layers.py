"""Imports only look down: every module of the package stands on a floor and imports nothing from its own stairs up."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# From the top floor down; a package imports those after it, and itself.
FLOORS = (
    "cli",
    "commands",
    "demo",
    "the package's face",
    "registration",
    "experiments",
    "training",
    "evaluation",
    "hub",
    "visualization",
    "datasets",
    "skeleton_io",
    "config",
    "modeling",
    "version",
)


def modules() -> dict[str, Path]:
    """Every module by its installed name; `modeling/` is installed as llm_action.modeling."""
    found = {}
    for root, prefix in ((REPOSITORY / "llm_action", "llm_action"), (REPOSITORY / "modeling", "llm_action.modeling")):
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join((prefix, *parts)).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The project's modules that one imports, wherever in the file it does."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return {module for module in found if module.split(".")[0] == "llm_action"}


def floor(name: str) -> int:
    parts = name.split(".")
    return FLOORS.index(parts[1] if len(parts) > 1 else "the package's face")


KNOWN = modules()
ARROWS = {name: imports(name, path, KNOWN) for name, path in KNOWN.items()}


def test_every_import_is_of_a_module_that_exists():
    assert {(name, other) for name, others in ARROWS.items() for other in others if other not in KNOWN} == set()


def test_no_import_runs_up():
    up = {(name, other) for name, others in ARROWS.items() for other in others if floor(other) < floor(name)}
    assert up == set()


def test_only_top_floors_import_the_package_face():
    """`import llm_action` registers classes and so imports much; what it imports must not import it back."""
    reached, waiting = set(), ["llm_action"]
    while waiting:
        for other in ARROWS[waiting.pop()] - reached:
            reached.add(other)
            waiting.append(other)
    assert "llm_action" not in reached


def test_no_circle():
    remaining = {name: set(others) - {name} for name, others in ARROWS.items()}
    while free := [name for name, others in remaining.items() if not others & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert sorted(remaining) == []


def test_modeling_stands_alone():
    """A repository on the Hub carries modeling/ as it is: `from .module import name` and a few libraries."""
    allowed = {"torch", "transformers", "peft", "numpy", "huggingface_hub", "safetensors"}
    import sys

    for path in (REPOSITORY / "modeling").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 or (node.level == 1 and node.module and "." not in node.module), path
                roots = set() if node.level else {node.module.split(".")[0]}
            else:
                continue
            assert roots <= allowed | set(sys.stdlib_module_names), (path, roots)
