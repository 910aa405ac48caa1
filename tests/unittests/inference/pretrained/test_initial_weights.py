"""A training begins with the weights of a model, all of them, or not."""

import pytest
import torch
from small_models import ship_run, write_run

from spatial_brain.inference import shipped
from spatial_brain.inference.pretrained import set_initial_weights
from spatial_brain.models.array_localizer import ArrayLocalizer


def weights(net):
    return torch.cat([part.flatten() for part in net.parameters()])


def test_of_a_run_and_of_a_shipped_model(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run")
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "models")
    ship_run(run, tmp_path / "models" / "pair")
    found = []
    for source in (run, run / "pretrained/model.safetensors", "pair"):
        net = ArrayLocalizer(2, 0.1, 36, hidden=4)
        set_initial_weights(net, source)
        found.append(weights(net))
    assert all(torch.equal(found[0], other) for other in found)


def test_nothing_is_changed_where_nothing_is_named():
    net = ArrayLocalizer(2, 0.1, 36, hidden=4)
    before = weights(net)
    set_initial_weights(net, None)
    assert torch.equal(before, weights(net))


def test_another_network_is_refused(tmp_path):
    run = write_run(tmp_path / "run")
    net = ArrayLocalizer(2, 0.1, 36, hidden=5)
    before = weights(net)
    with pytest.raises(ValueError, match="same network") as error:
        set_initial_weights(net, run)
    assert "model.safetensors does not fit ArrayLocalizer" in str(error.value)
    assert torch.equal(before, weights(net))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        set_initial_weights(net, tmp_path / "none")
