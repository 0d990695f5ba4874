"""A Hub on loopback, and clients of it in processes of their own: with the package installed, and without it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
WRITER, READER, STRANGER = (f"hf_{name}{'x' * 28}" for name in ("alicewrites", "alicereads", "malloryread"))
BASE = "base-org/tiny-llama"
MODEL = "alice/tiny-actions"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


card_rules = _load("card_rules")
loopback_hub = _load("loopback_hub")


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self):
        """What the code printed last."""
        assert self.status == 0, self.err[-3000:]
        return json.loads(self.out.strip().splitlines()[-1])


class Client:
    """Runs code in forks of one process whose environment points to the Hub on loopback."""

    def __init__(self, python: Path, environment: dict[str, str], folder: Path, imports: list[str]):
        self.environment, self.folder, self.python = environment, folder, python
        command = [str(python), str(HERE / "forking_python.py"), *imports]
        self.process = subprocess.Popen(
            command, env=environment, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def start(self, code: str, folder: Path | None = None, **environment: str) -> int:
        """Begins to run `code`; returns the process id. `finish` waits for it."""
        request = {
            "code": code,
            "folder": str(folder or self.folder),
            "environment": environment,
            "out": str(self.folder / "out.txt"),
            "err": str(self.folder / "err.txt"),
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["pid"]

    def finish(self) -> Result:
        status = json.loads(self.process.stdout.readline())["status"]
        return Result(status, *((self.folder / name).read_text() for name in ("out.txt", "err.txt")))

    def run(self, code: str, folder: Path | None = None, **environment: str) -> Result:
        self.start(code, folder, **environment)
        return self.finish()

    def command(self, *arguments, **environment: str) -> Result:
        """Runs `llm-action ARGUMENTS`."""
        return self.run(command_line(*arguments), **{"HF_TOKEN": WRITER, **environment})

    def fresh(self, code: str, **environment: str) -> Result:
        """Runs `code` in a new process, for variables that are read at import."""
        done = subprocess.run(
            [str(self.python), "-c", code],
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def command_line(*arguments) -> str:
    words = [str(argument) for argument in arguments]
    return f"import sys\nfrom llm_action.cli import main\nsys.exit(main({words!r}))"


@pytest.fixture(scope="session")
def hub(tiny_base: Path) -> Iterator:
    """The Hub: alice may write with one token and read with another; the tiny base model is there."""
    tokens = {WRITER: ("alice", "write"), READER: ("alice", "read"), STRANGER: ("mallory", "read")}
    server = loopback_hub.LoopbackHub(tokens)
    server.add_folder(BASE, tiny_base)
    yield server
    server.close()


def _environment(hub, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LLM_ACTION_"))}
    own = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",  # the server speaks the LFS protocol
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return {**kept, **own}


@pytest.fixture(scope="session")
def client(hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A user with the package."""
    folder = tmp_path_factory.mktemp("client")
    imports = ["llm_action", "llm_action.hub.model_folder", "llm_action.training.train"]
    running = Client(Path(sys.executable), _environment(hub, folder / "home"), folder, imports)
    yield running
    running.close()


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with everything that is installed here, except this package."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (target,) = folder.glob("lib/python*/site-packages")
    for packages in {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}:
        for entry in Path(packages).iterdir():
            if "llm_action" not in entry.name and not (target / entry.name).exists():
                (target / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def clean_client(hub, clean_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A user without the package."""
    folder = tmp_path_factory.mktemp("clean_client")
    running = Client(clean_python, _environment(hub, folder / "home"), folder, ["transformers.pipelines", "peft"])
    yield running
    running.close()


@pytest.fixture(scope="session")
def model_folder(tiny_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model folder whose base is the one on the Hub; not to be changed."""
    from llm_action.hub.model_folder import copy_model

    return copy_model(tiny_export, tmp_path_factory.mktemp("model") / "tiny-actions", base_model=BASE)


@pytest.fixture
def own_folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, to be changed."""
    return Path(shutil.copytree(model_folder, tmp_path / "tiny-actions"))


RESULT = {
    "dataset": "utd_mhad",
    "protocol": "cross_subject",
    "n": 12,
    "top1": 0.5,
    "top5": 1.0,
    "labels": ["wave", "clap"],
}
RESULT |= {"mean_class_accuracy": 0.45, "confusion": [[3, 3], [3, 3]]}


@pytest.fixture
def result() -> dict:
    """What `llm-action evaluate --json` writes, as far as a card needs it."""
    return dict(RESULT)


@pytest.fixture(scope="session")
def shared(client: Client, hub, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The model folder pushed to the Hub, with an evaluation result and a Space."""
    folder = tmp_path_factory.mktemp("pushed")
    shutil.copytree(model_folder, folder / "tiny-actions")
    (folder / "result.json").write_text(json.dumps(RESULT))
    done = client.command("push", folder / "tiny-actions", MODEL, "--space", "--results", folder / "result.json")
    assert done.status == 0, done.err
    return done


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording twice: recording.npy (frames, joints, 3) and recording.npz, in layout kinect20."""
    from llm_action.datasets.synthetic.sequences import generate_sequence
    from llm_action.skeleton_io import write_npz

    folder = tmp_path_factory.mktemp("recording")
    sequence = generate_sequence("waving a hand", 3, camera=2, repetition=1).to_layout("kinect20")
    np.save(folder / "recording.npy", sequence.joints[0])
    write_npz(sequence, folder / "recording.npz")
    return folder


@pytest.fixture(scope="session")
def tokens() -> tuple[str, str, str]:
    """Of alice to write, of alice to read, of somebody else."""
    return WRITER, READER, STRANGER


@pytest.fixture(scope="session")
def command_code():
    """`llm-action ARGUMENTS` as code for `Client.run`."""
    return command_line


@pytest.fixture(scope="session")
def check_card():
    """The Hub's rules for a card's metadata: (text, "model" or "dataset" or "space") -> (errors, warnings)."""
    return card_rules.check_card


@pytest.fixture(scope="session")
def pickles():
    """{name: content} -> the names that are pickles, by content or by the suffix that means one."""

    def find(contents: dict[str, bytes]) -> list[str]:
        suffixes = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
        starts = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # pickles, and torch's zip of one
        return [name for name, content in contents.items() if name.endswith(suffixes) or content.startswith(starts)]

    return find
