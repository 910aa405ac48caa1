"""Pretrained folders: written whole, found, loaded strictly and safely."""

import os
import pickle
import subprocess
import sys
import textwrap
import zipfile

import pytest
import torch
from hyperpyyaml import resolve_references

from spatial_brain.inference.pretrained import (
    PretrainedModel,
    load_weights,
    read_weights,
    save_pretrained,
    write_card,
)
from spatial_brain.inference.pretrained.card import CardWarning
from spatial_brain.inference.pretrained.weights import save_weights

RUN = """
seed: !apply:operator.add [1, 2]
size: 3
fs: 16000
net: !new:torch.nn.Sequential
    - !new:torch.nn.Linear [!ref <size>, 2]
    - !new:torch.nn.BatchNorm1d [2]
loss: !new:torch.nn.MSELoss
modules: {net: !ref <net>, loss: !ref <loss>}
decoder: !name:torch.nn.functional.softmax {dim: -1}
optimizer: !name:torch.optim.Adam {lr: 1e-3}
"""


class Model(PretrainedModel):
    HPARAMS_NEEDED = ["fs", "decoder"]
    MODULES_NEEDED = ["net"]

    def forward(self, inputs):
        return self.hparams.decoder(self.mods.net(inputs))


def make_net():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def save(folder, net=None, text=RUN, **kwargs):
    # As a run leaves it in its output folder: with anchors, without !ref.
    resolved = resolve_references(text).getvalue()
    return save_pretrained(
        folder,
        resolved,
        ["fs", "decoder"],
        {"net": net or make_net()},
        **kwargs,
    )


def load(source, **kwargs):
    options = {"run_opts": {"device": "cpu"}, "allowed": ["torch.nn."]}
    return Model.from_hparams(source, **{**options, **kwargs})


def test_round_trip_gives_the_same_network_frozen(tmp_path):
    net = make_net()
    net(torch.randn(8, 3))  # moves the statistics of the batch norm
    folder = save(tmp_path / "a", net)
    assert sorted(p.name for p in folder.iterdir()) == [
        "hyperparams.yaml",
        "net.safetensors",
    ]
    text = (folder / "hyperparams.yaml").read_text()
    assert "optim" not in text and "loss" not in text
    model = load(folder)
    inputs = torch.randn(4, 3)
    expected = net.eval()(inputs).softmax(-1)
    assert torch.equal(model(inputs), expected)
    assert not any(p.requires_grad for p in model.mods.parameters())


def test_output_folder_of_a_run_is_a_source(tmp_path):
    save(tmp_path / "pretrained")
    # The run's own hyper-parameters bear the same name and must not be used.
    (tmp_path / "hyperparams.yaml").write_text(RUN)
    assert load(tmp_path).hparams.fs == 16000


def test_wrapped_modules_and_shared_tensors_are_saved_plainly(tmp_path):
    net = make_net()
    wrapped = torch.nn.DataParallel(net)
    read = read_weights(save(tmp_path, wrapped) / "net.safetensors")
    assert set(read) == set(net.state_dict())
    tied = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(2)])
    tied[1].weight = tied[0].weight
    save_weights(tmp_path / "tied.safetensors", tied)
    assert "1.weight" in read_weights(tmp_path / "tied.safetensors")


def test_extra_values_and_missing_keys(tmp_path):
    save(tmp_path, extra={"fs": 8000, "places": [[0.1, 0, 0]]})
    assert load(tmp_path).hparams.places == [[0.1, 0, 0]]
    assert load(tmp_path).hparams.fs == 8000
    assert load(tmp_path, overrides={"fs": 1}).hparams.fs == 1
    with pytest.raises(ValueError, match=r"nope.*there are"):
        save_pretrained(tmp_path, RUN, ["nope"], {"net": make_net()})
    with pytest.raises(ValueError, match=r"nett.*there are: net, loss"):
        save_pretrained(tmp_path, RUN, ["fs"], {"nett": make_net()})
    with pytest.raises(ValueError, match=r"!apply:operator.add"):
        save_pretrained(tmp_path, RUN, ["seed"], {"net": make_net()})


