"""SAR-SSL against outputs of the public original."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base, recorded, signal, weight

from spatial_brain.models.mc_conformer import (
    CrossChannelReconstruction,
    MultiPairEstimator,
    SpatialAcousticsEstimator,
)
from spatial_brain.nnet.relative_conformer import sinusoid_table
from spatial_brain.processing.pair_spectra import PairSpectra

GOLDEN = json.loads(
    Path(__file__).with_name("sar_ssl.json").read_text(encoding="utf-8")
)
TOLERANCE = GOLDEN["tolerance"]
HEAD = GOLDEN["state_dict_downstream"]["additional_keys"]
KINDS = {
    "pretrain": CrossChannelReconstruction,
    "downstream": SpatialAcousticsEstimator,
}


def shapes_of(kind):
    """Names and shapes of the original's state dict."""
    shapes = GOLDEN["state_dict_pretrain"]["keys"]
    if kind == "pretrain":
        return shapes
    encoders = {k: v for k, v in shapes.items() if "decoder" not in k}
    return {**encoders, **HEAD}


def original_state(kind, value=weight):
    """All entries of the original under its names."""
    state = {}
    for name, shape in shapes_of(kind).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith(".pe"):
            state[name] = sinusoid_table(*shape[1:])[None]
        elif kind == "downstream" and name.startswith("spec_encoder"):
            # Must be there, but has no influence.
            state[name] = torch.full(shape, torch.nan)
        else:
            state[name] = value(name, tuple(shape))
    return state


def load(kind, state):
    """A network without memory of its own for its parameters."""
    with torch.device("meta"):
        network = KINDS[kind]()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def networks():
    """Both networks, filled by the golden rule."""
    return {kind: load(kind, original_state(kind)) for kind in KINDS}


@pytest.fixture(scope="module", params=["waveform", "tensor"])
def kind_of_input(request):
    return request.param


def features(frames, kind):
    """Input of the golden cases."""
    if kind == "waveform":
        name = "full" if frames == 256 else "short"
        record = GOLDEN["front_end"][name]
        return PairSpectra()(
            torch.stack(
                [signal(2, record["samples"], seed) for seed in record["seeds"]]
            )
        )
    shape = (2, 2, 256, frames, 2)
    n = math.prod(shape)
    x = 1.2 * base(f"input:sar{frames}", n) + 0.3 * np.sin(
        0.0011 * np.arange(n)
    )
    return torch.from_numpy(x.reshape(shape).astype(np.float32))


@pytest.mark.parametrize("name", ["full", "short"])
def test_front_end(name):
    record = GOLDEN["front_end"][name]
    frames = 256 if name == "full" else 64
    x = features(frames, "waveform")
    assert recorded(x, record) < TOLERANCE["front_end"]
    assert x.mean().item() == pytest.approx(record["mean"], abs=1e-6)
    assert x.std(correction=0).item() == pytest.approx(record["std"], abs=1e-5)
    check = GOLDEN["tensor_inputs"][str(frames)]
    check = {**check, "shape": list(x.shape)}
    assert recorded(features(frames, "tensor"), check) < 1e-6


