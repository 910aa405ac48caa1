"""Fine-tuned networks as adapters: saved, completed, refused."""

import os
import random

import pytest
import safetensors.torch
import torch

from spatial_brain.cli.main import main
from spatial_brain.inference import SELDetector
from spatial_brain.inference.convert import convert
from spatial_brain.inference.convert.adapters import begin, save_adapters
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.models.seld import SELDNetwork

TEXT = """\
modules:
  model: !new:spatial_brain.models.seld.SELDNetwork
    backbone: {backbone}
    method: multi_accdoa
    num_classes: {classes}
    adapter: {adapter}
features: !new:spatial_brain.processing.seld_features.LogMelIntensity
  sample_rate: 24000
sample_rate: 24000
array_format: foa
chunk_length: 1.0
detection_hop: 1.0
method: multi_accdoa
num_classes: {classes}
class_names: [{names}]
threshold: 0.5
"""
KEYS = [line.split(":")[0] for line in TEXT.splitlines() if line[0] != " "]
KEYS.remove("modules")


def text_of(backbone, adapter, classes):
    names = ", ".join(f"class {n}" for n in range(classes))
    return TEXT.format(
        backbone=backbone, adapter=adapter, classes=classes, names=names
    )


def fine_tuned(folder, backbone, adapter):
    """A base, what training makes of it, and the folder of its adapters."""
    torch.manual_seed(3)
    base = SELDNetwork(backbone, "multi_accdoa", 5)
    path = folder / "base.ckpt"
    state = base.network.state_dict()
    released = {f"net._orig_mod.{name}": t for name, t in state.items()}
    torch.save({"state_dict": released}, path)
    network = SELDNetwork(backbone, "multi_accdoa", 2, adapter=adapter)
    beginning = begin(network, path)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(2):
        output = network(torch.randn(2, 7, 101, 64))["multi_accdoa"]
        output.square().sum().backward()
        optimizer.step()
    text = text_of(backbone, adapter, 2)
    small = save_adapters(folder / "small", text, KEYS, network, beginning)
    return path, network.eval(), small


@pytest.fixture
def crnn(tmp_path):
    return fine_tuned(tmp_path, "crnn", "bias")


@pytest.mark.parametrize(
    ("backbone", "adapter", "megabytes"),
    [
        ("htsat", "lora", 5.7),
        ("crnn", "bias", 0.04),
    ],
)
def test_adapters_and_base_are_the_network(
    backbone, adapter, megabytes, tmp_path, capsys
):
    base, network, small = fine_tuned(tmp_path, backbone, adapter)
    files = {file.name: file.stat().st_size for file in small.iterdir()}
    assert set(files) == {"adapters.safetensors", "hyperparams.yaml"}
    size = files["adapters.safetensors"] / 1e6
    assert size == pytest.approx(megabytes, rel=0.05)
    with pytest.raises(FileNotFoundError, match="--format adapters"):
        SELDetector.from_hparams(small)
    line = ["convert", "--format", "adapters", "--checkpoint", str(small)]
    line += ["--base", str(base), "--output", str(tmp_path / "whole")]
    assert main(line) == 0
    assert "all names and shapes fit" in capsys.readouterr().out
    detector = SELDetector.from_hparams(
        tmp_path / "whole", run_opts={"device": "cpu"}
    )
    for name, tensor in detector.mods.model.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
    x = torch.randn(1, 7, 101, 64)
    with torch.no_grad():
        expected = network(x)["multi_accdoa"]
        assert torch.equal(detector.mods.model(x)["multi_accdoa"], expected)
    [events] = detector.detect_batch(torch.randn(1, 24000, 4))
    assert events.num_frames == 10


