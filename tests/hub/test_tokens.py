"""The user's token is seen by the Hub alone: in no log, error, configuration or card, whatever fails."""

from __future__ import annotations

from pathlib import Path

import pytest

LOUD = {"HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1", "TRANSFORMERS_VERBOSITY": "debug"}
FAKE = "hf_" + "NobodysTokenAtAll" * 2


def assert_nowhere(token: str, folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files and [file for file in files if token.encode() in file.read_bytes()] == []


def test_a_push_with_an_unknown_token_does_not_repeat_it(client, own_folder):
    done = client.command("push", own_folder, "alice/unknown-token", HF_TOKEN=FAKE, **LOUD)
    assert done.status == 2 and "error: " in done.err
    assert FAKE not in done.out + done.err
    assert_nowhere(FAKE, own_folder)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_push_that_the_hub_refuses_does_not_show_the_token(client, hub, own_folder, tokens, status):
    hub.fail_next(r"POST .*/commit/", status)
    done = client.command("push", own_folder, f"alice/refused-{status}", HF_TOKEN=tokens[0], **LOUD)
    assert done.status == 2 and tokens[0] not in done.out + done.err
    assert_nowhere(tokens[0], own_folder)


def test_no_traceback_shows_the_token(client, own_folder):
    code = (
        "import logging, sys\nlogging.basicConfig(level=logging.DEBUG)\n"
        f"from llm_action.hub.uploader import push\npush({str(own_folder)!r}, 'alice/traceback')"
    )
    done = client.fresh(code, HF_TOKEN=FAKE, **LOUD)
    assert done.status == 1 and "Traceback" in done.err and "401" in done.err
    assert FAKE not in done.out + done.err


def test_a_hub_that_is_away_does_not_bring_the_token_out(client, own_folder):
    code = f"from llm_action.hub.uploader import push\npush({str(own_folder)!r}, 'alice/away')"
    done = client.fresh(code, HF_TOKEN=FAKE, HF_ENDPOINT="http://127.0.0.1:9", **LOUD)
    assert done.status == 1 and FAKE not in done.out + done.err


@pytest.mark.slow
@pytest.mark.parametrize("pushing", [False, True])
def test_a_training_leaves_no_token_in_its_folder_or_log(client, tiny_config, recordings, tmp_path, pushing):
    """With a token that may not write, where it pushes: the training ends in an error, its folder is there."""
    steps = ["vqvae.steps=2", "vqvae.save_steps=1", "recognizer.steps=2", "recognizer.save_steps=1"]
    settings = [*steps, *(["hub_model_id=alice/no-token", "base_model=base-org/tiny-llama"] if pushing else [])]
    arguments = ["--config", tiny_config, "--data", recordings, "--out", tmp_path / "run", "--set", *settings]
    done = client.command("train", *arguments, HF_TOKEN=FAKE, **LOUD)
    assert (done.status == 0) is not pushing, done.err[-2000:]
    assert FAKE not in done.out + done.err
    assert_nowhere(FAKE, tmp_path / "run")
