"""Released checkpoints of SELD and AudioSet networks, rebuilt and read."""

import argparse
import os
import random

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.inference.convert import convert
from spatial_brain.inference.convert.pseldnets import (
    _infer_network,
    _read_checkpoint,
    read_network_weights,
)
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.pretrained.weights import save_weights
from spatial_brain.models.seld import SELDNetwork
from spatial_brain.models.transfer import initialize
from spatial_brain.processing.stft import mel_filter_bank

SMALL_CNN = {"widths": (4, 8, 8, 8, 8, 16), "num_channels": 7}


@pytest.fixture(scope="module")
def seddoa():
    torch.manual_seed(0)
    return SELDNetwork("htsat", "seddoa", 6)


@pytest.fixture(scope="module")
def maccdoa():
    """A network whose every learnt entry differs from a fresh one's."""
    torch.manual_seed(1)
    network = SELDNetwork("htsat", "multi_accdoa", 13)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
        for norm in network.network.scalar:
            norm.running_mean.normal_()
            norm.num_batches_tracked.fill_(7)
    return network


def released(network, prefix="net._orig_mod.", fs=24000):
    """The layout of the public files, of a compiled network or a plain one."""
    bank = mel_filter_bank(fs, 1024, 64, f_min=20.0)
    state = {
        "af_extractor.stft_extractor.window": torch.hann_window(1024),
        "af_extractor.mel_scale.fb": bank.reshape(513, 64),
    }
    for name, tensor in network.network.state_dict().items():
        state[prefix + name] = tensor
    return {"state_dict": state}


def audioset_htsat(encoder):
    """The layout of the HTS-AT file: averaged, hence all in floating point."""
    state = {
        f"sed_model.{name}": tensor.float()
        for name, tensor in encoder.items()
        if not name.startswith("patch_embed.proj.weight")
    }
    torch.manual_seed(2)
    state["sed_model.patch_embed.proj.weight"] = torch.randn(96, 1, 4, 4)
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"sed_model.bn0.{name}"] = torch.rand(64)
    state["sed_model.bn0.num_batches_tracked"] = torch.tensor(41.0)
    state["sed_model.tscam_conv.weight"] = torch.zeros(527, 768, 2, 3)
    state["sed_model.head.weight"] = torch.zeros(527, 768)
    state["sed_model.spectrogram_extractor.stft.conv_real.weight"] = (
        torch.zeros(3)
    )
    return {"state_dict": state}


def inner(network, part):
    return getattr(network.network, part).state_dict()