def test_a_converted_base_will_do_as_well(crnn, tmp_path):
    base, network, small = crnn
    folder = tmp_path / "converted"
    state = torch.load(base, weights_only=True)["state_dict"]
    source = SELDNetwork("crnn", "multi_accdoa", 5)
    source.network.load_state_dict(
        {k.removeprefix("net._orig_mod."): v for k, v in state.items()}
    )
    save_pretrained(folder, text_of("crnn", "null", 5), KEYS, {"model": source})
    done = convert("adapters", small, tmp_path / "whole", base=folder)
    parameters = sum(p.numel() for p in network.parameters())
    assert done.num_parameters == parameters


def replace(small, change):
    """Write the adapters' file anew, with other content."""
    path = small / "adapters.safetensors"
    with safetensors.safe_open(path, "pt") as file:
        notes = dict(file.metadata())
    tensors = safetensors.torch.load_file(path)
    change(tensors, notes)
    safetensors.torch.save_file(tensors, path, metadata=notes)


FAULTS = {
    "head": (lambda t, n: t.pop("heads.multi_accdoa.bias"), "missing: heads"),
    "extra": (lambda t, n: t.update(x=torch.ones(1)), "unexpected: network.x"),
    "shape": (
        lambda t, n: t.update({"heads.multi_accdoa.bias": torch.ones(3)}),
        r"\[3\] but should be \[18\]",
    ),
    "nan": (
        lambda t, n: t["heads.multi_accdoa.bias"].fill_(float("nan")),
        "heads.multi_accdoa.bias",
    ),
    "notes": (lambda t, n: n.pop("base_sha256"), "what it was trained from"),
    "base": (lambda t, n: n.update(base_sha256="0" * 64), "is not what .*base"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault, crnn, tmp_path):
    base, _, small = crnn
    change, message = FAULTS[fault]
    replace(small, change)
    with pytest.raises(ValueError, match=message):
        convert("adapters", small, tmp_path / "whole", base=base)
    assert not (tmp_path / "whole").exists()


def test_another_base_or_none_is_refused(crnn, tmp_path):
    base, _, small = crnn
    other = SELDNetwork("crnn", "multi_accdoa", 5).network.state_dict()
    torch.save({f"net.{k}": v for k, v in other.items()}, tmp_path / "o.ckpt")
    with pytest.raises(ValueError, match=r"o\.ckpt is not what .* base\.ckpt"):
        convert("adapters", small, tmp_path / "whole", base=tmp_path / "o.ckpt")
    with pytest.raises(ValueError, match="give --base"):
        convert("adapters", small, tmp_path / "whole")
    (small / "hyperparams.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no hyperparams\.yaml"):
        convert("adapters", small, tmp_path / "whole", base=base)


def test_weights_that_are_not_finite_begin_nothing(tmp_path):
    network = SELDNetwork("crnn", "accdoa", 2)
    state = network.state_dict()
    state["network.encoder.along_time.3.weight"][0, 0] = float("inf")
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(ValueError, match=r"model.safe.*along_time.3.weight"):
        begin(network, path)


def test_damaged_files_are_refused_or_read(crnn, tmp_path):
    """Cut or changed anywhere: an error that names the file, or a network."""
    base, _, small = crnn
    whole = {
        path: path.read_bytes()
        for path in (base, small / "adapters.safetensors")
    }
    draw, refused = random.Random(1), 0
    for path, content in whole.items():
        for _ in range(25):
            damaged = bytearray(content)
            if draw.random() < 0.4:
                del damaged[draw.randrange(len(content)) :]
            for _ in range(draw.choice((0, 1, 100))):
                # Most where the structure lies: at the beginning, the end.
                place = int(len(damaged) * draw.random() ** 8)
                if draw.random() < 0.5:
                    place = len(damaged) - place
                if 0 <= place < len(damaged):
                    damaged[place] = draw.randrange(256)
            path.write_bytes(damaged)
            try:
                convert("adapters", small, tmp_path / "whole", base=base)
            except ValueError as error:
                refused += 1
                assert os.fspath(path) in str(error)
        path.write_bytes(content)
    assert refused > 25
