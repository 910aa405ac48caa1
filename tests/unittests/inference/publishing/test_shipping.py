"""A shipped model is made of a run whole, and proves itself."""

import pytest
import torch
from small_models import FACTS, save_network, ship_run, write_run

from spatial_brain.inference import SoundLocalizer, shipped
from spatial_brain.inference.pretrained import (
    Figure,
    PretrainedModel,
    check_golden,
    read_card,
    write_card,
)
from spatial_brain.inference.pretrained.golden import make_golden
from spatial_brain.inference.publishing.contents import contents
from spatial_brain.inference.publishing.shipping import (
    missing_facts,
    ship_model,
    write_figures,
)


@pytest.fixture
def run(tmp_path):
    """Output folder of a run."""
    return write_run(tmp_path / "run")


@pytest.fixture
def ours(run, tmp_path, monkeypatch):
    """Folder of a shipped model ``pair``, beside no other."""
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "pretrained_models")
    return ship_run(run, tmp_path / "pretrained_models" / "pair")


def figures():
    methods = (("this model", "model", 3.0), ("best constant", "trivial", 45.0))
    methods += (("SRP-PHAT", "classical", 5.0),)
    return [
        Figure("office", rooms, method, kind, "error", value, "degrees")
        for rooms in ("measured", "simulated")
        for method, kind, value in methods
    ]


def test_it_is_whole_and_found_by_name(ours):
    assert {path.name for path in ours.iterdir()} == {
        *("card.json", "golden.safetensors", "hyperparams.yaml"),
        *("model.safetensors", "README.md"),
    }
    assert not [*ours.parent.glob(".*")]
    card = read_card(ours / "card.json")
    assert card.command == "locate" and len(card.hashes) == 3
    assert SoundLocalizer.from_hparams("pair").card == card
    assert "--model pair" in (ours / "README.md").read_text()
    with pytest.raises(FileNotFoundError, match="did you mean pair"):
        SoundLocalizer.from_hparams("pairs")


def test_it_can_be_published_as_it_is(ours):
    files = contents("pair", "me/pair")
    assert set(files) == {path.name for path in ours.iterdir()}
    assert files["card.json"] == (ours / "card.json").read_bytes()


def test_a_folder_of_that_name_wins(ours, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair").mkdir()
    # One that is no model does not stand in the way.
    assert SoundLocalizer.from_hparams("pair").card.licence == "cc-by-4.0"
    (run / "pretrained").rename(tmp_path / "pair/pretrained")
    assert SoundLocalizer.from_hparams("pair").card.licence is None


def test_figures_complete_the_card_and_the_page(ours):
    assert missing_facts(read_card(ours / "card.json")) == [
        *("real_time_factor", "machine", "figures"),
        *(
            f"figures: {rooms} rooms, {kind} method"
            for rooms in ("measured", "simulated")
            for kind in ("model", "classical", "trivial")
        ),
    ]
    write_figures("pair", figures(), real_time_factor=0.01, machine="mine")
    assert not missing_facts(read_card(ours / "card.json"))
    page = (ours / "README.md").read_text()
    assert "| measured  | office   | 3          | 45            | 5" in page
    assert "\n- real time factor: 0.01 on mine\n" in page
    # It still loads: the hashes are of the files beside the card.
    assert check_golden("pair") <= 1


def test_a_run_gets_its_figures_twice(run):
    write_figures(run, figures())
    for folder in (run, run / "pretrained"):
        assert len(read_card(folder / "card.json").figures) == 6


def test_a_golden_pair_shows_other_weights(ours):
    assert check_golden("pair") <= 1
    path = ours / "card.json"
    card = read_card(path)
    save_network(ours)
    with pytest.raises(ValueError, match="is not the file of its card"):
        check_golden("pair")
    facts = {**card.to_dict(), "hashes": None}
    facts.pop("card_version")
    write_card(ours, facts)
    with pytest.raises(ValueError, match="does not compute here what it"):
        check_golden("pair")


def test_shipping_again_replaces_or_leaves_all(ours, run):
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    with pytest.raises(ValueError, match="nothing to compare"):
        ship_model(run, ours, torch.full((16000, 2), torch.nan), **FACTS)
    assert {p.name: p.read_bytes() for p in ours.iterdir()} == before
    ship_run(run, ours, snr=[0, 30])
    assert read_card(ours / "card.json").snr == [0, 30]
    assert not [*ours.parent.glob(".*")]


class OfPositions(torch.nn.Module):
    """A network of waveform and positions, with two outputs."""

    def forward(self, waveforms, positions):
        return {"a": waveforms @ positions, "b": positions}


def test_a_network_of_positions():
    model = PretrainedModel(
        {"model": OfPositions()}, {}, {"device": "cpu"}, freeze_params=False
    )
    pair, tolerance = make_golden(model, torch.rand(5, 2), torch.rand(2, 3))
    assert {name: list(value.shape) for name, value in pair.items()} == {
        "waveform": [1, 5, 2],
        "positions": [1, 2, 3],
        "output.a": [1, 5, 3],
        "output.b": [1, 2, 3],
    }
    assert pair["waveform"].dtype == torch.int16 and tolerance > 0
    with pytest.raises(ValueError, match="called with positions, waveform"):
        make_golden(model, torch.rand(5, 2))
