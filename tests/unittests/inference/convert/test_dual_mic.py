"""A released checkpoint becomes a folder that the localiser can use."""

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference import SoundLocalizer
from spatial_brain.inference.convert import convert
from spatial_brain.models.dual_mic import DualMicLocalizer


@pytest.fixture(scope="module")
def state():
    """Weights as a distributed training run would save them."""
    torch.manual_seed(1)
    model = DualMicLocalizer()
    return {f"module.{k}": v for k, v in model.state_dict().items()}


def test_dual_mic_checkpoint_is_usable_at_once(state, tmp_path, capsys):
    torch.save(state, tmp_path / "model.pth")
    arguments = ["convert", "--format", "dual-mic-ssl"]
    arguments += ["--checkpoint", str(tmp_path / "model.pth")]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "315 tensors, 57,102,224 parameters" in printed

    localizer = SoundLocalizer.from_hparams(
        tmp_path / "out", run_opts={"device": "cpu"}
    )
    model = localizer.mods.model
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[f"module.{name}"]), name
    write_audio(tmp_path / "a.wav", torch.randn(80_000, 2) * 0.1, 16000)
    found = localizer.localize_file(tmp_path / "a.wav")
    assert found.directions.shape == (3, 2)
    assert ((found.directions >= 0) & (found.directions <= 180)).all()


def test_a_checkpoint_that_does_not_fit_is_refused(state, tmp_path):
    path = tmp_path / "model.pth"
    kept = ("module.norm.weight", "module.head.weight")
    wrong = {name: state[name] for name in kept}
    torch.save({**wrong, "module.extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError) as error:
        convert("dual-mic-ssl", path, tmp_path / "out")
    for part in (
        "model.pth",
        "missing: cls_token",
        "and 308 more",
        "unexpected: extra",
    ):
        assert part in str(error.value)
    torch.save({"epoch": 3, "model": {"head.bias": torch.zeros(36)}}, path)
    with pytest.raises(ValueError, match=r"plain state dict.*epoch, model"):
        convert("dual-mic-ssl", path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"no such weights file"):
        convert("dual-mic-ssl", tmp_path / "missing.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
