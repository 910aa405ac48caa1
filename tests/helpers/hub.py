"""A hub of models on this machine, with the protocol of the real one."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_of_the_test"


class LocalHub:
    """Serves and takes models; ``faults`` lets requests fail.

    ``faults`` maps the beginning of a request, such as "POST /api/models", to
    the status that is the reply instead. ``private``: nothing is served
    without the token.
    """

    def __init__(self):
        self.objects, self.repos, self.commits = {}, {}, []
        self.requests, self.faults, self.private = [], {}, False
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def files(self, repo, revision="main"):
        """Name to bytes at a branch or commit."""
        branches = self.repos[repo]
        if revision in branches:
            return branches[revision]
        return dict(self.commits)[revision]


class _Handler(BaseHTTPRequestHandler):
    hub = None

    def log_message(self, *args):
        pass

    def reply(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_request(self):
        hub = self.hub
        path = unquote(self.path.split("?")[0])
        length = int(self.headers.get("Content-Length") or 0)
        body = self._chunks() if self._is_chunked() else self.rfile.read(length)
        line = f"{self.command} {path}"
        hub.requests.append(line)
        for start, status in hub.faults.items():
            if line.startswith(start):
                self.reply(status, {"error": "out of order"})
                return
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        reads = self.command in ("GET", "HEAD")
        if not known and (hub.private if reads else "/object/" not in path):
            self.reply(401, {"error": "Invalid credentials"})
        elif reads:
            self._serve(path)
        else:
            self._take(path, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def _is_chunked(self):
        return self.headers.get("Transfer-Encoding") == "chunked"

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, path):
        found = re.fullmatch(r"/(\w+/[\w-]+)/resolve/([^/]+)/(.+)", path)
        hub = self.hub
        if not found or found[1] not in hub.repos:
            self.reply(404, X_Error_Code="RepoNotFound")
            return
        repo, revision, name = found.groups()
        try:
            files = hub.files(repo, revision)
        except KeyError:
            self.reply(404, X_Error_Code="RevisionNotFound")
            return
        commit = next(
            key for key, value in reversed(hub.commits) if value == files
        )
        if name not in files:
            self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        content = files[name]
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X_Repo_Commit": commit}
        start = self.headers.get("Range")
        if start:
            first = int(re.match(r"bytes=(\d+)-", start)[1])
            whole = f"bytes {first}-{len(content) - 1}/{len(content)}"
            headers["Content_Range"] = whole
            self.reply(206, content[first:], **headers)
            return
        self.reply(200, content, **headers)

    def _take(self, path, body):
        hub = self.hub
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization')}/{asked['name']}"
            known = repo in hub.repos
            hub.repos.setdefault(repo, {"main": {}})
            url = {"url": f"{hub.url}/{repo}", "id": repo, "name": repo}
            self.reply(409 if known else 200, url)
        elif path.startswith("/object/"):
            hub.objects[path.rsplit("/", 1)[1]] = body
            self.reply(200)
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [self._place(one) for one in json.loads(body)["objects"]]
            self.reply(200, {"transfer": "basic", "objects": objects})
        elif "/preupload/" in path:
            modes = [self._mode(one) for one in json.loads(body)["files"]]
            self.reply(200, {"files": modes})
        elif "/branch/" in path:
            repo, branch = re.match(
                r"/api/models/(.+)/branch/(.+)", path
            ).groups()
            hub.repos[repo].setdefault(branch, dict(hub.repos[repo]["main"]))
            self.reply(200, {})
        elif "/commit/" in path:
            self._commit(path, body)
        elif path == "/api/validate-yaml":
            self.reply(200, {"errors": [], "warnings": []})
        else:
            self.reply(404, {"error": f"no {path} here"})

    def _place(self, asked):
        """Where a large file goes; nowhere if it is here already."""
        oid, known = asked["oid"], asked["oid"] in self.hub.objects
        href = {"upload": {"href": f"{self.hub.url}/object/{oid}"}}
        return {**asked, **({} if known else {"actions": href})}

    def _mode(self, asked):
        large = asked["path"].endswith(".safetensors")
        return {
            "path": asked["path"],
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": False,
            "oid": None,
        }

    def _commit(self, path, body):
        hub = self.hub
        repo, branch = re.match(r"/api/models/(.+)/commit/(.+)", path).groups()
        files = dict(hub.repos[repo][branch])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = hub.objects[value["oid"]]
        oid = hashlib.sha1(body + bytes(len(hub.commits))).hexdigest()
        hub.repos[repo][branch] = files
        hub.commits.append((oid, files))
        url = f"{hub.url}/{repo}/commit/{oid}"
        self.reply(200, {"commitUrl": url, "commitOid": oid, "success": True})
