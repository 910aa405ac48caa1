"""Downloads from a server on this machine."""

import contextlib
import hashlib
import http.server
import io
import re
import threading
import zipfile
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from spatial_brain.dataio import download, files

CHUNK = download._CHUNK
BODY = np.random.default_rng(0).bytes(1_500_000)
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A server whose behaviour a test may change; it records requests."""
    control = SimpleNamespace(
        body=BODY,
        etag='"one"',
        ranges=True,
        drops=[],
        statuses=[],
        retry_after=None,
        declared=None,
        cap=None,
        chunked=None,
        headers={},
        requests=[],
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            control.requests.append(dict(self.headers))
            if control.statuses:
                self.send_response(control.statuses.pop(0))
                if control.retry_after is not None:
                    self.send_header("Retry-After", control.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body, start = control.body, 0
            wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            fits = self.headers.get("If-Range") in (None, control.etag)
            if wanted and control.ranges and fits:
                start = int(wanted[1])
                total = len(body)
                body = body[: start + (control.cap or total)]
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(body) - 1}/{total}"
                )
            else:
                self.send_response(200)
            if control.etag:
                self.send_header("ETag", control.etag)
            for name, value in control.headers.items():
                self.send_header(name, value)
            if control.chunked is not None:
                self.send_chunks(body, control.chunked)
                return
            declared = control.declared or len(body) - start
            if declared > 0:
                self.send_header("Content-Length", str(declared))
            self.end_headers()
            stop = control.drops.pop(0) if control.drops else len(body)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[start:stop])
            self.close_connection = True

        def send_chunks(self, body, complete):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
            if complete:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

    Handler.protocol_version = "HTTP/1.1"
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(
        target=httpd.serve_forever, args=(0.01,), daemon=True
    ).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    control.url = f"http://127.0.0.1:{httpd.server_port}/file.bin"
    control.slept = []
    monkeypatch.setattr(download.time, "sleep", control.slept.append)
    yield control
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("checksum", [MD5, SHA256, SHA256[7:], None])
def test_download_plain(server, tmp_path, checksum):
    path = download.download(server.url, tmp_path / "a" / "f.bin", checksum)
    assert path.read_bytes() == BODY
    assert "spatial-brain/" in server.requests[0]["User-Agent"]
    assert not list(path.parent.glob("*.part*"))
    download.download(server.url, path, checksum)
    assert len(server.requests) == 1


def test_dropped_connections_are_continued(server, tmp_path):
    server.drops = [6 * CHUNK, 14 * CHUNK, 14 * CHUNK]
    path = download.download(server.url, tmp_path / "f.bin", MD5)
    assert path.read_bytes() == BODY
    ranges = [request.get("Range") for request in server.requests]
    expected = [f"bytes={count * CHUNK}-" for count in (6, 14, 14)]
    assert ranges == [None, *expected]
    # Progress resets the wait; the fruitless third attempt doubles it.
    assert server.slept == [1.0, 1.0, 2.0]


def test_killed_download_is_continued_by_the_next_call(server, tmp_path):
    server.drops = [10 * CHUNK]
    with pytest.raises(download.DownloadError, match="run the same command"):
        download.download(server.url, tmp_path / "f.bin", MD5, attempts=1)
    assert (tmp_path / "f.bin.part").stat().st_size == 10 * CHUNK
    assert not (tmp_path / "f.bin").exists()
    download.download(server.url, tmp_path / "f.bin", MD5)
    assert server.requests[-1]["Range"] == f"bytes={10 * CHUNK}-"
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_complete_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / "f.bin.part").write_bytes(BODY)
    download.write_json(
        tmp_path / "f.bin.part.json",
        {"url": server.url, "total": len(BODY), "validator": '"one"'},
    )
    download.download(server.url, tmp_path / "f.bin", MD5)
    assert server.requests == []
    assert (tmp_path / "f.bin").read_bytes() == BODY


def test_server_that_sends_less_than_asked_for(server, tmp_path):
    server.drops, server.cap = [3 * CHUNK], 9 * CHUNK
    path = download.download(server.url, tmp_path / "f.bin")
    assert path.read_bytes() == BODY
    assert [r.get("Range") for r in server.requests] == [
        None,
        *(f"bytes={count * CHUNK}-" for count in (3, 12, 21)),
    ]
    # A server which knows the header sends all if the file has changed.
    assert {r.get("If-Range") for r in server.requests[1:]} == {'"one"'}


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_file_changed_on_the_server(server, tmp_path, honours_if_range):
    server.drops = [10 * CHUNK]
    with pytest.raises(download.DownloadError):
        download.download(server.url, tmp_path / "f.bin", attempts=1)
    server.body = bytes(reversed(BODY))
    server.etag = '"two"' if honours_if_range else server.etag
    if not honours_if_range:
        server.body += b"longer"
    path = download.download(server.url, tmp_path / "f.bin")
    assert path.read_bytes() == server.body


def test_without_range_support_starts_again(server, tmp_path):
    server.ranges = False
    server.drops = [400_000, 500_000]
    path = download.download(server.url, tmp_path / "f.bin", MD5)
    assert path.read_bytes() == BODY
    assert len(server.requests) == 3


def test_without_range_support_gives_up(server, tmp_path):
    server.ranges = False
    server.drops = [500_000, 400_000] * 20
    with pytest.raises(download.DownloadError, match="gave up"):
        download.download(server.url, tmp_path / "f.bin", MD5, attempts=3)
    assert len(server.requests) == 3


@pytest.mark.parametrize("checksum", [MD5, None])
def test_without_etag_continues_only_with_a_checksum(
    server, tmp_path, checksum
):
    server.etag = None
    server.drops = [400_000]
    path = download.download(server.url, tmp_path / "f.bin", checksum)
    assert path.read_bytes() == BODY
    assert ("Range" in server.requests[1]) == (checksum is not None)


def test_retry_after_is_honoured(server, tmp_path):
    server.statuses, server.retry_after = [429, 503], "7"
    download.download(server.url, tmp_path / "f.bin", MD5)
    assert server.slept == [7.0, 7.0]


def test_retry_after_as_a_date(server, tmp_path):
    server.statuses = [429]
    server.retry_after = "Wed, 21 Oct 2015 07:28:00 GMT"
    download.download(server.url, tmp_path / "f.bin", MD5)
    assert server.slept == [0.0]


def test_too_long_retry_after_is_reported(server, tmp_path):
    server.statuses, server.retry_after = [429], "86400"
    with pytest.raises(download.DownloadError, match="86400 s"):
        download.download(server.url, tmp_path / "f.bin")


def test_server_errors_back_off_and_give_up(server, tmp_path):
    server.statuses = [500] * 9
    with pytest.raises(download.DownloadError, match="after 4 attempts.*500"):
        download.download(server.url, tmp_path / "f.bin", attempts=4)
    assert server.slept == [1.0, 2.0, 4.0]


def test_missing_file_is_not_retried(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(download.DownloadError, match="404.*new address"):
        download.download(server.url, tmp_path / "f.bin")
    assert len(server.requests) == 1


def test_not_an_address(tmp_path):
    with pytest.raises(download.DownloadError, match="nonsense"):
        download.download("nonsense", tmp_path / "f.bin")


def test_wrong_checksum_is_removed(server, tmp_path):
    with pytest.raises(ValueError, match="checksum.*removed"):
        download.download(server.url, tmp_path / "f.bin", "md5:" + "0" * 32)
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".lock"]


def test_truncated_response_is_noticed(server, tmp_path):
    server.declared = len(BODY) + 10
    with pytest.raises(download.DownloadError, match="gave up"):
        download.download(server.url, tmp_path / "f.bin", attempts=2)
    assert not (tmp_path / "f.bin").exists()


@pytest.mark.parametrize("complete", [True, False])
def test_chunks_that_end_early(server, tmp_path, complete):
    server.chunked = complete
    if complete:
        path = download.download(server.url, tmp_path / "f.bin")
        assert path.read_bytes() == BODY
        return
    with pytest.raises(download.DownloadError, match="gave up"):
        download.download(server.url, tmp_path / "f.bin", attempts=2)
    assert not (tmp_path / "f.bin").exists()


def test_length_that_the_server_does_not_state(server, tmp_path):
    server.declared = -1
    server.drops = [400_000]
    with pytest.raises(download.DownloadError, match="state the length"):
        download.download(server.url, tmp_path / "f.bin")
    assert not (tmp_path / "f.bin").exists()
    server.drops = []
    path = download.download(server.url, tmp_path / "f.bin", MD5)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    "kind", ["text/html; charset=utf-8", "application/zip"]
)
@pytest.mark.parametrize("checksum", [MD5, None])
def test_web_page_instead_of_an_archive(server, tmp_path, kind, checksum):
    server.headers = {"Content-Type": kind}
    server.body = b"\n<!DOCTYPE html><html>log in</html>"
    with pytest.raises(
        download.DownloadError, match="web page instead of f.zip"
    ):
        download.download(server.url, tmp_path / "f.zip", checksum)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    path = download.download(server.url, tmp_path / "f.html")
    assert path.read_bytes() == server.body


def test_file_compressed_on_the_way(server, tmp_path):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(download.DownloadError, match="compresses the file"):
        download.download(server.url, tmp_path / "f.bin")


def test_free_space_is_checked_before_the_transfer(
    server, tmp_path, monkeypatch
):
    usage = namedtuple("usage", "total used free")
    free = files._SPARE_SPACE + len(BODY) - 1
    monkeypatch.setattr(
        files.shutil, "disk_usage", lambda path: usage(0, 0, free)
    )
    with pytest.raises(OSError, match=r"GB are free.*another disk"):
        download.download(server.url, tmp_path / "f.bin")
    assert not (tmp_path / "f.bin.part").exists()


def test_fetch_and_unpack(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("mic_dev/mix001.wav", BODY[:1000])
    server.body = buffer.getvalue()
    checksum = "md5:" + hashlib.md5(server.body).hexdigest()
    url = server.url.replace("file.bin", "mic.zip") + "?download=1"
    for _ in range(2):
        folder = download.fetch_and_unpack(url, tmp_path / "data", checksum)
        unpacked = folder / "mic_dev" / "mix001.wav"
        assert unpacked.read_bytes() == BODY[:1000]
    assert len(server.requests) == 1
    assert not (folder / "mic.zip").exists()
    server.body = server.body[:-5]
    with pytest.raises(ValueError, match="checksum"):
        download.fetch_and_unpack(url, tmp_path / "other", checksum)


def test_archive_is_kept_when_unpacking_fails(server, tmp_path):
    server.body = b"no archive at all"
    url = server.url.replace("file.bin", "mic.zip")
    with pytest.raises(ValueError, match="mic.zip"):
        download.fetch_and_unpack(url, tmp_path)
    assert (tmp_path / "mic.zip").exists()
