"""A small Hugging Face Hub on loopback: what the real client needs of the real server, over HTTP, kept in memory.

Repositories (models, data sets, Spaces) with branches, tags and commits; uploads by preupload, LFS batch and NDJSON
commit; downloads by tree and resolve, large files by redirect; card checks; users with tokens. Faults can be asked for:
`fail_next` answers a request with an error, `stall_upload` stops reading an upload half way.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from card_rules import check_card, metadata

LARGE = 10_000_000  # bytes; above it, or if binary, a file goes to LFS


@dataclass
class Blob:
    content: bytes
    lfs: bool

    @property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        return self.sha256 if self.lfs else self.git_oid


@dataclass
class Repo:
    kind: str
    name: str
    private: bool
    refs: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)  # in the order they were made
    messages: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, Blob], message: str) -> str:
        text = f"{self.kind}/{self.name} {len(self.commits)} " + " ".join(f"{p}:{b.oid}" for p, b in files.items())
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.messages[sha], self.refs[branch] = files, message, sha
        return sha

    def files(self, revision: str = "main") -> dict[str, Blob] | None:
        return self.commits.get(self.refs.get(revision, revision))


class LoopbackHub(ThreadingHTTPServer):
    """Serves on a free port of 127.0.0.1 until `close`.

    Attributes:
        url: for HF_ENDPOINT.
        repos: (kind, "user/name") -> Repo.
        requests: every "METHOD /path" received, in order.
        uploads: SHA-256 of every LFS upload received whole, in order.
        tokens: token -> (user, role); the role "read" cannot write.
    """

    daemon_threads = True

    def __init__(self, tokens: dict[str, tuple[str, str]]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tokens = tokens
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.uploads: list[str] = []
        self.stalled, self.released = threading.Event(), threading.Event()
        self._before_stall: int | None = None
        self.lock = threading.Lock()
        self._failures: list[tuple[str, int]] = []
        self._cuts = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """Clients that are killed in the middle of a request are part of the tests."""

    def fail_next(self, pattern: str, status: int) -> None:
        """Answers the next request whose "METHOD /path" matches with `status`."""
        self._failures.append((pattern, status))

    def cut_next_upload(self) -> None:
        """Closes the connection half way through the next upload."""
        self._cuts += 1

    def stall_upload(self, after: int) -> None:
        """Lets `after` more uploads pass, stops reading the next one half way and sets `stalled`."""
        self._before_stall = after
        self.stalled.clear()

    def add_folder(self, name: str, folder: Path) -> None:
        """Makes a public model repository of a folder's files."""
        repo = self.repos["model", name] = Repo("model", name, False)
        blobs = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
        repo.commit("main", {path: Blob(content, b"\0" in content) for path, content in blobs.items()}, "a folder")
        self.lfs |= {hashlib.sha256(content).hexdigest(): content for content in blobs.values()}

    def model(self, name: str) -> Repo:
        return self.repos["model", name]

    def text(self, name: str, path: str, kind: str = "model", revision: str = "main") -> str:
        files = self.repos[kind, name].files(revision)
        assert files is not None
        return files[path].content.decode("utf-8")


