"""Options that sub-commands share are the same everywhere."""

import warnings

import pytest

from spatial_brain.cli.main import _make_parser
from spatial_brain.cli.options import load_model, one_line_warnings
from spatial_brain.inference.recordings import RecordingWarning

LOADING = ("locate", "detect", "separate", "acoustics")


def parse(command, *options):
    arguments = [command, "a.wav", "--model", "m", *options]
    return _make_parser()[0].parse_args(arguments)


@pytest.mark.parametrize("command", LOADING)
def test_commands_that_load_a_model_take_the_same_options(command):
    options = {
        "savedir": "kept",
        "device": "cpu",
        "channels": "1,0",
        "hop": "0.5",
    }
    given = [part for k, v in options.items() for part in (f"--{k}", v)]
    args = parse(command, *given, "--resample", "--json")
    assert (args.savedir, args.device, args.hop) == ("kept", "cpu", 0.5)
    assert args.channels == [1, 0] and args.resample and args.json


class Interface:
    card = None

    @classmethod
    def from_hparams(cls, source, **options):
        model = cls()
        model.given = source, options
        return model


def test_a_model_is_loaded_with_the_options():
    args = parse("locate", "--savedir", "kept")
    assert load_model(Interface, args).given == (
        "m",
        {"savedir": "kept", "run_opts": None, "allowed": []},
    )
    args = parse("acoustics", "--savedir", "kept", "--device", "cpu")
    source, options = load_model(Interface, args, "./results/T60").given
    assert source == "./results/T60"
    assert str(options["savedir"]) == "kept/results_T60"
    assert options["run_opts"] == {"device": "cpu"}
    with pytest.raises(ValueError, match="no device 'gpu' here; use cpu"):
        load_model(Interface, parse("detect", "--device", "gpu"))


def test_warnings_are_one_line_and_not_repeated(capsys, recwarn):
    for _ in range(2):
        with one_line_warnings("spatial-brain locate"):
            for text in ("a.wav: one", "a.wav: one", "a.wav: two"):
                warnings.warn(text, RecordingWarning, stacklevel=1)
            warnings.warn("of another kind", UserWarning, stacklevel=1)
        assert capsys.readouterr().err.splitlines() == [
            "spatial-brain locate: warning: a.wav: one",
            "spatial-brain locate: warning: a.wav: two",
        ]
    assert {str(one.message) for one in recwarn} == {"of another kind"}
