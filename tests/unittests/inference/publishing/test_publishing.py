"""Models are published whole, found again by everybody, or nothing happens.

The hub is one of this machine; its address is read when the library is
imported, hence the processes.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from small_models import write_run

from spatial_brain.cli.main import main
from spatial_brain.inference.pretrained import read_card


@pytest.fixture
def run(tmp_path):
    """Output folder of a run."""
    return write_run(tmp_path / "run")


# Runs with a hub whose address the library reads when it is imported.
BEGINNING = """
    import os, sys
    from pathlib import Path

    sys.path[:0] = {paths!r}
    from hub import TOKEN, LocalHub

    hub = LocalHub()
    os.environ.update(HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    from speechbrain.utils.fetching import FetchConfig
    from small_models import CARD

    from spatial_brain.cli.main import main
    from spatial_brain.inference import SoundLocalizer
    from spatial_brain.inference.pretrained import write_card

    publish = ["publish", "run", "--repo", "me/pair", "--licence", "cc-by-4.0"]
"""
THERE_AND_BACK = """
    # It fails when the weights were sent, before the commit.
    hub.faults["POST /api/models/me/pair/commit"] = 400
    assert main(publish) == 2
    assert hub.files("me/pair") == {}
    assert len(hub.objects) == 1
    hub.faults.clear()
    hub.requests.clear()
    assert main(publish) == 0
    first = hub.commits[0][0]
    assert not [one for one in hub.requests if one.startswith("PUT")]
    assert set(hub.files("me/pair")) == {
        "README.md", "card.json", "hyperparams.yaml", "model.safetensors"
    }
    page = hub.files("me/pair")["README.md"].decode()
    assert page.startswith("---\\nlicense: cc-by-4.0\\n")
    assert "spatial-brain locate recording.wav --model me/pair" in page
    row = page.split("| mean absolute error")[1].split("\\n")[0]
    assert row.split() == "| 3.2 degrees | 3 to 3.5 | 45 | |".split()

    # A later commit, and one on a branch; each is found by its name.
    write_card("run", {**CARD, "t60": [0.1, 0.2]})
    assert main(publish) == 0
    assert main([*publish, "--revision", "dry"]) == 0

    def t60(**options):
        config = FetchConfig(**options)
        model = SoundLocalizer.from_hparams("me/pair", fetch_config=config)
        assert model.card.licence == "cc-by-4.0"
        return model.card.t60

    assert t60(revision=first) == [0.2, 0.8]
    assert t60(revision="main") == t60(revision="dry") == [0.1, 0.2]
    count = len(hub.requests)
    assert t60(revision="main", allow_network=False) == [0.1, 0.2]
    assert len(hub.requests) == count
    try:
        t60(revision="none")
    except FileNotFoundError as error:
        assert "RevisionNotFoundError" in str(error), error
    else:
        raise AssertionError("no error")
    print("first", first)
"""
BEGIN_A_TRAINING = """
    import torch
    from small_models import save_network, write_run
    from spatial_brain.inference.pretrained import (
        read_weights, set_initial_weights
    )
    from spatial_brain.models.array_localizer import ArrayLocalizer

    def beginning(source):
        net = ArrayLocalizer(2, 0.1, 36, hidden=4)
        set_initial_weights(net, source)
        return torch.cat([part.flatten() for part in net.parameters()])

    def refused(source):
        try:
            beginning(source)
        except FileNotFoundError as error:
            return str(error)
        raise AssertionError("no error")

    assert main(publish) == 0
    first = hub.commits[0][0]
    name = "run/pretrained"
    old = beginning(name)
    save_network(Path(name))
    new = beginning(name)
    assert not torch.equal(old, new)
    assert main(publish) == 0
    hub.private = True
    assert torch.equal(beginning("me/pair"), new)
    assert torch.equal(beginning("me/pair@" + first), old)
    assert torch.equal(beginning("me/pair@main"), new)
    assert "RevisionNotFoundError" in refused("me/pair@none")
    # A commit whose weights do not arrive is not a beginning, but the next
    # call goes on.
    assert main([*publish, "--revision", "late"]) == 0
    hub.faults["GET /me/pair/resolve/late/model"] = 500
    hub.faults["HEAD /me/pair/resolve/late/model"] = 500
    assert "as a hub id it failed" in refused("me/pair@late")
    hub.faults.clear()
    assert torch.equal(beginning("me/pair@late"), new)
    # A private model wants a token.
    assert main([*publish, "--revision", "other"]) == 0
    token = os.environ.pop("HF_TOKEN")
    assert "401" in refused("me/pair@other")
    os.environ["HF_TOKEN"] = token
    # Of a model that was here once a training begins without the hub.
    hub.faults["HEAD"] = hub.faults["GET"] = 503
    assert torch.equal(beginning("me/pair"), new)
"""
NOT_ALLOWED = """
    assert main([*publish, "--token", "hf_wrong"]) == 2
    del os.environ["HF_TOKEN"]
    hub.requests.clear()
    assert main(publish) == 2
    assert not [one for one in hub.requests if one.startswith("POST")]
    assert hub.repos == {}
"""


def play(folder, script):
    """Run a script with a hub; what it printed."""
    helpers = Path(__file__).parents[3] / "helpers"
    paths = [str(helpers)]
    environment = {
        **os.environ,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    text = textwrap.dedent(BEGINNING.format(paths=paths) + script)
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


def test_a_model_goes_there_and_back_and_begins_a_training(run, tmp_path):
    # In one process: it takes longer to start than to run.
    printed, errors = play(tmp_path, THERE_AND_BACK + BEGIN_A_TRAINING)
    first = printed.split("first ")[1].split()[0]
    assert f"me/pair, revision {first}\n" in printed
    assert "the same command goes on where it ended" in errors


def test_who_may_not_write_is_told(run, tmp_path):
    _, errors = play(tmp_path, NOT_ALLOWED)
    assert "did not take me/pair" in errors
    assert "hf auth login" in errors


def test_what_would_be_uploaded_can_be_looked_at(run, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["publish", str(run), "--repo", "me/pair", "--output"]
    assert main([*arguments, str(out), "--licence", "mit"]) == 0
    card = read_card(out / "card.json")
    assert card.licence == "mit"
    assert set(card.hashes) == {"hyperparams.yaml", "model.safetensors"}
    assert main([*arguments, str(out), "--licence", "mit"]) == 2
    assert "there is something already" in capsys.readouterr().err


def no_card(run):
    (run / "card.json").unlink()
    (run / "pretrained/card.json").unlink()


def other_weights(run):
    path = run / "pretrained/model.safetensors"
    path.rename(path.with_suffix(".ckpt"))


def exchanged(run):
    facts = json.loads((run / "card.json").read_text())
    facts["hashes"] = {"model.safetensors": 64 * "0"}
    (run / "pretrained/card.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (None, [], "--licence cc-by-4.0"),
        (no_card, ["--licence", "mit"], "--test_only"),
        (other_weights, ["--licence", "mit"], "model.ckpt|safetensors"),
        (exchanged, ["--licence", "mit"], "is not the file of its card"),
    ],
)
def test_what_cannot_be_published(spoil, options, message, run, capsys):
    if spoil:
        spoil(run)
    arguments = ["publish", str(run), "--repo", "me/pair", *options]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert any(part in printed for part in message.split("|")), printed


def test_a_wrong_name(run, capsys):
    assert main(["publish", str(run), "--repo", "pair"]) == 2
    assert "no name such as organisation/name" in capsys.readouterr().err