class _Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = ""):
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    ROUTES = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/repos/create", "create_repo"),
        ("GET", r"/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?", "info"),
        ("GET", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", "tree"),
        ("GET", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/refs", "references"),
        ("POST", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", "paths_info"),
        ("POST", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/branch/(?P<revision>[^/]+)", "make_branch"),
        ("POST", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/tag/(?P<revision>[^/]+)", "make_tag"),
        ("POST", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
        ("POST", r"/api/(?P<kind>\w+)s/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
        ("POST", r"/((?P<prefix>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>\w{64})", "lfs_upload"),
        ("POST", r"/lfs/verify", "lfs_verify"),
        ("GET", r"/cdn/(?P<oid>\w{64})", "cdn"),
        (
            "GET",
            r"/((?P<prefix>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
            "resolve",
        ),
    )

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query, method = parse_qs(url.query), "GET" if self.command == "HEAD" else self.command
        line = f"{self.command} {url.path}"
        self.server.requests.append(line)
        try:
            for failure in self.server._failures:
                if re.search(failure[0], line):
                    self.server._failures.remove(failure)
                    raise _Refusal(failure[1], message="asked to fail")
            for wanted, pattern, name in self.ROUTES:
                match = re.fullmatch(pattern, url.path)
                if wanted == method and match:
                    fields = {k: v if v is None else unquote(v) for k, v in match.groupdict().items()}
                    if "prefix" in fields:
                        fields["kind"] = (fields.pop("prefix") or "models")[:-1]
                    getattr(self, name)(**fields)
                    return
            raise _Refusal(404, message=f"no such route: {line}")
        except _Refusal as refusal:
            self.close_connection = True  # the body may not have been read
            headers = {"Connection": "close"} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            headers["X-Error-Message"] = refusal.message
            self.answer({"error": refusal.message}, refusal.status, **headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def log_message(self, format, *arguments) -> None:
        """Quiet."""

    # ---- users and repositories

    def user(self) -> tuple[str, str] | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not given:
            return None
        if given not in self.server.tokens:
            raise _Refusal(401, message="Invalid credentials in Authorization header")
        return self.server.tokens[given]

    def repo(self, kind: str, name: str, write: bool = False) -> Repo:
        user, repo = self.user(), self.server.repos.get((kind, name))
        hidden = repo is None or (repo.private and (user is None or user[0] != repo.name.split("/")[0]))
        if hidden:
            raise _Refusal(401 if user is None else 404, "RepoNotFound", "Repository not found")
        if write:
            self.may_write(name.split("/")[0])
        assert repo is not None
        return repo

    def may_write(self, owner: str) -> None:
        user = self.user()
        if user is None:
            raise _Refusal(401, message="Invalid username or password.")
        if user[0] != owner or user[1] != "write":
            raise _Refusal(403, message=f"{user[0]} ({user[1]}) has not the right to write to {owner}")

    def files(self, repo: Repo, revision: str) -> tuple[str, dict[str, Blob]]:
        files = repo.files(revision)
        if files is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo.refs.get(revision, revision), files

    def whoami(self) -> None:
        user = self.user()
        if user is None:
            raise _Refusal(401, message="Invalid username or password.")
        self.answer({"type": "user", "name": user[0], "orgs": [], "auth": {"accessToken": {"role": user[1]}}})

    def create_repo(self) -> None:
        wanted = self.json()
        user = self.user()
        owner = wanted["organization"] or (user or ("",))[0]
        self.may_write(owner)
        kind, name = wanted.get("type") or "model", f"{owner}/{wanted['name']}"
        url = f"{self.server.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.server.repos:
            self.answer({"error": "You already created this repo", "url": url}, 409)
            return
        repo = Repo(kind, name, wanted.get("visibility") == "private" or bool(wanted.get("private")))
        repo.commit("main", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)}, "initial commit")
        self.server.repos[kind, name] = repo
        self.answer({"url": url, "name": name, "id": name})

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        repo = self.repo(kind, name)
        sha, files = self.files(repo, revision or "main")
        card = metadata(files["README.md"].content.decode()) if "README.md" in files else {}
        self.answer(
            {
                "_id": sha[:24],
                "id": name,
                "modelId": name,
                "author": name.split("/")[0],
                "sha": sha,
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": card.get("tags", []),
                "pipeline_tag": card.get("pipeline_tag"),
                "library_name": card.get("library_name"),
                "cardData": card,
                "siblings": [{"rfilename": path} for path in files],
            }
        )

    def references(self, kind: str, name: str) -> None:
        repo = self.repo(kind, name)
        branches = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha} for ref, sha in repo.refs.items()]
        self.answer({"branches": branches, "tags": [], "converts": []})

    def make_branch(self, kind: str, name: str, revision: str) -> None:
        repo, start = self.repo(kind, name, write=True), self.json().get("startingPoint", "main")
        if revision in repo.refs:
            raise _Refusal(409, message="Reference already exists")
        repo.refs[revision] = self.files(repo, start)[0]
        self.answer({})

    def make_tag(self, kind: str, name: str, revision: str) -> None:
        repo = self.repo(kind, name, write=True)
        repo.refs[self.json()["tag"]] = self.files(repo, revision)[0]
        self.answer({})

    # ---- downloads

    def tree(self, kind: str, name: str, revision: str, path: str | None = None) -> None:
        _, files = self.files(self.repo(kind, name), revision)
        inside = f"{path}/" if path else ""
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        entries, folders = [], set()
        for file, blob in files.items():
            if file.startswith(inside):
                first, _, rest = file[len(inside) :].partition("/")
                parents = [file.rsplit("/", n)[0] for n in range(1, file[len(inside) :].count("/") + 1)]
                folders |= set(parents) if recursive else ({inside + first} if rest else set())
                if recursive or not rest:
                    entries.append(_entry(file, blob))
        if path and not entries and not folders:
            raise _Refusal(404, "EntryNotFound", f"{path} does not exist")
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
        self.answer(entries)

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        _, files = self.files(self.repo(kind, name), revision)
        body = self.body()
        is_form = "form" in self.headers.get("Content-Type", "")
        wanted = parse_qs(body.decode())["paths"] if is_form else json.loads(body)["paths"]
        self.answer([_entry(path, files[path]) for path in wanted if path in files])

    def resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        sha, files = self.files(self.repo(kind, name), revision)
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if path not in files:
            self.answer({}, 404, **headers, **{"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        blob = files[path]
        if not blob.lfs:
            self.send(blob.content, 200, ETag=f'"{blob.git_oid}"', **headers)
            return
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
        # another host, as the Hub's content network is: the client follows it without its token
        self.send(b"", 302, Location=f"http://localhost:{self.server.server_port}/cdn/{blob.sha256}", **headers)

    def cdn(self, oid: str) -> None:
        if "Authorization" in self.headers:
            raise _Refusal(400, message="a token was sent to another host")
        content = self.server.lfs[oid]
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            part = content[start : end + 1]
            self.send(part, 206, **{"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"})
        else:
            self.send(content, 200, ETag=f'"{oid}"')

    # ---- uploads

    def preupload(self, kind: str, name: str, revision: str) -> None:
        repo = self.repo(kind, name, write=True)
        _, files = self.files(repo, revision)
        answer = []
        for file in self.json()["files"]:
            large = file["size"] > LARGE or b"\0" in base64.b64decode(file["sample"])
            known = files[file["path"]].oid if file["path"] in files else None
            mode = "lfs" if large else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known})
        self.answer({"files": answer})

    def lfs_batch(self, kind: str, name: str) -> None:
        self.repo(kind, name, write=True)
        objects = []
        for wanted in self.json()["objects"]:
            objects.append({"oid": wanted["oid"], "size": wanted["size"]})
            if wanted["oid"] not in self.server.lfs:
                upload = {"href": f"{self.server.url}/lfs/{wanted['oid']}"}
                verify = {"href": f"{self.server.url}/lfs/verify"}
                objects[-1]["actions"] = {"upload": upload, "verify": verify}
        self.answer({"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str) -> None:
        size = int(self.headers["Content-Length"])
        if self.stalls():
            self.rfile.read(size // 2)
            self.server.stalled.set()
            self.close_connection = True
            self.server.released.wait(30)
            return
        if self.server._cuts:
            self.server._cuts -= 1
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return
        content = self.rfile.read(size)
        if hashlib.sha256(content).hexdigest() != oid:
            raise _Refusal(400, message="the content is not what was announced")
        self.server.lfs[oid] = content
        self.server.uploads.append(oid)
        self.send(b"", 200)

    def stalls(self) -> bool:
        with self.server.lock:
            if self.server._before_stall is None:
                return False
            self.server._before_stall -= 1
            if self.server._before_stall >= 0:
                return False
            self.server._before_stall = None
            return True

    def lfs_verify(self) -> None:
        wanted = self.json()
        if len(self.server.lfs.get(wanted["oid"], b"")) != wanted["size"]:
            raise _Refusal(404, message="not uploaded")
        self.answer({})

    def commit(self, kind: str, name: str, revision: str) -> None:
        repo = self.repo(kind, name, write=True)
        _, files = self.files(repo, revision)
        files, message = dict(files), ""
        for line in self.body().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                message = value["summary"]
            elif operation["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.server.lfs:
                    raise _Refusal(400, message=f"{value['path']} was not uploaded")
                files[value["path"]] = Blob(self.server.lfs[value["oid"]], True)
            elif operation["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif operation["key"] == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not path.startswith(value["path"])}
            else:
                raise _Refusal(400, message=f"unknown operation {operation['key']}")
        sha = repo.commit(revision, files, message)
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.server.url}/{name}/commit/{sha}"})

    def validate_yaml(self) -> None:
        wanted = self.json()
        errors, warnings = check_card(wanted["content"], wanted.get("repoType") or "model")
        text = [{"message": message} for message in errors]
        self.answer(
            {"errors": text, "warnings": [{"message": message} for message in warnings]}, 400 if errors else 200
        )

    # ---- HTTP

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def json(self) -> dict:
        return json.loads(self.body() or b"{}")

    def answer(self, content, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(content).encode(), status, **{"Content-Type": "application/json", **headers})

    def send(self, content: bytes, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, blob: Blob) -> dict:
    entry = {"type": "file", "oid": blob.git_oid, "size": len(blob.content), "path": path}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 130}
    return entry
