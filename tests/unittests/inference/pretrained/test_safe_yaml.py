"""YAML from strangers builds the classes of a closed list and nothing else."""

import logging
import os
import subprocess
import sys
import textwrap

import pytest
import torch

# Each puts its classes on the list.
import spatial_brain.models.any_array
import spatial_brain.models.array_localizer
import spatial_brain.models.binaural_tasnet
import spatial_brain.models.dcase_baseline
import spatial_brain.models.dual_mic
import spatial_brain.models.mc_conformer
import spatial_brain.models.room_acoustics
import spatial_brain.models.seld
import spatial_brain.processing.pair_spectra
import spatial_brain.processing.seld_features  # noqa: F401
from spatial_brain.inference.pretrained.safe_yaml import (
    check_tags,
    load_safe_yaml,
)
from spatial_brain.loadable import LOADABLE

FEATURES = "!new:spatial_brain.processing.pair_spectra.PairSpectra"
DECODER = "!name:spatial_brain.models.dual_mic.decode_classes"
HOSTILE = {
    "apply": "x: !apply:pathlib.Path.touch [{path}]",
    "applyref": "x: !applyref:os.system [touch {path}]",
    "new": "x: !new:subprocess.Popen [[touch, {path}]]",
    "name": "x: !name:os.system [touch {path}]",
    "module": "x: !module:os",
    "include": "x: !include:{path}",
    "python tag": "x: !!python/object/apply:os.system ['touch {path}']",
    "tag directive": "%TAG !a! !apply:\n---\nx: !a!os.system [touch {path}]",
    "implicit tuple": ("x: (!!python/object/apply:os.system ['touch {path}'])"),
    "explicit tuple": (
        "x: !tuple (!!python/object/apply:os.system ['touch {path}'])"
    ),
    "expression in a tuple": (
        "x: (__import__('pathlib').Path('{path}').touch(), 1)"
    ),
    "through a module of torch": (
        "x: !new:torch.nn.modules.module.functools.partial [1]"
    ),
    "block that calls its activation": (
        "x: !new:speechbrain.nnet.CNN.SincConv\n"
        "  activation: !name:os.system [touch {path}]"
    ),
    "pipe of methods": (
        "x: !name:torch.nn.Sequential.forward [[!name:os.system], touch {path}]"
    ),
    "importer of torch": (
        "x: !new:torch.nn.modules.lazy._LazyProtocol\ny: "
        "!name:torch._utils_internal.import_module [antigravity]"
    ),
    "own module's import": (
        "x: !name:spatial_brain.models.seld.importlib.import_module [os]"
    ),
    "own module's torch": (
        "x: !name:spatial_brain.models.seld.torch.save [1, {path}]"
    ),
    "own writer of files": (
        "x: !new:spatial_brain.nnet.averaging.PlateauCounter\n  limit: 1"
    ),
    "own function": (
        "x: !name:spatial_brain.models.transfer.initialize_encoders"
    ),
    "own class off the list": (
        "x: !new:spatial_brain.nnet.swin.SwinBlock [8, [8, 8], 2]"
    ),
    "method of a listed class": (
        "x: !name:spatial_brain.models.seld.SELDNetwork.load_state_dict"
    ),
    "dunder of a listed class": (
        "x: !name:spatial_brain.models.seld.SELDNetwork.__init__"
    ),
    "nested": f"x: {FEATURES}\n  n_fft: !new:subprocess.Popen [[ls]]",
    "mapping key": "? !new:subprocess.Popen [[touch, {path}]]\n: 1",
    "attribute": f"m: {FEATURES}\nx: !ref <m.forward>",
    "similar package": "x: !new:torch.nn_evil.Thing",
    "similar package of ours": "x: !new:spatial_brain_models.Thing",
    "another package of ours": (
        "x: !new:spatial_brain.dataio.checkpoints.AtomicCheckpointer [{path}]"
    ),
    "expression in a reference": "n: 1\nx: !ref <n> * 0 + 'a' * 10000000000",
    "power in a reference": "n: 9\nx: !ref <n>**<n>**<n>",
    "text in a reference": "n: a\nx: !ref <n>/../..",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_leave_no_trace(kind, tmp_path):
    trace = tmp_path / "trace"
    with pytest.raises(ValueError, match="bad.yaml"):
        load_safe_yaml(HOSTILE[kind].replace("{path}", str(trace)), "bad.yaml")
    assert not trace.exists()


def bomb(tag):
    """Ten references to ten references to ... ten numbers."""
    lines = ["k0: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for number in range(1, 12):
        parts = ", ".join([f"{tag} <k{number - 1}>"] * 10)
        lines.append(f"k{number}: [{parts}]")
    return "\n".join(lines)


def anchors():
    lines = ["k0: &a0 [1, 1]"]
    lines += [f"k{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 28)]
    return "\n".join(lines)


ENDLESS = {
    "copies": bomb("!copy"),
    "references": bomb("!ref"),
    "anchors": anchors(),
    "circle of references": "a: !ref <b>\nb: !ref <a>",
    "reference to itself": "a: [!ref <a>]",
    "anchor in itself": "a: &x {b: *x}",
    "depth": "a: " + "[" * 3000 + "]" * 3000,
    "depth of blocks": "".join(f"{' ' * n}a:\n" for n in range(400)),
    "depth of a tuple": "a: (" + "(" * 3000 + ")" * 3000 + ")",
    "length": "a: " + "x" * 2_000_000,
    "digits": "a: " + "9" * 100_000,
    "values": "a: [" + "1, " * 50_000 + "1]",
    "number of parameters": (
        "a: !new:spatial_brain.models.seld.SELDNetwork\n  backbone: crnn\n"
        "  method: accdoa\n  num_classes: 90000000\n"
    ),
    "size of a transform": f"a: {FEATURES}\n  n_fft: 1000000000000",
    "size of a bank of filters": (
        "a: !new:spatial_brain.processing.seld_features.LogMelGCC\n"
        "  n_fft: 10000000\n  n_mels: 1000000"
    ),
    "number of layers": (
        "a: !new:spatial_brain.models.binaural_tasnet.BinauralTasNet\n"
        "  rule: parallel\n  num_blocks: 90000000"
    ),
    "overflow of a size": (
        "a: !new:spatial_brain.models.seld.SELDNetwork\n  backbone: crnn\n"
        "  method: accdoa\n  num_classes: 3\n  width: 99999999"
    ),
    "infinite number": f"a: {FEATURES}\n  n_fft: .inf",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_would_not_end_or_fit_is_refused(kind):
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        load_safe_yaml(ENDLESS[kind], "bad.yaml")


MISTAKES = {
    "no arguments": f"a: {FEATURES} 5",
    "wrong arguments": f"a: {FEATURES} {{fft: 512}}",
    "text for a number": f"a: {FEATURES} {{n_fft: wide}}",
    "null for a number": f"a: {FEATURES} {{n_fft: null}}",
    "negative": f"a: {FEATURES} {{n_fft: -4}}",
    "zero": f"a: {FEATURES} {{n_fft: 0, hop_length: 0}}",
    "list for a number": f"a: {FEATURES} {{n_fft: [1, 2]}}",
    "numeric argument": f"a: {FEATURES} {{1: 2}}",
    "numeric key": "1: 2",
    "null key": "~: 2",
    "root is a list": "- 1",
    "root is a class": f"{FEATURES} {{n_fft: 512}}",
    "root is a number": "5",
    "nothing": "",
    "two documents": "a: 1\n---\nb: 2",
    "duplicate": "x: 1\nx: 2",
    "duplicate below": "x: {y: 1, y: 2}",
    "number for a whole one": f"a: {FEATURES} {{hop_length: 1.5}}",
    "truth for a number": f"a: {FEATURES} {{hop_length: true}}",
    "text for a bound": f"x: {DECODER} {{method: 3}}",
    "unclosed": "x: [1",
    "control characters": "x: \x00",
    "tabs": "x:\n\ty: 1",
    "unknown anchor": "x: *y",
    "unknown key": "x: !ref <y>",
    "reference below a number": "y: 1\nx: !ref <y[z]>",
    "reference to nothing": "x: !ref",
    "list reference": "x: !ref [a]",
    "empty name": "x: !new:",
    "name with spaces": "x: !new:torch.nn .Linear",
    "date": "x: 2023-01-01",
    "binary": "x: !!binary aGVsbG8=",
    "set": "x: !!set {a, b}",
    "class missing": "x: !new:spatial_brain.models.seld.SELDNetwurk [1]",
    "module missing": "x: !new:spatial_brain.models.sold.SELDNetwork [1]",
    "function as a class": DECODER.replace("!name", "x: !new"),
    "decoder's arguments": f"x: {DECODER} {{way: 1}}",
    "unknown backbone": (
        "x: !new:spatial_brain.models.seld.SELDNetwork [os, accdoa, 3]"
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_value_errors_with_the_name_of_the_file(kind):
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        load_safe_yaml(MISTAKES[kind], "bad.yaml")


def test_nothing_is_built_before_the_last_tag_is_checked(monkeypatch):
    built = []
    cls = LOADABLE["spatial_brain.processing.pair_spectra.PairSpectra"]
    monkeypatch.setattr(cls, "__init__", lambda *a, **k: built.append(1))
    with pytest.raises(ValueError, match=r"bad.yaml, line 2.*os\.system"):
        load_safe_yaml(f"a: {FEATURES}\nb: !name:os.system", "bad.yaml")
    assert not built


def test_overrides_obey_the_same_rules():
    with pytest.raises(ValueError, match="not on the list"):
        load_safe_yaml("x: 1", "a.yaml", "x: !new:subprocess.Popen [ls]")
    with pytest.raises(ValueError, match="no key 'size_'; did you mean size"):
        load_safe_yaml("size: 1", "a.yaml", {"size_": 2})
    assert load_safe_yaml("x: 1", "a.yaml", {"x": 2}) == {"x": 2}
    assert load_safe_yaml("x: 1", "a.yaml", {"y": 2}, must_match=False) == {
        "x": 1,
        "y": 2,
    }
    text = "size: 3\nx: {a: !ref <size>, b: 2}"
    assert load_safe_yaml(text, "a.yaml", {"size": 5, "x": {"b": 4}})["x"] == {
        "a": 5,
        "b": 4,
    }


def test_values_references_and_shared_objects():
    found = load_safe_yaml(
        "rate: 1e-3\n"
        "flag: yes\n"
        "size: (1, 2)\n"
        f"net: &net {FEATURES}\n"
        "  n_fft: !ref <more[fft]>\n  hop_length: 256\n"
        "modules: {a: *net, b: !ref <net>, c: !copy <net>}\n"
        "same: !ref <rate>\n"
        "more: {fft: 512}\n"
        f"decoder: {DECODER} {{method: median}}\n"
        f"plain: {DECODER}\n",
        "good.yaml",
    )
    assert found["rate"] == found["same"] == 0.001
    assert found["flag"] == "yes"  # YAML 1.2, as HyperPyYAML has it
    assert found["size"] == (1, 2)
    assert found["modules"]["a"] is found["modules"]["b"] is found["net"]
    assert found["modules"]["c"] is not found["net"]
    assert found["decoder"](torch.zeros(1, 2, 5)).shape == (1, 2)
    assert callable(found["plain"])


def test_a_list_that_two_keys_share_is_whole_where_it_is_an_argument():
    network = "spatial_brain.models.room_acoustics.RoomAcousticsNetwork"
    text = (
        "modules:\n"
        f"  model: !new:{network}\n"
        "    quantities: &names [T60, DRR]\n"
        "quantities: *names\n"
    )
    found = load_safe_yaml(text, "mine.yaml")
    assert found["modules"]["model"].quantities == ("T60", "DRR")
    assert list(found["quantities"]) == ["T60", "DRR"]


def test_a_package_is_trusted_only_when_named(caplog):
    text = "x: !new:collections.Counter"
    with pytest.raises(ValueError, match="not on the list"):
        load_safe_yaml(text, "a.yaml")
    with caplog.at_level(logging.WARNING):
        assert load_safe_yaml(text, "a.yaml", allowed=["collections"]) == {
            "x": {}
        }
    assert "runs code" in caplog.text and "collections.Counter" in caplog.text
    # Even then, what the package only imports stays outside.
    with pytest.raises(ValueError, match="is really"):
        load_safe_yaml(
            "x: !name:collections._itemgetter [0]",
            "a.yaml",
            allowed="collections.",
        )
    with pytest.raises(ValueError, match="no name of a package"):
        load_safe_yaml(text, "a.yaml", allowed=[""])


@pytest.mark.parametrize(
    "path",
    [
        "subprocess.Popen",
        "os.system",
        "builtins.exec",
        "torch.nn.Linear",
        "numpy.load",
        "speechbrain.nnet.CNN.SincConv",
    ],
)
def test_packages_that_do_anything_are_not_offered(path):
    with pytest.raises(ValueError) as error:
        load_safe_yaml(f"x: !new:{path}", "a.yaml")
    assert "--allow" not in str(error.value)
    assert "somebody you trust" in str(error.value)
    with pytest.raises(ValueError, match="--allow my_package.*runs code of"):
        load_safe_yaml("x: !new:my_package.Net", "a.yaml")


def test_a_subset_is_checked_without_looking_names_up():
    check_tags("a: !new:my_package.Net {x: !ref <b>}\nb: 1", "a.yaml")
    with pytest.raises(ValueError, match=r"line 1.*!apply:os\.getcwd"):
        check_tags("a: !apply:os.getcwd []", "a.yaml")


# Every name on the list, built with what a stranger may choose.
AUDIT = """
    import re
    import sys
    from pathlib import Path

    import torch

    from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
    import spatial_brain.inference, spatial_brain.models.passt
    import spatial_brain.models.htsat, spatial_brain.models.cnn14_conformer
    import spatial_brain.models.seld_crnn, spatial_brain.models.mc_conformer
    import spatial_brain.models.array_localizer, spatial_brain.models.dual_mic
    import spatial_brain.models.binaural_tasnet
    import spatial_brain.models.dcase_baseline
    import spatial_brain.models.any_array, spatial_brain.models.room_acoustics
    import spatial_brain.processing.pair_spectra
    import spatial_brain.processing.seld_features
    from spatial_brain.loadable import LOADABLE

    seld = "spatial_brain.models.seld.SELDNetwork"
    TEXTS = {
        name: [f"x: !{'new' if isinstance(thing, type) else 'name'}:{name}"]
        for name, thing in LOADABLE.items()
    }
    TEXTS[seld] = [
        f"x: !new:{seld} [{backbone}, accdoa, 3]"
        for backbone in ("htsat", "passt", "cnn14_conformer", "crnn")
    ]
    for name, arguments in {
        "array_localizer.ArrayLocalizer": "[2, 0.1]",
        "mc_conformer.MultiPairEstimator": "{num_pairs: 2}",
    }.items():
        [text] = TEXTS[f"spatial_brain.models.{name}"]
        TEXTS[f"spatial_brain.models.{name}"] = [f"{text} {arguments}"]
    ODD = "[/etc/passwd, http://localhost/x, os.system, 7, [os], {a: b}]"
    watching, seen = False, []

    def hook(event, arguments):
        if watching and event.split(".")[0] in (
            "open", "os", "subprocess", "socket", "shutil", "ctypes", "urllib",
            "exec", "pty", "tempfile", "glob",
        ):
            seen.append((event, str(arguments)[:100]))

    sys.addaudithook(hook)
    built = set()
    for warm in (True, False):  # first round: lazy imports of libraries
        watching = not warm
        for name, texts in TEXTS.items():
            for text in texts:
                odd = [re.split(r" [\\[{]", text)[0] + f" {ODD}"]
                for one in (text, *odd):
                    try:
                        load_safe_yaml(one, "a.yaml")
                        built.add(name)
                    except ValueError:
                        pass
    watching = False
    print("built", sorted(built), "seen", seen)
    assert not seen and sorted(built) == sys.argv[1:]
"""


def test_no_name_on_the_list_touches_files_processes_or_sockets(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AUDIT), *sorted(LOADABLE)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_list_is_closed():
    assert sorted(name.rsplit(".", 1)[1] for name in LOADABLE) == sorted(
        [
            "AnyArrayNetwork",
            "ArrayLocalizer",
            "BaselineFeatures",
            "BinauralTasNet",
            "CrossChannelReconstruction",
            "DCASEBaseline",
            "DualMicLocalizer",
            "LogMelGCC",
            "LogMelIntensity",
            "MultiPairEstimator",
            "PairSpectra",
            "RoomAcousticsNetwork",
            "SELDNetwork",
            "Salsa",
            "SalsaLite",
            "SpatialAcousticsEstimator",
            "decode_classes",
        ]
    )
