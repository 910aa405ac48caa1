"""Downloads of small corpora from a server on this machine."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from spatial_brain.dataio.download import DownloadError
from spatial_brain.datasets.real_arrays import download, sources
from spatial_brain.datasets.real_arrays.download import (
    download_corpus,
    downloads,
    how_to_get,
)
from spatial_brain.datasets.real_arrays.registry import (
    CORPORA,
    corpus_class,
    find_corpus,
    open_corpus,
)
from spatial_brain.datasets.real_arrays.synthetic.meshrir import (
    write_synthetic_meshrir,
)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served; zenodo and AMI are its parts."""
    folder = tmp_path / "server"
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setattr(download, "ZENODO", address)
    monkeypatch.setattr(sources, "ZENODO", address)
    monkeypatch.setattr(sources, "_AMI", address)
    yield SimpleNamespace(folder=folder, requests=requests, address=address)
    httpd.shutdown()
    httpd.server_close()


def serve_record(server, number, paths):
    """Put files on the server as zenodo has them."""
    files = []
    for path in paths:
        target = server.folder / "records" / str(number) / "files" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        files.append({"key": path.name, "checksum": f"md5:{md5}"})
    record = server.folder / "api" / "records" / str(number)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"files": files}))
    return record


@pytest.fixture
def mesh(server, tmp_path, monkeypatch):
    """MeshRIR on the server."""
    write_synthetic_meshrir(tmp_path / "made", points=3, num_sources=2)
    (tmp_path / "made" / "SYNTHETIC.json").unlink()
    path = shutil.make_archive(
        tmp_path / "S32-M441_npy", "zip", tmp_path / "made"
    )
    record = serve_record(server, 5500451, [Path(path)])
    source = sources.Source(
        "RIR/Mesh",
        {"S32": sources._zenodo(5500451, "S32-M441_npy.zip")},
        5500451,
    )
    monkeypatch.setitem(sources.SOURCES, "MeshRIR", source)
    return record


def test_record_with_checksums(server, mesh, tmp_path):
    folder = download_corpus("MeshRIR", tmp_path / "data")
    assert folder == tmp_path / "data" / "RIR" / "Mesh"
    corpus = open_corpus("MeshRIR", tmp_path / "data")
    assert corpus.preflight().problems == []
    assert not list(folder.glob("*.zip"))
    server.requests.clear()
    download_corpus("MeshRIR", tmp_path / "data", ["S32"])
    # Only the checksums are asked for again.
    assert server.requests == ["/api/records/5500451"]


def test_checksum_that_differs(mesh, tmp_path):
    record = json.loads(mesh.read_text())
    record["files"][0]["checksum"] = "md5:" + "0" * 32
    mesh.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="expected checksum md5:0000"):
        download_corpus("MeshRIR", tmp_path / "data")
    assert not list((tmp_path / "data/RIR/Mesh").glob("S32*"))


def test_record_that_changed(mesh, tmp_path):
    record = json.loads(mesh.read_text())
    record["files"][0]["key"] = "S32.zip"
    mesh.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="any more but S32.zip; download it"):
        download_corpus("MeshRIR", tmp_path / "data")


def test_files_that_are_no_archives(server, tmp_path, monkeypatch):
    for name in ("dEchorate_rir.h5", "dEchorate_annotations.h5"):
        (tmp_path / name).write_bytes(name.encode())
    serve_record(server, 6576203, sorted(tmp_path.glob("*.h5")))
    real = sources.SOURCES["dEchorate"]
    source = sources.Source(
        real.place,
        {
            name: sources._zenodo(
                6576203, f"dEchorate_{name}.h5", archive=False
            )
            for name in ("rir", "annotations")
        },
        real.record,
    )
    monkeypatch.setitem(sources.SOURCES, "dEchorate", source)
    folder = download_corpus("dEchorate", tmp_path / "data", ["rir"])
    assert [path.name for path in folder.glob("dE*")] == ["dEchorate_rir.h5"]
    download_corpus("dEchorate", tmp_path / "data")
    assert (folder / "dEchorate_annotations.h5").is_file()