def test_an_interrupted_save_leaves_no_broken_file(tmp_path, monkeypatch):
    folder = save(tmp_path)
    before = (folder / "net.safetensors").read_bytes()

    def dies(tensors, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path)
    assert (folder / "net.safetensors").read_bytes() == before
    assert not [p for p in folder.iterdir() if "part" in p.name]


def test_missing_needs_are_named(tmp_path):
    save_pretrained(tmp_path, RUN, ["fs"], {"net": make_net()})
    with pytest.raises(ValueError, match=r"decoder.*model of another task"):
        load(tmp_path)
    save_pretrained(
        tmp_path, RUN, ["fs", "decoder"], {"loss": torch.nn.MSELoss()}
    )
    with pytest.raises(ValueError, match=r"modules not in.* net"):
        load(tmp_path)


def test_weights_that_do_not_fit_are_named(tmp_path):
    folder = save(tmp_path)
    weights = folder / "net.safetensors"
    save_weights(weights, torch.nn.Sequential(torch.nn.Linear(4, 2)))
    with pytest.raises(ValueError) as error:
        load(folder)
    for part in (
        "net.safetensors",
        "missing: 1.weight",
        "0.weight is [2, 4] but should be [2, 3]",
    ):
        assert part in str(error.value)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"'net'.*net.safetensors"):
        load(folder)
    weights.write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"net.safetensors.*copy it again"):
        load(folder)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_run(tmp_path):
    folder = save(tmp_path / "model")
    (folder / "net.safetensors").unlink()
    state = make_net().state_dict()
    torch.save(state, folder / "net.ckpt")
    assert torch.equal(load(folder).mods.net[0].weight, state["0.weight"])
    state["0.weight"] = Touch(tmp_path / "trace")
    torch.save(state, folder / "net.ckpt")
    with pytest.raises(ValueError, match=r"net.ckpt.*refused"):
        load(folder)
    (folder / "net.ckpt").write_bytes(
        pickle.dumps(Touch(tmp_path / "trace"), 2)
    )
    with pytest.raises(ValueError, match=r"net.ckpt"):
        load(folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "source", ["results/run", "nowhere", "/no/such/folder", "./a/b", "a/b/c"]
)
def test_a_missing_local_folder_is_no_hub_error(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(source)


def test_a_folder_without_model_says_what_was_sought(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"hyperparams.yaml.*pretrained"
    ):
        load(tmp_path)
    with pytest.raises(ValueError, match="web address"):
        load("https://example.org/model")


def test_savedir_belongs_to_one_model(tmp_path):
    first, second = make_net(), make_net()
    save(tmp_path / "first", first)
    save(tmp_path / "second", second)
    kept = tmp_path / "kept"
    model = load(tmp_path / "first", savedir=kept)
    assert torch.equal(model.mods.net[0].weight, first[0].weight)
    with pytest.raises(ValueError, match=r"holds another model.*first"):
        load(tmp_path / "second", savedir=kept)
    # The same source trained again is not shadowed by the old copy.
    save(tmp_path / "first", second)
    model = load(tmp_path / "first", savedir=kept)
    assert torch.equal(model.mods.net[0].weight, second[0].weight)
    assert (kept / "net.safetensors").is_file()
    # A folder filled by somebody else.
    with pytest.raises(ValueError, match="holds another model"):
        load(tmp_path / "first", savedir=tmp_path / "second")
    assert load(tmp_path / "first", savedir=tmp_path / "first")


def test_a_model_has_the_card_of_its_folder(tmp_path):
    folder, kept = tmp_path / "pretrained", tmp_path / "kept"
    save(folder)
    assert load(tmp_path).card is None
    write_card(tmp_path, {"task": "T60", "t60": [0.2, 1.3]})
    assert load(tmp_path, savedir=kept).card.t60 == [0.2, 1.3]
    assert load(kept).card.task == "T60"
    (folder / "card.json").write_text('{"card_version": 1, "task": 60}')
    message = r"pretrained/card.json: task must be .* found 60; .* ignored"
    with pytest.warns(CardWarning, match=message):
        assert load(tmp_path).card is None


HUB = """
    import os, sys, threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from pathlib import Path

    root = Path(sys.argv[1])
    requests = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            requests.append(self.path)
            parts = self.path.strip("/").split("/")
            body, status, headers = b"", 404, {"X-Repo-Commit": "a" * 40}
            if parts[:2] not in (["org", "one"], ["org", "two"]):
                status, headers["X-Error-Code"] = 401, "RepoNotFound"
            elif len(parts) > 4 and (root / parts[1] / parts[4]).is_file():
                body = (root / parts[1] / parts[4]).read_bytes()
                status = 200
                headers["ETag"] = '"%032x"' % (hash(body) % 16**32)
                headers["Accept-Ranges"] = "bytes"
            else:
                headers["X-Error-Code"] = "EntryNotFound"
            self.send_response(status)
            headers["Content-Length"] = str(len(body))
            for item in headers.items():
                self.send_header(*item)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    sys.path.insert(0, sys.argv[2])
    from test_pretrained import load

    def failure(*args, **kwargs):
        try:
            load(*args, **kwargs)
        except (FileNotFoundError, ValueError) as error:
            return str(error)

    kept = str(root / "kept")
    assert load("org/one", savedir=kept).hparams.fs == 16000
    count = len(requests)
    assert load("org/one", savedir=kept) and len(requests) == count
    assert load("org/one") and not (Path("org")).exists()
    assert "holds another model" in failure("org/two", savedir=kept)
    assert "has no hyperparams.yaml" in failure("org/two")
    message = failure("org/three")
    assert "no folder 'org/three' here" in message, message
    assert "RepositoryNotFoundError" in message, message
    server.shutdown()
    server.server_close()
    print("all well")
"""


def test_models_from_a_hub(tmp_path):
    save(tmp_path / "one")
    (tmp_path / "two").mkdir()
    script = tmp_path / "hub.py"
    script.write_text(textwrap.dedent(HUB))
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, script, tmp_path, os.path.dirname(__file__)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "all well" in done.stdout, done.stderr[-3000:]


def deflated(path):
    tensors = {"weight": torch.zeros(1_000_000)}
    torch.save(tensors, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


WRONG_FILES = {
    "empty": (b"", "an empty file"),
    "random": (bytes(range(255, 0, -1)) * 9, "no file of torch.save|damaged"),
    "web page": (b"\n<!DOCTYPE html><html>", "a web page"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "git lfs pull",
    ),
    "cut archive": (b"PK\x03\x04" + bytes(100), "damaged or cut archive"),
    "compressed": (deflated, "a compressed archive"),
    "program": (
        lambda path: torch.jit.save(
            torch.jit.script(torch.nn.Linear(1, 1)), path
        ),
        "a TorchScript program",
    ),
    "other archive": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "x"),
        "something else than tensors|damaged",
    ),
    "list": (lambda path: torch.save([torch.ones(1)], path), "found list"),
    "numeric names": (
        lambda path: torch.save({1: torch.ones(1)}, path),
        "plain state dict",
    ),
}


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("kind", WRONG_FILES)
def test_what_is_no_weights_file_is_called_what_it_is(kind, suffix, tmp_path):
    content, message = WRONG_FILES[kind]
    path = tmp_path / f"model{suffix}"
    if callable(content):
        content(path)
        if suffix == ".safetensors":
            message = "no safetensors file"
    else:
        path.write_bytes(content)
        if suffix == ".safetensors" and kind in ("random", "cut archive"):
            message = "no safetensors file"
    with pytest.raises(ValueError, match=f"model{suffix}.*({message})"):
        read_weights(path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.tensor([[float("nan"), 0.0]]), "weight holds NaN"),
        (torch.tensor([[float("inf"), 0.0]]), "weight holds NaN or inf"),
        (torch.ones(1, 2, dtype=torch.int8), "holds torch.int8 where"),
        (torch.ones(1, 2, dtype=torch.complex64), "holds torch.complex64"),
        (torch.ones(1, 2).to_sparse(), "no plain dense tensor"),
        (torch.zeros(1).expand(10**9, 10**9), "should be"),
    ],
)
def test_weights_of_another_kind_are_refused(wrong, message):
    tensors = {"weight": wrong, "bias": torch.ones(1)}
    with pytest.raises(ValueError, match=f"a.pt.*{message}"):
        load_weights(torch.nn.Linear(2, 1), tensors, "a.pt")


