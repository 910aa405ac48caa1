"""DCASE2021: from Zenodo, archives or folders to manifests."""

import contextlib
import hashlib
import http.server
import json
import shutil
import subprocess
import threading
import zipfile
from types import SimpleNamespace

import pytest
from seld_trees import tree, write_clip, write_rows

from spatial_brain.dataio import download as transfer
from spatial_brain.dataio.audio import audio_info
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld import dcase2021
from spatial_brain.datasets.seld import files as seld_files
from spatial_brain.datasets.seld.chunks import clip_events
from spatial_brain.datasets.seld.dcase2021 import (
    prepare_dcase2021,
    write_synthetic_dcase2021,
)

FOLDERS = {5: "dev-val", 6: "dev-test"}


def make_data(folder, sub=True, form="foa"):
    """One clip a fold, two of the evaluation."""
    for fold in range(1, 7):
        place = FOLDERS.get(fold, "dev-train") if sub else "."
        name = f"fold{fold}_room{fold % 2 + 1}_mix001"
        write_clip(folder / f"{form}_dev" / place / f"{name}.wav", seed=fold)
        write_rows(
            folder / "metadata_dev" / place / f"{name}.csv",
            [(fold, fold, 0, 10 * fold, 0)],
        )
    place = "eval-test" if sub else "."
    for name in ("mix001", "mix002"):
        write_clip(folder / f"{form}_eval" / place / f"{name}.wav")
        write_rows(folder / "metadata_eval" / place / f"{name}.csv", [])
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("DCASE2021"))


def prepare(folder, save, **options):
    paths = prepare_dcase2021(
        folder, save, **{"check_counts": False, **options}
    )
    return {name: read_manifest(path) for name, path in paths.items()}


def folds(entries):
    return [e["fold"] and int(e["fold"]) for e in entries.values()]


EVAL = [None, None]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("dev", [[1, 2, 3, 4, 5], [6], EVAL]),
        ("original", [[1, 2, 3, 4, 5, 6], EVAL, EVAL]),
        ("official", [[1, 2, 3, 4], [5], [6]]),
    ],
)
@pytest.mark.parametrize("sub", [True, False])
def test_protocols(tmp_path, protocol, expected, sub):
    folder = make_data(tmp_path / "data", sub, "mic")
    if protocol == "official":
        shutil.rmtree(folder / "mic_eval")
    before = tree(folder)
    parts = prepare(folder, tmp_path / "s", protocol=protocol, format="mic")
    assert list(parts) == ["train", "valid", "test"]
    assert [folds(part) for part in parts.values()] == expected
    assert tree(folder) == before
    entry = parts["train"]["fold1_room2_mix001"]
    place = "dev-train/" if sub else ""
    name = "fold1_room2_mix001"
    assert entry == {
        "wav": f"{{data_root}}/mic_dev/{place}{name}.wav",
        "num_samples": 48000,
        "fs": 24000,
        "events": f"{{data_root}}/metadata_dev/{place}{name}.csv",
        "dialect": "dcase2021",
        "room": "2",
        "fold": "1",
        "overlap": None,
    }


def test_folders_do_not_choose_the_fold(tmp_path):
    # A path that holds the name of another fold.
    folder = make_data(tmp_path / "fold6_room1_" / "data")
    assert folds(prepare(folder, tmp_path / "s")["train"]) == [1, 2, 3, 4, 5]


def test_counts_and_durations_are_checked(data, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="foa_dev: has 6 clips, 600 were pub"):
        prepare_dcase2021(data, tmp_path)
    monkeypatch.setattr(dcase2021, "COUNTS", {"dev": 6, "eval": 2})
    with pytest.raises(ValueError, match=r"lasts 2\.00 s, every clip of this"):
        prepare_dcase2021(data, tmp_path)
    monkeypatch.setattr(dcase2021, "DURATION", 2.0)
    assert prepare_dcase2021(data, tmp_path)["train"].is_file()