def test_meetings_by_the_beginning_of_their_name(server, tmp_path, monkeypatch):
    monkeypatch.setitem(
        sources.SOURCES,
        "AMI",
        sources.Source("MicSig/AMI", sources._ami_meetings()),
    )
    for meeting in ("IB4001", "IB4002", "IB4003", "ES2002a"):
        for channel in range(1, 9):
            name = f"{meeting}.Array1-0{channel}.wav"
            path = server.folder / meeting / "audio" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"RIFF")
    (server.folder / "IB4002/audio/IB4002.Array1-05.wav").unlink()
    with pytest.raises(DownloadError, match="IB4002.Array1-05.wav"):
        download_corpus("AMI", tmp_path / "data", ["IB400", "ES2002a"])
    found = sorted((tmp_path / "data/MicSig/AMI").rglob("*-08.wav"))
    assert [str(path.relative_to(tmp_path / "data")) for path in found] == [
        "MicSig/AMI/NonScenarioMeetings/IB4001/audio/IB4001.Array1-08.wav",
        "MicSig/AMI/NonScenarioMeetings/IB4003/audio/IB4003.Array1-08.wav",
        "MicSig/AMI/ScenarioMeetings/ES2002a/audio/ES2002a.Array1-08.wav",
    ]


def test_scenes_of_realman(tmp_path, monkeypatch):
    names = [
        "train/ma_speech/LivingRoom1.rar",
        "train/ma_speech/LivingRoom2.rar",
        "train/ma_noise/LivingRoom1.rar",
        "val_raw/ma_speech/OfficeRoom1.rar",
        "train/dp_speech/OfficeRoom1.rar",
    ]

    def snapshot(repository, *, repo_type, allow_patterns, local_dir):
        assert (repository, repo_type) == ("AISHELL/RealMAN", "dataset")
        for name in names:
            if any(fnmatch(name, pattern) for pattern in allow_patterns):
                path = local_dir / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

    def downloaded(folder, scenes):
        found = download_corpus("RealMAN", folder, scenes).rglob("*.rar")
        return {path.relative_to(folder / "MicSig/RealMAN") for path in found}

    monkeypatch.setattr(download.huggingface_hub, "snapshot_download", snapshot)
    some = {Path(names[0]), Path(names[3])}
    assert downloaded(tmp_path / "a", ["LivingRoom1", "OfficeRoom1"]) == some
    assert downloaded(tmp_path / "b", None) == {*some, Path(names[1])}
    with pytest.raises(ValueError, match="holds no .*/Gym"):
        download_corpus("RealMAN", tmp_path, ["Gym"])


def test_hub_that_cannot_be_reached(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(download.huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DownloadError, match="no network; run the same"):
        download_corpus("RealMAN", tmp_path, ["LivingRoom1"])


def test_what_cannot_be_downloaded(tmp_path):
    with pytest.raises(ValueError, match="did you mean MeshRIR"):
        download_corpus("MeshRir", tmp_path)
    with pytest.raises(ValueError, match="no subset 'S1'; known: S32"):
        download_corpus("MeshRIR", tmp_path, ["S1"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(set(CORPORA) - {"TABLE"}))
def test_every_corpus_is_known_and_found_where_it_is_put(name, tmp_path):
    assert name in downloads()
    place = tmp_path / sources.SOURCES[name].place
    place.mkdir(parents=True)
    assert find_corpus(tmp_path, name) == place
    text = how_to_get(name, tmp_path)
    assert corpus_class(name).url in text and str(place) in text
    source = sources.SOURCES[name]
    if not source.subsets:
        with pytest.raises(ValueError, match="cannot be downloaded"):
            download_corpus(name, tmp_path)


def test_checksums_look_like_checksums():
    for source in sources.SOURCES.values():
        for files in source.subsets.values():
            for checksum in (files and files.checksums) or ():
                kind, _, value = checksum.partition(":")
                assert len(bytes.fromhex(value)) == {"md5": 16}[kind]


def test_number_of_meetings():
    assert len(sources._ami_meetings()) == 171
