"""Checkpoints of SpeechBrain's binaural recipe become usable folders."""

import warnings

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.inference import BinauralSeparator
from spatial_brain.inference.convert import convert
from spatial_brain.inference.convert.speechbrain_binaural import MODULES
from spatial_brain.models.binaural_tasnet import BinauralTasNet

SMALL = {
    "num_filters": 6,
    "kernel_size": 8,
    "stride": 4,
    "bottleneck": 4,
    "hidden": 5,
    "num_blocks": 3,
    "num_repeats": 2,
}


def save(folder, network, prefix="", snr=None):
    """A checkpoint folder as the recipe writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        state = getattr(network, module).state_dict()
        state = {prefix + name: tensor for name, tensor in state.items()}
        torch.save(state, folder / f"{module}.ckpt")
    if snr is not None:
        text = f"# yamllint disable\nend-of-epoch: true\nsnr: {snr}\n"
        (folder / "CKPT.yaml").write_text(text)
    return folder


def describe(folder, name, rate=8000, more=""):
    (folder / "hyperparams.yaml").write_text(
        f"experiment_name: {name}\nsample_rate: {rate}\n{more}"
    )


def load(folder):
    return BinauralSeparator.from_hparams(folder, run_opts={"device": "cpu"})


def network(rule, **options):
    torch.manual_seed(7)
    return BinauralTasNet(rule, **{**SMALL, **options}).eval()


def test_a_checkpoint_is_usable_at_once(tmp_path, capsys):
    origin = network("parallel", num_sources=3)
    run = tmp_path / "run"
    save(run / "save" / "CKPT+a", network("parallel"), snr=-9.5)
    save(run / "save" / "CKPT+b", origin, "module.", snr=-10.25)
    describe(run, "'convtasnet-parallel-noise'", 16000)
    arguments = ["convert", "--format", "speechbrain-binaural"]
    arguments += ["--checkpoint", str(run), "--output", str(tmp_path / "out")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(arguments) == 0
    size = sum(p.numel() for p in origin.parameters())
    line = f"{len(origin.state_dict())} tensors, {size:,} parameters"
    assert line in capsys.readouterr().out
    separator = load(tmp_path / "out")
    assert separator.hparams.sample_rate == 16000
    waveform = 0.1 * torch.randn(2, 4000, 2)
    with torch.no_grad():
        wanted = origin(waveform)
    assert wanted.shape == (2, 4000, 2, 3)
    assert torch.equal(separator.separate_batch(waveform), wanted)


@pytest.mark.parametrize(
    "rule, name", [("independent", "x"), ("parallel", "convtasnet-parallel")]
)
def test_the_rule_by_shapes_or_by_the_folder(rule, name, tmp_path):
    folder = save(tmp_path / name / "1234" / "save" / "CKPT+c", network(rule))
    with pytest.warns(UserWarning, match=r"sampling rate.*8000 Hz"):
        convert("speechbrain-binaural", folder, tmp_path / "out")
    separator = load(tmp_path / "out")
    assert separator.mods.model.rule == rule
    assert separator.hparams.sample_rate == 8000


def test_cross_gets_a_projection_that_stays(tmp_path):
    origin = network("cross", compat=True)
    folder = save(tmp_path / "a", origin)
    for out in ("one", "two"):
        with pytest.warns(UserWarning, match="saved no projection"):
            done = convert(
                "speechbrain-binaural",
                folder,
                tmp_path / out,
                rule="cross",
                sample_rate=8000,
            )
    assert done.num_tensors == len(origin.state_dict())
    models = [load(tmp_path / out).mods.model for out in ("one", "two")]
    waveform = torch.randn(1, 2000, 2)
    with torch.no_grad():
        first, second = (model(waveform) for model in models)
        assert torch.equal(first, second)
        # As the original, by a draw of its own.
        weight, bias = models[0].ild_proj.parameters()
        origin._random_projection = lambda ild: torch.nn.functional.conv1d(
            ild, weight, bias
        )
        assert torch.equal(first, origin(waveform))
    assert 0.9 / 129**0.5 < weight.abs().max() < 1 / 129**0.5


def test_causal_networks_of_speechbrain(tmp_path):
    origin = network("parallel", causal=True, causal_legacy=True)
    folder = save(tmp_path / "a", origin)
    more = "MasknetL: !new:speechbrain.lobes.models.conv_tasnet.MaskNet\n"
    describe(tmp_path, "parallel", more=more + "    causal: True\n")
    with pytest.raises(ValueError, match="needs the future"):
        convert("speechbrain-binaural", folder, tmp_path / "out")
    more += "    causal: True\n    norm_type: cLN\n"
    describe(tmp_path, "parallel", more=more)
    convert("speechbrain-binaural", folder, tmp_path / "out")
    waveform = torch.randn(1, 2000, 2)
    with torch.no_grad():
        found = load(tmp_path / "out").mods.model(waveform)
        assert torch.equal(found, origin(waveform))


def test_what_is_refused(tmp_path):
    def refused(error, match, folder=tmp_path / "crossley/a", **options):
        options = {"sample_rate": 8000, **options}
        with pytest.raises(error, match=match):
            convert("speechbrain-binaural", folder, tmp_path / "out", **options)

    folder = save(tmp_path / "crossley" / "a", network("parallel"))
    refused(ValueError, "cross and parallel have the same.*--rule")
    refused(ValueError, "by its shapes it is cross or par", rule="independent")
    refused(ValueError, "rule must be one of", rule="both")
    with pytest.raises(ValueError, match="has no option rule"):
        convert("sar-ssl", folder, tmp_path / "out", rule="parallel")
    refused(FileNotFoundError, "no such folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused(FileNotFoundError, "no masknetL.ckpt", tmp_path / "empty")
    save(tmp_path / "b" / "CKPT+1", network("parallel"))
    save(tmp_path / "b" / "CKPT+2", network("parallel"))
    refused(ValueError, r"several checkpoints.*CKPT\+1", tmp_path / "b")
    state = torch.load(folder / "masknetR.ckpt", weights_only=True)
    state.pop("layer_norm.beta")
    torch.save(state, folder / "masknetR.ckpt")
    refused(ValueError, "missing: masknetR.layer_norm.beta", rule="parallel")
    torch.save({"weight": torch.zeros(1)}, folder / "masknetL.ckpt")
    refused(ValueError, "no Conv-TasNet of the recipe", rule="parallel")
    (folder / "decoderR.ckpt").unlink()
    refused(FileNotFoundError, "missing: decoderR.ckpt", rule="parallel")
    assert not (tmp_path / "out").exists()
