"""The Hub on loopback answers the real client as the real Hub does."""

from __future__ import annotations

EVERYTHING = """
import inspect, json, os, warnings
from pathlib import Path
from huggingface_hub import HfApi, ModelCard, hf_hub_download, snapshot_download
from huggingface_hub.errors import *

WRITER, READER, STRANGER = os.environ["TOKENS"].split()
api, seen = HfApi(token=WRITER), {}

def refusal(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except (HfHubHTTPError, ValueError) as error:
        return [type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)]

api.create_repo("alice/files", private=True)
api.create_repo("alice/files", exist_ok=True)
seen["twice"] = refusal(api.create_repo, "alice/files")
Path("up/deep").mkdir(parents=True)
Path("up/text.md").write_text("hello")
Path("up/deep/large.bin").write_bytes(bytes(range(256)) * 5000)
first = api.upload_folder(repo_id="alice/files", folder_path="up", commit_message="both")
api.create_tag("alice/files", tag="v1")
Path("up/text.md").write_text("changed")
second = api.upload_folder(repo_id="alice/files", folder_path="up", commit_message="one")
api.create_branch("alice/files", branch="try")
seen["same again"] = api.upload_folder(repo_id="alice/files", folder_path="up").oid == second.oid
seen["tree"] = sorted(entry.path for entry in api.list_repo_tree("alice/files", recursive=True))
seen["top"] = sorted(entry.path for entry in api.list_repo_tree("alice/files"))
seen["info"] = [api.model_info("alice/files").sha == second.oid, api.model_info("alice/files").private]
seen["size"] = api.get_paths_info("alice/files", ["deep/large.bin"])[0].size
for name, options in {"main": {}, "tag": {"revision": "v1"}, "commit": {"revision": first.oid}}.items():
    folder = Path(snapshot_download("alice/files", token=WRITER, **options))
    seen[name] = [(folder / "text.md").read_text(), len((folder / "deep/large.bin").read_bytes())]
seen["no token"] = refusal(api.model_info, "alice/files", token=False)
seen["wrong token"] = refusal(api.model_info, "alice/files", token="hf_wrong")
seen["stranger"] = refusal(api.model_info, "alice/files", token=STRANGER)
seen["reader reads"] = api.model_info("alice/files", token=READER).id
up = {"path_or_fileobj": b"x", "path_in_repo": "x.txt", "repo_id": "alice/files"}
seen["reader writes"] = refusal(api.upload_file, **up, token=READER)
seen["elsewhere"] = refusal(api.create_repo, "mallory/files")
seen["no repo"] = refusal(api.model_info, "alice/nothing")
seen["no revision"] = refusal(hf_hub_download, "alice/files", "text.md", revision="v9", token=WRITER)
seen["no file"] = refusal(hf_hub_download, "alice/files", "none.md", token=WRITER)
if "https://huggingface.co/api" not in inspect.getsource(ModelCard.validate):  # huggingface_hub 2.0 asks no other Hub
    seen["bad card"] = refusal(ModelCard("---\\nlicense: mine\\n---\\n").validate)
    seen["good card"] = refusal(ModelCard("---\\nlicense: mit\\nlanguage: en\\n---\\n").validate)
seen["user"] = api.whoami()["name"]
print(json.dumps(seen))
"""


def test_the_real_client_finds_everything_where_it_expects_it(client, hub, tmp_path, tokens):
    seen = client.run(EVERYTHING, tmp_path, TOKENS=" ".join(tokens)).json
    assert seen["twice"] == ["HfHubHTTPError", 409]
    assert seen["same again"] and seen["info"] == [True, True] and seen["size"] == 256 * 5000
    assert seen["tree"] == [".gitattributes", "deep", "deep/large.bin", "text.md"]
    assert seen["top"] == [".gitattributes", "deep", "text.md"]
    assert seen["main"] == ["changed", 256 * 5000]
    assert seen["tag"] == seen["commit"] == ["hello", 256 * 5000]
    assert seen["no token"] == ["RepositoryNotFoundError", 401]
    assert seen["wrong token"][1] == 401
    assert seen["stranger"] == seen["no repo"] == ["RepositoryNotFoundError", 404]
    assert seen["reader reads"] == "alice/files"
    assert seen["reader writes"][1] == seen["elsewhere"][1] == 403
    assert seen["no revision"] == ["RevisionNotFoundError", 404]
    assert seen["no file"] == ["RemoteEntryNotFoundError", 404]
    assert seen.get("bad card", ["ValueError", None]) == ["ValueError", None] and seen.get("good card") is None
    assert seen["user"] == "alice"
    repo = hub.model("alice/files")
    assert list(repo.messages.values()) == ["initial commit", "both", "one"]
    assert [blob.lfs for blob in repo.files().values()] == [False, True, False]


def test_an_upload_cut_in_half_is_sent_again_by_the_client(client, hub, tmp_path, tokens):
    code = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("alice/cut")
api.upload_file(path_or_fileobj=bytes(300_000), path_in_repo="zeros.bin", repo_id="alice/cut")
"""
    hub.cut_next_upload()
    done = client.run(code, tmp_path, HF_TOKEN=tokens[0])
    assert done.status == 0, done.err
    assert hub.model("alice/cut").files()["zeros.bin"].content == bytes(300_000)
    assert sum(line.startswith("PUT") for line in hub.requests[-12:]) == 2
