"""A network of the user's own package, through each command that loads one."""

import json
import sys

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.pretrained import save_pretrained, write_card

RATE = 1000
NETWORKS = '''
import torch


class Network(torch.nn.Module):
    """Zeros of a shape, for each item of a batch."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.scale = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        return self.scale * torch.zeros(len(inputs), *self.shape)


class Features(torch.nn.Identity):
    pass


class EventNetwork(Network):
    def forward(self, features):
        return {"accdoa": super().forward(features)}
'''
YAML = """
sample_rate: 1000
modules:
    model: !new:my_package.networks.{network}
        shape: {shape}
"""
# Of each command: network, its output for a signal, other hyper-parameters.
COMMANDS = {
    "locate": (
        "Network",
        (2, 180),
        """
microphone_positions: [[-0.05, 0, 0], [0.05, 0, 0]]
window_length: 1.0
hop_length: 1.0
target: cone
decoder: !name:spatial_brain.models.dual_mic.decode_classes
    method: peak
""",
    ),
    "detect": (
        "EventNetwork",
        (10, 3),
        """
chunk_length: 1.0
detection_hop: 1.0
method: accdoa
num_classes: 1
class_names: [noise]
threshold: 0.5
features: !new:my_package.networks.Features
array_format: foa
""",
    ),
    "separate": ("Network", (1000, 2, 2), "num_sources: 2\n"),
    "acoustics": (
        "Network",
        (1,),
        """
duration: 1.0
hop_length: 1.0
task: T60
features: !new:my_package.networks.Features
""",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder with his package, which is not on the path."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


@pytest.fixture(params=COMMANDS)
def arguments(request, folder):
    """A command with a recording and a model of the user's own network."""
    network, shape, values = COMMANDS[request.param]
    text = YAML.format(network=network, shape=shape) + values
    keys = [line.split(":")[0] for line in values.split("\n") if line.strip()]
    keys = ["sample_rate", *(key for key in keys if key[0] != " ")]
    weights = torch.nn.ParameterDict({"scale": torch.zeros(1)})
    # Training has imported the package; here it is enough to name it.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        save_pretrained(folder / "run", text, keys, {"model": weights})
    sys.modules.pop("my_package", None)
    sys.modules.pop("my_package.networks", None)
    number = 4 if request.param == "detect" else 2
    noise = torch.randn(RATE, number) * 0.1
    write_audio(folder / "scene.wav", noise, RATE, subtype="FLOAT")
    return [request.param, "scene.wav", "--model", "run"]


def test_a_package_of_the_user_runs_when_allowed(arguments, capsys, caplog):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    assert "hyperparams.yaml, line 2: 'my_package.networks." in error
    assert "--allow my_package." in error
    assert "my_package" not in sys.modules and not caplog.records
    assert main([*arguments, "--allow", "my_package.", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("{") and "no card" in captured.err
    [record] = caplog.records
    message = "hyperparams.yaml: runs code of my_package.networks."
    assert message in record.getMessage()


def test_every_command_prints_the_card(arguments, folder, capsys):
    command = [*arguments, "--allow", "my_package.", "--json", "--force"]
    assert main(command) == 0
    content = json.loads(capsys.readouterr().out)
    found = content.get("estimates", [content])[0]
    assert found["card"] is None
    card = write_card(folder / "run", {"task": "T60", "t60": [0.2, 1.3]})
    assert main(command) == 0
    captured = capsys.readouterr()
    line = f"spatial-brain {arguments[0]}: model: {card.summary()}\n"
    assert captured.err.count(line) == 1
    content = json.loads(captured.out)
    found = content.get("estimates", [content])[0]
    assert found["card"] == card.to_dict()
    # A broken one costs the card alone.
    (folder / "run" / "card.json").write_text("{}")
    assert main(command) == 0
    error = capsys.readouterr().err
    assert "warning: run/card.json: card_version is None" in error
    assert "no card" in error


def test_several_packages_are_allowed_each_by_its_name(folder, caplog, capsys):
    other = folder / "my_package_of_old"
    other.mkdir()
    (other / "__init__.py").write_text(NETWORKS)
    text = "modules: {model: !new:my_package_of_old.Network {shape: [1]}}\n"
    (folder / "hyperparams.yaml").write_text(text)
    arguments = ["acoustics", "a.wav", "--model", "."]
    assert main([*arguments, "--allow", "my_package"]) == 2
    assert "is not on the list of what" in capsys.readouterr().err
    allowed = ["--allow", "my_package", "--allow", "my_package_of_old."]
    assert main([*arguments, *allowed]) == 2
    assert "not in the hyper-parameters: sample_rate" in capsys.readouterr().err
    messages = [record.getMessage() for record in caplog.records]
    assert messages[-1].endswith("my_package_of_old.Network, as allowed")


def test_a_package_that_is_not_there_is_named(folder, capsys):
    text = "modules: {model: !new:my_other.Network {shape: [1]}}\n"
    (folder / "hyperparams.yaml").write_text(text)
    arguments = ["acoustics", "a.wav", "--model", "."]
    assert main([*arguments, "--allow", "my_other."]) == 2
    assert (
        "'my_other.Network': No module named 'my_other'"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        main([*arguments, "--allow", "../my_package"])
    assert "no package such as my_package." in capsys.readouterr().err


def test_the_folder_is_on_the_path_only_when_allowed(folder, capsys):
    for options, there in (([], False), (["--allow", "my_package."], True)):
        assert main(["locate", "a.wav", "--model", "./no", *options]) == 2
        assert (sys.path[0] == str(folder)) == there
