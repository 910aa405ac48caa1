"""Released SAR-SSL checkpoints become folders and initial weights."""

import pickle

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.inference.convert import convert
from spatial_brain.inference.convert.sar_ssl import read_encoder_weights
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.models.mc_conformer import (
    CrossChannelReconstruction,
    SpatialAcousticsEstimator,
)
from spatial_brain.models.transfer import initialize_encoders
from spatial_brain.nnet.relative_conformer import _PositionTable, sinusoid_table

WRAPPED = ("query_proj", "key_proj", "value_proj", "out_proj", "pos_proj")


def original_state(network, prefix="module."):
    """State dict as the public original stores it."""
    state = {}
    for name, tensor in network.state_dict().items():
        head, _, last = name.rpartition(".")
        feed_forward = ".0.module.sequential." in name
        feed_forward |= ".3.module.sequential." in name
        linear = head.endswith(WRAPPED) or (
            feed_forward and head.endswith((".1", ".4"))
        )
        middle = ".linear" if linear else ""
        state[f"{prefix}{head}{middle}.{last}"] = tensor
    for name, module in network.named_modules():
        if isinstance(module, _PositionTable):
            table = sinusoid_table(100, module.dim)[None]
            state[f"{prefix}{name}.pe"] = table
    return state


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(2)
    return CrossChannelReconstruction(), SpatialAcousticsEstimator()


def save(path, network, prefix="module.", **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    state = original_state(network, prefix)
    torch.save({**others, "model": state}, path)
    return path


def load(folder):
    return PretrainedModel.from_hparams(folder, run_opts={"device": "cpu"})


def test_downstream_checkpoint(networks, tmp_path, capsys):
    network = networks[1]
    path = save(
        tmp_path / "exp" / "TDOA" / "06271437" / "ensemble_model.tar",
        network,
        epoch=[3, 4, 5],
    )
    arguments = ["convert", "--format", "sar-ssl", "--checkpoint", str(path)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "214 tensors, 12,025,873 parameters" in printed
    loaded = load(tmp_path / "out")
    assert loaded.hparams.task == "TDOA"
    assert loaded.hparams.sample_rate == 16000
    assert loaded.hparams.duration == 1.04
    x = torch.randn(1, 16640, 2)
    features = loaded.hparams.features(x)
    assert features.shape == (1, 2, 256, 64, 2)
    with torch.no_grad():
        found = loaded.mods.model(features)
        assert torch.equal(found, network.eval()(features))


@pytest.mark.parametrize(
    "path, task, duration",
    [
        ("T60/run/ensemble_model.tar", "T60", 4.112),
        ("TDOA/elsewhere/best-c50.tar", "C50", 4.112),
        ("ABS/real_train1real1sim_valreal/best_model.tar", "ABS", 4.112),
    ],
)
def test_the_task_is_in_the_name(path, task, duration, networks, tmp_path):
    path = save(tmp_path / path, networks[1], prefix="", epoch=1)
    convert("sar-ssl", path, tmp_path / "out")
    hparams = load(tmp_path / "out").hparams
    assert (hparams.task, hparams.duration) == (task, duration)


def test_other_embeddings_are_recognised(tmp_path):
    network = SpatialAcousticsEstimator(embedding="spec_spat")
    path = save(tmp_path / "DRR" / "best_model.tar", network)
    convert("sar-ssl", path, tmp_path / "out")
    assert load(tmp_path / "out").mods.model.used == ("spec", "spat")


def test_pretext_checkpoint(networks, tmp_path):
    network = networks[0]
    path = save(tmp_path / "best_model.tar", network, epoch=29, max_score=-0.41)
    done = convert("sar-ssl", path, tmp_path / "out")
    assert done.num_tensors == 214 and done.num_parameters == 17_534_224
    loaded = load(done.folder)
    assert loaded.hparams.duration == 4.112
    assert not hasattr(loaded.hparams, "task")
    for source in (path, done.folder, done.folder / "model.safetensors"):
        target = SpatialAcousticsEstimator()
        summary = initialize_encoders(target, read_encoder_weights(source))
        assert len(summary.copied) == 206
        for name, tensor in target.state_dict().items():
            if "encoder" in name:
                assert torch.equal(tensor, network.state_dict()[name]), name


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def test_what_is_refused(networks, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"name the task.*exp/TDOA"):
        convert("sar-ssl", save(tmp_path / "a.tar", networks[1]), out)
    torch.save({"model": {"fc.weight": torch.zeros(1)}}, tmp_path / "b.tar")
    with pytest.raises(ValueError, match="no network of SAR-SSL"):
        convert("sar-ssl", tmp_path / "b.tar", out)
    with pytest.raises(ValueError, match="holds no encoders"):
        read_encoder_weights(tmp_path / "b.tar")
    state = original_state(networks[0])
    state.pop("module.spat_encoder.patch_embed.12.weight")
    state["module.extra"] = torch.zeros(1)
    torch.save({"epoch": 1, "model": state}, tmp_path / "c.tar")
    with pytest.raises(
        ValueError, match=r"missing: spat_encoder.patch_embed.12.*extra"
    ):
        convert("sar-ssl", tmp_path / "c.tar", out)
    with open(tmp_path / "d.tar", "wb") as file:
        pickle.dump({"model": Evil()}, file, protocol=2)
    torch.save({"model": Evil()}, tmp_path / "e.tar")
    for name in ("d.tar", "e.tar"):
        with pytest.raises(ValueError, match=r"could run code|cannot be read"):
            convert("sar-ssl", tmp_path / name, out)
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        convert("sar-ssl", tmp_path / "none.tar", out)
    with pytest.raises(FileNotFoundError):
        read_encoder_weights(tmp_path / "nowhere")
    assert not out.exists()