def test_front_end_of_a_delayed_tone():
    """Check values of the specification."""
    n = torch.arange(65792, dtype=torch.float64)[:, None]
    delay = torch.tensor([0.0, 3.0], dtype=torch.float64)
    tone = (2 * math.pi * 440 * (n - delay) / 16000).sin().float()[None]
    x, scale = PairSpectra().with_scale(tone)
    assert scale.item() == pytest.approx(1.014240, abs=2e-5)
    for place, value in (
        ((0, 0, 13, 0), (31.25591, -121.73461)),
        ((0, 1, 13, 10), (98.08627, 78.58248)),
    ):
        assert x[place].tolist() == pytest.approx(value, rel=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_and_names(kind, networks):
    record, network = GOLDEN[f"state_dict_{kind}"], networks[kind]
    parameters = list(network.parameters())
    assert sum(p.numel() for p in parameters) == record["parameters_total"]
    assert len(parameters) == record["n_parameter_tensors"] == 174
    for encoder, size in (
        (network.spec_encoder, 6_922_120),
        (network.spat_encoder, 5_102_984),
    ):
        assert sum(p.numel() for p in encoder.parameters()) == size
    assert len(shapes_of(kind)) == record["n_entries"] == 214


def test_stored_tables_of_positions_are_the_computed_ones():
    for record in GOLDEN["pe_initial"].values():
        table = sinusoid_table(*record["shape"][1:])[None]
        # Far positions: the original rounds its angles likewise.
        assert recorded(table, record) < 1e-3


@pytest.fixture(scope="module")
def pretext(networks, kind_of_input):
    """Outputs of the pretext network and of its convolutional parts."""
    network, patches = networks["pretrain"], {}
    hooks = [
        getattr(network, f"{name}_encoder").patch_embed.register_forward_hook(
            lambda module, inputs, output, name=name: patches.update(
                {f"{name}_cnn": output}
            )
        )
        for name in ("spec", "spat")
    ]
    frames = torch.zeros(2, 256, dtype=torch.bool)
    index = torch.tensor(GOLDEN["pretrain"]["masked_frames"])
    frames.scatter_(1, index, True)
    channel = torch.tensor(GOLDEN["pretrain"]["masked_channel"])
    with torch.no_grad():
        outputs = network(features(256, kind_of_input), frames, channel)
    for hook in hooks:
        hook.remove()
    return {**outputs, **patches}


def test_pretext_network(pretext, kind_of_input):
    record = GOLDEN["pretrain"][kind_of_input]
    for name, part in record["embeddings"].items():
        assert recorded(pretext[name], part) < TOLERANCE["embeddings"], name
    # The record has [batch, bin, frame, re/im, mic].
    prediction = pretext["prediction"].permute(0, 2, 3, 4, 1)
    assert recorded(prediction, record["pred"]) < TOLERANCE["pred"]
    for name, wanted in (("loss", "loss"), ("reference", "diff")):
        assert pretext[name].item() == pytest.approx(
            record[wanted], abs=TOLERANCE["loss"]
        )
    assert pretext["loss_per_example"].tolist() == pytest.approx(
        record["loss_per_example"], abs=TOLERANCE["loss"]
    )
    total = (pretext["prediction"] - pretext["target"]).square().mean()
    assert total.item() == pytest.approx(
        record["mse_all"], abs=TOLERANCE["loss"]
    )


@pytest.mark.parametrize("frames", [64, 256])
def test_downstream_network(frames, networks, kind_of_input):
    network = networks["downstream"]
    record = GOLDEN["downstream"][f"frames{frames}_{kind_of_input}"]
    x = features(frames, kind_of_input)
    with torch.no_grad():
        assert (
            recorded(network.embed(x), record["pooled"]) < (TOLERANCE["pooled"])
        )
        output = network(x)
    assert output.shape == (2, 1)
    assert output[:, 0].tolist() == pytest.approx(
        record["output"], abs=TOLERANCE["downstream_output"]
    )


def test_multi_pair_size():
    with torch.device("meta"):
        network = MultiPairEstimator(3, task_outputs=3)
    assert sum(p.numel() for p in network.parameters()) == 12_619_539
    assert sum(p.numel() for p in network.head_mch.parameters()) == 594_435


# The acceptance test of the specification, with a filling rule of its own.


def sine_state(kind):
    """Entries filled by their place in the sorted list of names."""
    shapes = shapes_of(kind)
    names = sorted(
        name
        for name in shapes
        if not name.endswith((".pe", "num_batches_tracked"))
    )
    assert len(names) == 198
    order = {name: j for j, name in enumerate(names)}

    def value(name, shape):
        n = math.prod(shape)
        s = np.arange(n, dtype=np.float64) * 12.9898 + 78.233 * order[name]
        s = 43758.5453 * np.sin(s)
        s = 2 * (s - np.floor(s)) - 1
        if len(shape) >= 2:
            s *= math.sqrt(3 * shape[0] / n)
        elif name.endswith(("weight", "running_var")):
            s = 1 + 0.1 * s
        else:
            s *= 0.1
        return torch.from_numpy(s.reshape(shape).astype(np.float32))

    return original_state(kind, value)


def sine_features(frames):
    n = np.arange(2 * 256 * frames * 2, dtype=np.float64)
    x = np.sin(0.013 * n) + 0.5 * np.cos(0.0007 * n)
    return torch.from_numpy(x.reshape(1, 2, 256, frames, 2).astype(np.float32))


def close(found, wanted):
    """Tolerance of the specification."""
    found = torch.as_tensor(found).detach().flatten().tolist()
    assert found == pytest.approx(wanted, rel=1e-3, abs=2e-5)


def test_acceptance_numbers_of_the_pretext_network():
    network = load("pretrain", sine_state("pretrain"))
    frames = torch.arange(256)[None] % 2 == 0
    with torch.no_grad():
        outputs = network(sine_features(256), frames, torch.tensor([1]))
        spatial = (~frames)[:, None, None, :, None] * sine_features(256)
        planes = network.planes(spatial).flatten(1, 2)
        patch = network.spat_encoder.patch_embed(planes)
    close(outputs["loss"], [1.17406])
    close(outputs["reference"], [1.08275])
    prediction = outputs["prediction"]
    close(prediction.mean(), [-0.01053])
    close(prediction.std(), [0.73311])
    for (f, frame), wanted in (
        ((0, 0), [-0.127883, -1.077818, 0.797221, -0.628981]),
        ((100, 37), [-0.023380, 0.166528, -0.170480, 1.048227]),
        ((255, 255), [-0.560106, 0.026111, -0.131398, 0.947161]),
    ):
        close(prediction[0, :, f, frame].T, wanted)
    close(outputs["spec"][0, 0, :4], [-2.36828, -1.13841, -0.13700, 0.69058])
    close(outputs["spat"][0, 17, :4], [-2.85535, 0.79991, 0.23827, -1.46763])
    close(patch[0, 17, :4], [-0.12472, -0.85005, -0.59652, 0.27263])


def test_acceptance_numbers_of_the_downstream_network():
    network = load("downstream", sine_state("downstream"))
    with torch.no_grad():
        for frames, output, pooled in (
            (256, -0.887867, [-2.52846, 0.84431, 0.49675, -1.05467]),
            (64, -0.784859, [-3.01652, 0.62717, 0.91003, -0.93788]),
        ):
            x = sine_features(frames)
            close(network(x), [output])
            close(network.embed(x)[0, :4], pooled)
