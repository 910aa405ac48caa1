"""YAML from strangers builds known objects and runs nothing else."""

import pytest
import torch

from spatial_brain.inference.safe_yaml import check_tags, load_safe_yaml

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
    "through an allowed module": (
        "x: !new:torch.nn.modules.module.functools.partial [1]"
    ),
    "function of another package": (
        "x: !name:torch.nn.modules.module.torch.load {{f: {path}}}"
    ),
    "nested": (
        "x: !new:torch.nn.Sequential\n  - !new:torch.nn.ReLU\n"
        "  - !new:subprocess.Popen [[touch, {path}]]"
    ),
    "mapping key": "? !new:subprocess.Popen [[touch, {path}]]\n: 1",
    "attribute": "m: !new:torch.nn.Linear [1, 1]\nx: !ref <m.forward>",
    "similar name": "x: !new:torch.nn_evil.Thing",
    "similar package": "x: !new:spatial_brain_models.Thing",
    "writer of this package": (
        "x: !new:spatial_brain.dataio.checkpoints.AtomicCheckpointer [{path}]"
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_leave_no_trace(kind, tmp_path):
    trace = tmp_path / "trace"
    with pytest.raises(ValueError, match="bad.yaml"):
        load_safe_yaml(HOSTILE[kind].format(path=trace), "bad.yaml")
    assert not trace.exists()


def test_nothing_is_built_before_the_last_tag_is_checked(monkeypatch):
    built = []
    monkeypatch.setattr(
        torch.nn.Linear, "__init__", lambda *args, **kwargs: built.append(1)
    )
    with pytest.raises(ValueError, match=r"bad.yaml, line 2.*os\.system"):
        load_safe_yaml(
            "a: !new:torch.nn.Linear [1, 1]\nb: !name:os.system", "bad.yaml"
        )
    assert not built


def test_overrides_obey_the_same_rules():
    with pytest.raises(ValueError, match="not allowed|not in a package"):
        load_safe_yaml("x: 1", "a.yaml", "x: !new:subprocess.Popen [ls]")
    with pytest.raises(ValueError, match="Override 'y' not found"):
        load_safe_yaml("x: 1", "a.yaml", {"y": 2})
    assert load_safe_yaml("x: 1", "a.yaml", {"x": 2}) == {"x": 2}


def test_values_references_and_shared_objects():
    found = load_safe_yaml(
        "rate: 1e-3\n"
        "flag: yes\n"
        "size: (1, 2)\n"
        "net: &net !new:torch.nn.Linear {in_features: 2, out_features: 3}\n"
        "modules: {a: *net, b: !ref <net>}\n"
        "double: !ref <rate> * 2\n"
        "act: !name:torch.nn.functional.gelu\n"
        "soft: !name:torch.nn.functional.softmax {dim: -1}\n",
        "good.yaml",
    )
    assert found["rate"] == 0.001
    assert found["flag"] == "yes"  # YAML 1.2, as HyperPyYAML has it
    assert found["size"] == (1, 2)
    assert found["double"] == 0.002
    assert found["modules"]["a"] is found["modules"]["b"] is found["net"]
    assert found["act"] is torch.nn.functional.gelu
    assert found["soft"](torch.zeros(2)).tolist() == [0.5, 0.5]


def test_a_package_is_trusted_only_when_named():
    text = "x: !new:collections.Counter"
    with pytest.raises(ValueError, match="allowed"):
        load_safe_yaml(text, "a.yaml")
    # Even then, what the package only imports stays outside.
    for allowed in (["collections."], ["collections"], "collections."):
        assert load_safe_yaml(text, "a.yaml", allowed=allowed)
    with pytest.raises(ValueError, match="--allow my_package"):
        load_safe_yaml(text, "a.yaml", allowed=["coll"])
    with pytest.raises(ValueError, match="is really"):
        load_safe_yaml(
            "x: !name:collections._sys.exit", "a.yaml", allowed=["collections."]
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: [1", "no valid YAML"),
        ("- 1", "key: value"),
        ("x: 1\nx: 2", "duplicate"),
        ("x: !new:torch.nn.Linear [1]", "wrong arguments for torch.nn.Linear"),
        ("x: !new:torch.nn.Lynear [1]", "line 1.*no class or function"),
        ("x: !new:torch.nn.functional.softmax", "not a class"),
        ("x: !ref <y>", "not valid"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(ValueError, match=message):
        load_safe_yaml(text, "a.yaml")


def test_anchors_that_contain_themselves_end():
    check_tags("a: &x {b: *x}", "a.yaml")
