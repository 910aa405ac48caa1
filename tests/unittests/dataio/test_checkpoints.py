"""A kill while saving leaves no checkpoint which cannot be read."""

import pytest
import torch

from spatial_brain.dataio.checkpoints import AtomicCheckpointer


class Bomb:
    """A recoverable whose saving fails as a kill would."""

    armed = False


def save_bomb(bomb, path):
    if bomb.armed:
        raise KeyboardInterrupt
    path.write_text("fine")


@pytest.fixture
def parts(tmp_path):
    model, bomb = torch.nn.Linear(2, 2), Bomb()
    checkpointer = AtomicCheckpointer(
        tmp_path,
        {"bomb": bomb, "model": model},
        custom_save_hooks={"bomb": save_bomb},
        custom_load_hooks={"bomb": lambda bomb, path, end_of_epoch: None},
    )
    return checkpointer, model, bomb


def test_interrupted_save_is_not_a_checkpoint(parts, tmp_path):
    checkpointer, model, bomb = parts
    checkpointer.save_checkpoint({"error": 3.0}, name="good")
    saved = model.weight.detach().clone()
    bomb.armed = True
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint({"error": 1.0}, name="broken")
    torch.nn.init.zeros_(model.weight)
    found = checkpointer.recover_if_possible(min_key="error")
    assert found.meta["error"] == 3.0
    assert model.weight.equal(saved)
    bomb.armed = False
    checkpointer.save_checkpoint({"error": 2.0}, name="next")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "CKPT+good",
        "CKPT+next",
    ]


def test_save_and_keep_only_returns_to_the_best(parts, tmp_path):
    checkpointer, _, _ = parts
    for error in (3.0, 1.0, 2.0):
        checkpointer.save_and_keep_only(
            meta={"error": error}, min_keys=["error"], num_to_keep=1
        )
    assert checkpointer.find_checkpoint(min_key="error").meta["error"] == 1.0
    assert len(list(tmp_path.iterdir())) == 2