def test_halves_become_floats():
    net = torch.nn.Linear(2, 1)
    halves = {k: x.half() for k, x in net.state_dict().items()}
    load_weights(net, halves, "a.pt")
    assert net.weight.dtype == torch.float32


def test_files_may_be_links_and_names_may_not_leave_the_folder(tmp_path):
    """As in the cache of the hub: links from a snapshot to blobs."""
    folder = save(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for path in list(folder.iterdir()):
        blob = path.rename(path.with_name(f"{len(path.name)}abc"))
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    expected = load(snapshot).mods.net[0].weight
    kept = load(snapshot, savedir=tmp_path / "kept").mods.net[0].weight
    assert torch.equal(kept, expected)
    assert not (tmp_path / "kept" / "net.safetensors").is_symlink()
    text = (snapshot / "hyperparams.yaml").read_text()
    for name in ("../blobs/net", str(tmp_path / "net"), "net/../net", ".."):
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        (other / "hyperparams.yaml").write_text(
            text.replace(
                "modules:\n", f"modules:\n  {name}: !ref <modules[net]>\n"
            )
        )
        (other / "net.safetensors").unlink(missing_ok=True)
        (other / "net.safetensors").symlink_to(snapshot / "net.safetensors")
        with pytest.raises(ValueError, match=r"hyperparams.yaml: .*no name fo"):
            load(other)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc", "nowhere", "net.ckpt"])
def test_links_to_what_is_no_file_are_no_weights(target, tmp_path):
    folder = save(tmp_path)
    (folder / "net.safetensors").unlink()
    (folder / "net.ckpt").symlink_to(target)
    with pytest.raises(FileNotFoundError, match="has no weights.*'net'"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"x: 1\n" * 10**6, "bytes are more than"),
        (b"x: \xe4", "no text in UTF-8"),
    ],
)
def test_what_is_no_yaml_is_named(content, message, tmp_path):
    folder = save(tmp_path)
    (folder / "hyperparams.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=f"hyperparams.yaml.*{message}"):
        load(folder)


@pytest.mark.parametrize("key", ["device: cuda:9", "compile: true", "jit: 1"])
def test_a_model_sets_no_options_of_the_run(key, tmp_path):
    folder = save(tmp_path)
    with open(folder / "hyperparams.yaml", "a") as file:
        file.write(f"{key}\n")
    with pytest.raises(
        ValueError, match="hyperparams.yaml: .*options of a run"
    ):
        load(folder)


@pytest.mark.parametrize(
    "value",
    [
        "modules: [1]",
        "modules: {model: 3}",
        "modules: text",
        "sample_rate: 16 kHz",
        "sample_rate: -1",
        "sample_rate: .nan",
        "sample_rate: true",
        "sample_rate: [16000]",
        "window_length: wide",
        "window_length: 0",
        "hop_length: .inf",
        "microphone_positions: 7",
        "microphone_positions: [[0, 0], [1, 0]]",
        "microphone_positions: [[a, 0, 0]]",
        "class_names: noise",
        "class_names: [1, 2]",
        "threshold: high",
        "features: plain",
        "decoder: [median]",
        "task: [T60]",
        "num_sources: 1.5",
        "num_sources: 99999999",
        "sample_rate: 1000000000",
        "chunk_length: 1.0e+300",
        "merge_angle: {}",
        "features: !name:torch.nn.functional.relu",
        "modules: {7: 3}",
    ],
)
def test_values_of_another_kind_are_named(value, tmp_path):
    key = value.split(":")[0]
    network = "!new:torch.nn.Linear {in_features: 1, out_features: 1}"
    text = {"modules": f"modules:\n  net: {network}", "fs": "fs: 1"}
    text |= {"decoder": "decoder: !name:torch.nn.functional.relu", key: value}
    (tmp_path / "hyperparams.yaml").write_text("\n".join(text.values()))
    with pytest.raises(ValueError, match=f"hyperparams.yaml: {key} must be"):
        load(tmp_path)