def test_missing_parts_and_wrong_arguments(data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    shutil.rmtree(folder / "metadata_eval")
    with pytest.raises(FileNotFoundError, match="no folder metadata_eval"):
        prepare(folder, tmp_path / "s")
    write_rows(folder / "metadata_dev" / "dev-test" / "x.csv", [])
    prepare(folder, tmp_path / "s", protocol="official")
    for options in ({"format": "both"}, {"protocol": "mine"}):
        with pytest.raises(ValueError, match="must be one of"):
            prepare(data, tmp_path, **options)
    write_rows(
        folder / "metadata_dev" / "dev-train" / "fold1_room2_mix001.csv",
        [(0, 12, 0, 0, 0)],
    )
    with pytest.raises(ValueError, match=r"fold1_room2_mix001\.csv.*12"):
        prepare(folder, tmp_path / "t", protocol="official")


def test_nested_and_ambiguous_folders(data, tmp_path):
    shutil.copytree(data, tmp_path / "one" / "DCASE2021" / "v1")
    assert len(prepare(tmp_path / "one", tmp_path / "s")["train"]) == 5
    shutil.copytree(data, tmp_path / "one" / "DCASE2021" / "v2")
    with pytest.raises(ValueError, match="v1.*v2.*data_folder"):
        prepare(tmp_path / "one", tmp_path / "t")


def zip_parts(data, folder, part, split=None):
    """Archive of a part, as published; the names of its files."""
    folder.mkdir(exist_ok=True)
    if split is None:
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as file:
            for path in sorted((data / part).rglob("*.*")):
                file.write(path, path.relative_to(data))
    else:
        command = ["zip", "-q", "-r", "-s", split, folder / f"{part}.zip", part]
        subprocess.run(command, cwd=data, check=True)
    return sorted(path.name for path in folder.glob(f"{part}.z*"))


def test_archive_cut_by_bytes(data, tmp_path):
    folder = tmp_path / "data"
    for part in ("foa_dev", "metadata_dev", "foa_eval", "metadata_eval"):
        zip_parts(data, folder, part)
    whole = (folder / "foa_dev.zip").read_bytes()
    (folder / "foa_dev.zip").unlink()
    (folder / "foa_dev.zip.001").write_bytes(whole[:300_000])
    (folder / "foa_dev.zip.002").write_bytes(whole[300_000:])
    assert prepare(folder, tmp_path / "s") == prepare(data, tmp_path / "t")


@pytest.fixture
def server(monkeypatch):
    """A small Zenodo."""
    control = SimpleNamespace(files={}, checksums={}, requests=[], drop=None)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            control.requests.append(self.path)
            path = self.path.split("?")[0]
            name = path.rsplit("/", 1)[-1]
            if path == f"/api/records/{dcase2021.RECORD}":
                files = [
                    {"key": key, "size": len(body), "checksum": f"md5:{md5}"}
                    for key, body in control.files.items()
                    for md5 in [
                        control.checksums.get(key)
                        or hashlib.md5(body).hexdigest()
                    ]
                ]
                body = json.dumps({"files": files}).encode()
            elif path == f"/records/{dcase2021.RECORD}/files/{name}":
                body = control.files[name]
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: control.drop])

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(
        target=httpd.serve_forever, args=(0.01,), daemon=True
    ).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    control.url = f"http://127.0.0.1:{httpd.server_port}"
    yield control
    httpd.shutdown()
    httpd.server_close()


def publish(server, data, folder):
    split = "256k" if shutil.which("zip") else None
    zip_parts(data, folder, "foa_dev", split)
    for part in ("metadata_dev", "foa_eval", "metadata_eval"):
        zip_parts(data, folder, part)
    for path in folder.iterdir():
        server.files[path.name] = path.read_bytes()


def test_download(server, data, tmp_path):
    publish(server, data, tmp_path / "published")
    if shutil.which("zip"):
        assert "foa_dev.z01" in server.files
    folder = tmp_path / "data"
    options = {"download": True, "server": server.url}
    parts = prepare(folder, tmp_path / "s", **options)
    assert parts == prepare(data, tmp_path / "t")
    assert not list(folder.glob("[!.]*.z*"))
    asked = len(server.requests)
    # All is there: nobody is asked again.
    prepare(folder, tmp_path / "u", **options)
    assert len(server.requests) == asked
    assert len(set(server.requests)) == asked


def test_interrupted_download_is_finished(server, data, tmp_path, monkeypatch):
    publish(server, data, tmp_path / "published")
    folder = tmp_path / "data"

    def killed(*args):
        raise KeyboardInterrupt

    options = {"download": True, "server": server.url}
    with monkeypatch.context() as patch:
        patch.setattr(seld_files, "unpack_part", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tmp_path / "s", **options)
    assert (folder / "foa_dev.zip").is_file()
    assert prepare(folder, tmp_path / "s", **options)
    assert not list(folder.glob("[!.]*.z*"))
    assert len(set(server.requests)) == len(server.requests)