def test_released_network_is_usable_at_once(maccdoa, tmp_path, capsys):
    path = tmp_path / "mACCDOA-HTSAT-0.567.ckpt"
    torch.save(released(maccdoa), path)
    arguments = ["convert", "--format", "pseldnets", "--checkpoint", str(path)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "225 tensors, 28,083,725 parameters" in capsys.readouterr().out
    model = PretrainedModel.from_hparams(
        tmp_path / "out", run_opts={"device": "cpu"}
    )
    for name, tensor in model.mods.model.state_dict().items():
        assert torch.equal(tensor, maccdoa.state_dict()[name]), name
    hparams = model.hparams
    assert hparams.method == "multi_accdoa" and hparams.num_classes == 13
    assert hparams.sample_rate == hparams.features.sample_rate == 24000
    assert hparams.chunk_length == hparams.detection_hop == 10.0
    assert hparams.class_names[12] == "class 12"
    assert (hparams.threshold, hparams.array_format) == (0.5, "foa")
    features = hparams.features(torch.randn(1, 24000, 4))
    assert model.mods.model(features)["multi_accdoa"].shape == (1, 10, 117)


@pytest.mark.parametrize("fs", [24000, 32000])
def test_plain_names_and_the_sampling_rate(fs, tmp_path):
    network = SELDNetwork("cnn14_conformer", "accdoa", 3, **SMALL_CNN)
    path = tmp_path / "epoch_3.ckpt"
    content = released(network, prefix="net.", fs=fs)
    torch.save({**content, "epoch": 3, "optimizer_states": [{}]}, path)
    found = _read_checkpoint(path)
    assert (found.format, found.sample_rate) == ("pseldnets", fs)
    state = network.network.state_dict()
    assert list(found.tensors) == list(state)
    assert all(torch.equal(found.tensors[name], state[name]) for name in state)


def test_a_network_that_does_not_fit_is_refused(seddoa, tmp_path):
    path = tmp_path / "SEDDOA.ckpt"
    content = released(seddoa)
    content["state_dict"].pop("net._orig_mod.encoder.norm.bias")
    content["state_dict"]["net._orig_mod.encoder.extra"] = torch.zeros(1)
    torch.save(content, path)
    with pytest.raises(ValueError) as error:
        convert("pseldnets", path, tmp_path / "out")
    for part in ("SEDDOA.ckpt", "missing: encoder.norm.bias", "encoder.extra"):
        assert part in str(error.value)
    torch.save({"state_dict": {"net.loss": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match=r"format pseldnets, not htsat-audio"):
        convert("htsat-audioset", path, tmp_path / "out")
    with pytest.raises(ValueError, match="none of the output layers"):
        convert("pseldnets", path, tmp_path / "out")
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no SELD or AudioSet network"):
        _read_checkpoint(path)
    torch.save({"state_dict": {}, "args": argparse.Namespace()}, path)
    with pytest.raises(ValueError, match="could run code"):
        _read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        convert("pseldnets", tmp_path / "missing.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def head(name, outputs):
    return {f"{name}.weight": torch.zeros(outputs, 1)}


PASST = {"encoder.cls_token": torch.zeros(1)}
TWO = {"sed_encoder.norm.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    ("tensors", "name", "expected"),
    [
        (head("tscam_conv", 510), "a.ckpt", ("htsat", "accdoa", 170)),
        (head("tscam_conv", 1530), "a.ckpt", ("htsat", "multi_accdoa", 170)),
        (head("tscam_conv", 39), "a.ckpt", ("htsat", "accdoa", 13)),
        (head("tscam_conv", 36), "a.ckpt", ("htsat", "accdoa", 12)),
        (head("tscam_conv", 108), "a.ckpt", ("htsat", "multi_accdoa", 12)),
        (head("tscam_conv", 18), "ACCDOA-x.ckpt", ("htsat", "accdoa", 6)),
        (head("tscam_conv", 18), "mACCDOA.pt", ("htsat", "multi_accdoa", 2)),
        (head("sed_tscam_conv", 510), "a.pt", ("htsat", "seddoa", 170)),
        (head("sed_tscam_conv", 39) | TWO, "a.pt", ("htsat", "einv2", 13)),
        (head("fc", 1530) | PASST, "a.pt", ("passt", "multi_accdoa", 170)),
        (head("fc_sed.0", 13), "a.pt", ("passt", "einv2", 13)),
        (head("fc", 126), "a.pt", ("cnn14_conformer", "multi_accdoa", 14)),
        (head("fc_sed_track1", 13), "a.pt", ("cnn14_conformer", "einv2", 13)),
    ],
)
def test_kind_of_network_is_inferred(tensors, name, expected):
    assert _infer_network(tensors, name) == expected


def test_an_ambiguous_head_asks_for_the_name():
    with pytest.raises(ValueError, match=r"18 outputs.*begin with ACCDOA-"):
        _infer_network(head("tscam_conv", 18), "epoch_3.ckpt")


def test_audioset_htsat_to_both_branches(seddoa, tmp_path):
    encoder = inner(seddoa, "encoder")
    raw = audioset_htsat(encoder)
    torch.save(raw, tmp_path / "HTSAT.ckpt")
    done = convert(
        "htsat-audioset", tmp_path / "HTSAT.ckpt", tmp_path / "initial"
    )
    assert done.folder == tmp_path / "initial" / "htsat-audioset.safetensors"
    network = SELDNetwork("htsat", "einv2", 4)
    stitches = inner(network, "stitch1")
    summary = initialize(network, read_network_weights(done.folder))
    conv = raw["state_dict"]["sed_model.patch_embed.proj.weight"]
    for branch, channels in (("sed_encoder", 4), ("doa_encoder", 7)):
        own = inner(network, branch)
        for name, tensor in own.items():
            expected = encoder[name]
            if name == "patch_embed.proj.weight":
                expected = conv.repeat(1, channels, 1, 1) / channels
            assert tensor.dtype == encoder[name].dtype
            assert torch.equal(tensor, expected), name
    for norm in network.network.scalar:
        for name, tensor in norm.state_dict().items():
            expected = raw["state_dict"][f"sed_model.bn0.{name}"]
            assert torch.equal(tensor.float(), expected)
    assert norm.num_batches_tracked.dtype == torch.int64
    for name, tensor in inner(network, "stitch1").items():
        assert torch.equal(tensor, stitches[name])
    assert {name.split(".")[0] for name in summary.left} == {
        "stitch1",
        "sed_tscam_conv",
        "doa_tscam_conv",
    }
    assert summary.unused == []
    # A file as published will do as well.
    again = SELDNetwork("htsat", "seddoa", 4)
    initialize(again, read_network_weights(tmp_path / "HTSAT.ckpt"))
    assert torch.equal(
        inner(again, "encoder")["norm.weight"], encoder["norm.weight"]
    )


def test_audioset_passt_positions(tmp_path, caplog):
    torch.manual_seed(0)
    network = SELDNetwork("passt", "accdoa", 2)
    state = {
        name: tensor.clone()
        for name, tensor in inner(network, "encoder").items()
    }
    state["patch_embed.proj.weight"] = torch.randn(768, 1, 16, 16)
    times = torch.linspace(0, 98, 99).expand(1, 768, 1, 99)
    state["time_new_pos_embed"] = times.contiguous()
    rows = torch.arange(12.0).view(1, 1, 12, 1).expand(1, 768, 12, 1)
    state["freq_new_pos_embed"] = rows.contiguous()
    state["head.1.weight"] = torch.zeros(527, 768)
    state["head_dist.weight"] = torch.zeros(527, 768)
    torch.save(state, tmp_path / "passt.pt")
    with torch.no_grad():
        for parameter in network.network.encoder.parameters():
            parameter.zero_()
    scalar = inner(network, "scalar")
    with caplog.at_level("INFO"):
        tensors = read_network_weights(tmp_path / "passt.pt")
    assert "passt-audioset" in caplog.text
    assert "SELD encoder: head (1), head_dist (1)" in caplog.text
    summary = initialize(network, tensors)
    assert set(summary.resized) == {
        "encoder.patch_embed.proj.weight",
        "encoder.time_new_pos_embed",
        "encoder.freq_new_pos_embed",
    }
    for part in (
        "patch_embed.proj.weight from [768, 1, 16, 16] to [768, 7, 16, 16]",
        "time_new_pos_embed from [1, 768, 1, 99] to [1, 768, 1, 100]",
        "freq_new_pos_embed from [1, 768, 12, 1] to [1, 768, 6, 1]",
    ):
        assert part in str(summary)
    own = network.network.encoder
    assert own.freq_new_pos_embed[0, 5].flatten().tolist() == list(range(3, 9))
    # Half-pixel positions: the ends stay, the middle is stretched.
    found = own.time_new_pos_embed[0, 9, 0]
    place = (torch.arange(100) + 0.5) * 0.99 - 0.5
    assert torch.allclose(found, place.clamp(0, 98), atol=1e-4)
    for name in ("blocks.3.attn.qkv.weight", "head.0.weight", "cls_token"):
        assert torch.equal(inner(network, "encoder")[name], state[name])
    for name, tensor in inner(network, "scalar").items():
        assert torch.equal(tensor, scalar[name])
    assert {name.split(".")[0] for name in summary.left} == {"scalar", "fc"}
    assert summary.unused == []
    # Longer tables are cropped to their centre.
    times = torch.arange(103.0).expand(1, 768, 1, 103)
    state["time_new_pos_embed"] = times.contiguous()
    torch.save(state, tmp_path / "passt.pt")
    initialize(network, read_network_weights(tmp_path / "passt.pt"))
    assert own.time_new_pos_embed[0, 0, 0, :2].tolist() == [1.0, 2.0]


def test_audioset_cnn14_and_a_decoder_that_is_kept(tmp_path):
    torch.manual_seed(0)
    trained = SELDNetwork("cnn14_conformer", "accdoa", 3, **SMALL_CNN)
    convs = inner(trained, "convs")
    state = {**convs, "conv_block1.conv1.weight": torch.randn(4, 1, 3, 3)}
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"bn0.{name}"] = torch.rand(64)
    state["bn0.num_batches_tracked"] = torch.tensor(5)
    state["fc1.weight"] = state["fc_audioset.bias"] = torch.zeros(3)
    torch.save({"model": state, "iteration": 3}, tmp_path / "Cnn14.pth")
    network = SELDNetwork("cnn14_conformer", "accdoa", 3, **SMALL_CNN)
    summary = initialize(network, read_network_weights(tmp_path / "Cnn14.pth"))
    assert {n.split(".")[0] for n in summary.left} == {"decoder", "fc"}
    first = network.network.convs.conv_block1.conv1.weight
    for channel in range(7):
        assert torch.equal(
            first[:, channel], state["conv_block1.conv1.weight"][:, 0] / 7
        )

    # From a trained network the decoder comes too, unlike in the original.
    save_weights(tmp_path / "model.safetensors", trained)
    (tmp_path / "hyperparams.yaml").write_text("modules: {}")
    summary = initialize(network, read_network_weights(tmp_path))
    for part in ("scalar", "convs", "decoder"):
        for name, tensor in inner(network, part).items():
            assert torch.equal(tensor, inner(trained, part)[name]), name
    assert (
        sorted(summary.left)
        == sorted(summary.unused)
        == ["fc.bias", "fc.weight"]
    )
    assert not torch.equal(network.network.fc.weight, trained.network.fc.weight)
    summary = initialize(
        network, read_network_weights(tmp_path), keep_head=True
    )
    assert torch.equal(network.network.fc.weight, trained.network.fc.weight)
    assert summary.left == summary.unused == []


def test_transfer_between_class_sets(maccdoa, tmp_path):
    path = tmp_path / "mACCDOA.ckpt"
    torch.save(released(maccdoa), path)
    tensors = read_network_weights(path)
    network = SELDNetwork("htsat", "multi_accdoa", 5)
    before = inner(network, "tscam_conv")
    before = {name: tensor.clone() for name, tensor in before.items()}
    summary = initialize(network, tensors, keep_head=True)
    # Other classes: the head is not touched even if asked for.
    assert summary.left == ["tscam_conv.weight", "tscam_conv.bias"]
    for name, tensor in inner(network, "tscam_conv").items():
        assert torch.equal(tensor, before[name])
    for part in ("scalar", "encoder"):
        for name, tensor in inner(network, part).items():
            assert torch.equal(tensor, inner(maccdoa, part)[name]), name
    assert "206 entries copied" in str(summary)
    # The heads of directions know no classes.
    source = SELDNetwork("htsat", "seddoa", 3)
    other = SELDNetwork("htsat", "seddoa", 5)
    summary = initialize(other, source.network.state_dict())
    assert summary.left == ["sed_tscam_conv.weight", "sed_tscam_conv.bias"]
    assert torch.equal(
        other.network.doa_tscam_conv.weight,
        source.network.doa_tscam_conv.weight,
    )


def test_transfer_refuses_what_does_not_fit(maccdoa):
    tensors = maccdoa.network.state_dict()
    small = SELDNetwork("cnn14_conformer", "accdoa", 3, **SMALL_CNN)
    untouched = {k: v.clone() for k, v in small.state_dict().items()}
    with pytest.raises(ValueError, match="no encoder of CNN14Conformer"):
        initialize(small, tensors)
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, untouched[name])
    einv2 = SELDNetwork("htsat", "einv2", 13)
    with pytest.raises(ValueError, match=r"\[96, 7, 4, 4\] but should be"):
        initialize(einv2, tensors)
    torn = {k: v for k, v in tensors.items() if "layers.3" not in k}
    same = SELDNetwork("htsat", "accdoa", 3)
    with pytest.raises(ValueError, match=r"missing: encoder\.layers\.3"):
        initialize(same, torn)


class Trap:
    """Makes a folder when it is unpickled as code."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def trapped(tmp_path):
    return {"x": Trap(tmp_path / "trap")}


def repeated(tmp_path):
    """Claims 64 GB of classes in a few bytes."""
    head = torch.zeros(1).expand(3 * 10**9, 768, 2, 3)
    return {"net.tscam_conv.weight": head}


def sparse(tmp_path):
    return {"net.tscam_conv.weight": torch.eye(9).to_sparse()}


FORMATS = ("pseldnets", "htsat-audioset", "passt-audioset", "cnn14-audioset")


@pytest.mark.filterwarnings("ignore:Sparse invariant")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("content", [trapped, repeated, sparse])
def test_malicious_files_do_nothing(content, format, tmp_path):
    path = tmp_path / "mACCDOA-HTSAT-0.567.ckpt"
    torch.save({"state_dict": content(tmp_path)}, path)
    with pytest.raises(
        ValueError, match=r"HTSAT.*(run code|no plain dense|claims more)"
    ):
        convert(format, path, tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"HTSAT.*(run code|no plain dense|claims more)"
    ):
        read_network_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files_are_refused_or_read(format, tmp_path):
    """Cut or changed anywhere: an error that names the file, or tensors."""
    names = {
        "pseldnets": "net._orig_mod.encoder.norm.bias",
        "htsat-audioset": "sed_model.norm.bias",
        "passt-audioset": "time_new_pos_embed",
        "cnn14-audioset": "conv_block1.bn1.bias",
    }
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": {names[format]: torch.randn(64)}}, path)
    content, draw, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(100):
        damaged = bytearray(content)
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(content)) :]
        for _ in range(min(len(damaged), draw.choice((0, 1, 10)))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            assert _read_checkpoint(path).format == format
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
    assert 30 < refused < 100
