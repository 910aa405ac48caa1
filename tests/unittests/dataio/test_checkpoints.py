"""A kill while saving leaves no checkpoint which cannot be read."""

import logging
import math
import os

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


def test_what_is_no_number_is_never_the_best(parts, tmp_path):
    checkpointer, _, _ = parts
    checkpointer.save_and_keep_only({"error": 3.0}, min_keys=["error"])
    with pytest.raises(ValueError, match="error, by which .* is not a number"):
        checkpointer.save_and_keep_only({"error": math.nan}, min_keys=["error"])
    assert checkpointer.find_checkpoint(min_key="error").meta["error"] == 3.0
    assert len(list(tmp_path.iterdir())) == 1


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "bit of the weights": lambda folder: flip(folder / "model.ckpt"),
    "bit of another part": lambda folder: flip(folder / "bomb.ckpt"),
    "bit of the metadata": lambda folder: flip(folder / "CKPT.yaml"),
    "bit of the checksums": lambda folder: flip(folder / "checksums.json"),
    "cut weights": lambda folder: os.truncate(folder / "model.ckpt", 500),
    "empty weights": lambda folder: os.truncate(folder / "model.ckpt", 0),
    "empty metadata": lambda folder: os.truncate(folder / "CKPT.yaml", 0),
    "no weights": lambda folder: (folder / "model.ckpt").unlink(),
    "no metadata": lambda folder: (folder / "CKPT.yaml").unlink(),
    "no other part": lambda folder: (folder / "bomb.ckpt").unlink(),
    "text": lambda folder: (folder / "model.ckpt").write_text("<html>"),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
}


def again(checkpointer, model):
    """A new process: nothing of the old checkpointer is known."""
    return AtomicCheckpointer(
        checkpointer.checkpoints_dir,
        {"bomb": Bomb(), "model": model},
        custom_save_hooks={"bomb": save_bomb},
        custom_load_hooks={"bomb": lambda bomb, path, end_of_epoch: None},
    )


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_left_for_the_one_before(parts, kind, caplog):
    checkpointer, model, _ = parts
    checkpointer.save_checkpoint({"error": 2.0}, name="1")
    before = model.weight.detach().clone()
    torch.nn.init.zeros_(model.weight)
    newest = checkpointer.save_checkpoint({"error": 1.0}, name="2").path
    DAMAGE[kind](newest)
    checkpointer = again(checkpointer, model)
    with caplog.at_level(logging.WARNING):
        assert checkpointer.recover_if_possible().meta["error"] == 2.0
    assert torch.equal(model.weight, before)
    assert f"{newest}: damaged" in caplog.text
    # The run goes on beside it.
    checkpointer.save_and_keep_only(meta={"error": 0.5}, min_keys=["error"])
    assert checkpointer.find_checkpoint().meta["error"] == 0.5
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        checkpointer.list_checkpoints()
    assert not caplog.text


def test_nothing_but_damaged_checkpoints_is_no_fresh_start(parts):
    checkpointer, model, _ = parts
    path = checkpointer.save_checkpoint({"error": 2.0}, name="1").path
    flip(path / "model.ckpt")
    with pytest.raises(ValueError, match="every checkpoint is damaged.*model"):
        again(checkpointer, model).recover_if_possible()


def test_checkpoints_without_checksums_are_read(parts):
    checkpointer, model, _ = parts
    path = checkpointer.save_checkpoint({"error": 2.0}, name="1").path
    (path / "checksums.json").unlink()
    assert again(checkpointer, model).recover_if_possible().path == path
    os.truncate(path / "model.ckpt", 300)
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        again(checkpointer, model).recover_if_possible()


def test_a_checkpoint_of_another_network_is_named(parts):
    checkpointer, _, _ = parts
    checkpointer.save_checkpoint({"error": 2.0}, name="1")
    other = again(checkpointer, torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match="1: does not fit"):
        other.recover_if_possible()