@pytest.mark.parametrize("keep", [False, True])
def test_download_of_what_is_missing(server, data, tmp_path, keep):
    publish(server, data, tmp_path / "published")
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    shutil.rmtree(folder / "foa_eval")
    # An archive of the user is used, and left where it is.
    shutil.copy(tmp_path / "published" / "metadata_eval.zip", folder)
    shutil.rmtree(folder / "metadata_eval")
    options = {"download": True, "server": server.url, "keep_archives": keep}
    prepare(folder, tmp_path / "s", **options)
    names = {path.split("?")[0].rsplit("/", 1)[-1] for path in server.requests}
    assert names == {str(dcase2021.RECORD), "foa_eval.zip"}
    archives = {path.name for path in folder.glob("*.zip")}
    assert archives == {"metadata_eval.zip"} | (
        {"foa_eval.zip"} if keep else set()
    )


def test_download_of_something_else_is_refused(server, data, tmp_path):
    publish(server, data, tmp_path / "published")
    server.checksums["foa_eval.zip"] = "0" * 32
    options = {"download": True, "server": server.url}
    with pytest.raises(ValueError, match=r"foa_eval\.zip.*checksum"):
        prepare(tmp_path / "data", tmp_path / "s", **options)
    assert not (tmp_path / "data" / "foa_eval.zip").exists()
    del server.files["metadata_eval.zip"]
    with pytest.raises(ValueError, match="no archive of 'metadata_eval'"):
        seld_files.download_parts(
            dcase2021.RECORD,
            ["metadata_eval"],
            tmp_path / "other",
            server=server.url,
        )


def test_unreachable_server(server, tmp_path):
    server.drop = 0
    with pytest.raises(OSError, match="zenodo|127.0.0.1"):
        seld_files.download_parts(
            dcase2021.RECORD,
            ["foa_dev"],
            tmp_path,
            server=server.url,
            attempts=1,
        )


def test_synthetic_data(tmp_path):
    folder = tmp_path / "DCASE2021"
    options = {
        "clips": {"train": 2, "valid": 1, "test": 1},
        "duration": 3.0,
        "formats": ("foa", "mic"),
        "scene": {"t60_range": (0.2, 0.25), "max_overlap": 2},
    }
    write_synthetic_dcase2021(folder, **options)
    before = tree(folder)
    names = [f"dev-train/fold{fold}_room1_mix001" for fold in (1, 2)]
    dev = [*names, "dev-test/fold6_room1_mix001"]
    files = {
        f"{kind}_{part}/{name}.{'csv' if kind == 'metadata' else 'wav'}"
        for kind in ("foa", "mic", "metadata")
        for part, found in (("dev", dev), ("eval", ["eval-test/mix001"]))
        for name in found
    }
    assert set(before) == files | {"SYNTHETIC.json"}
    for name in files:
        if name.endswith(".wav"):
            info = audio_info(folder / name)
            found = (info.fs, info.num_channels, info.num_samples)
            assert found == (24000, 4, 72000)
            assert info.subtype == "PCM_16"
    # The same call changes nothing, a lost file is made again.
    write_synthetic_dcase2021(folder, **options)
    assert tree(folder) == before
    lost = folder / "mic_dev" / "dev-test" / "fold6_room1_mix001.wav"
    lost.unlink()
    write_synthetic_dcase2021(folder, **options)
    assert lost.read_bytes() == before[str(lost.relative_to(folder))][2]
    # Prepared like the real one, counts and durations apart.
    for form in ("foa", "mic"):
        paths = prepare_dcase2021(folder, tmp_path / form, format=form)
        counts = [len(read_manifest(path)) for path in paths.values()]
        assert counts == [2, 1, 1]
    entries = read_manifest(paths["train"], data_root=folder)
    for table in clip_events(entries, num_classes=12).values():
        assert len(table) and table.num_frames == 30
    # Other arguments make another data set, and other manifests.
    options["clips"] = {"train": 1}
    write_synthetic_dcase2021(folder, **{**options, "formats": ["foa"]})
    assert not (folder / "mic_dev").exists()
    assert not (folder / "foa_eval").exists()
    with pytest.raises(FileNotFoundError, match="no folder foa_eval"):
        prepare_dcase2021(folder, tmp_path / "foa")


def test_synthetic_data_spares_real_data(data):
    before = tree(data)
    with pytest.raises(ValueError, match="holds data that are not synthetic"):
        write_synthetic_dcase2021(data, clips={"train": 1})
    assert tree(data) == before


def test_class_names():
    assert len(dcase2021.CLASS_NAMES) == len(dcase2021.KINDS) == 12
