"""Chunks of network outputs joined to one output a recording."""

from math import ceil

import pytest
import torch

from spatial_brain.dataio.events import EventTable
from spatial_brain.dataio.labels import decode_outputs, encode_labels
from spatial_brain.processing.decoding import ChunkStitcher

METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
# What a duplicating loss accepts for one, two and three events.
ARRANGEMENTS = {
    1: [(0, 0, 0)],
    2: [(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)],
    3: [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)],
}


def random_outputs(method, chunks, length, classes=2):
    if method in ("einv2", "seddoa"):
        return {
            "sed": 3 * torch.randn(chunks, length, 3, classes),
            "doa": torch.tanh(torch.randn(chunks, length, 3, 3)),
        }
    width = {"accdoa": 3, "multi_accdoa": 9}[method] * classes
    return {method: torch.tanh(torch.randn(chunks, length, width))}


def stitch_outputs(outputs, method, hop, num_frames, align=True):
    """Outputs of a recording from those of its chunks [chunk, L, ...]."""
    stitcher = ChunkStitcher(method, hop, align)
    parts = [
        stitcher.push({key: value[n] for key, value in outputs.items()})
        for n in range(len(next(iter(outputs.values()))))
    ]
    parts.append(stitcher.flush(num_frames))
    return {key: torch.cat([part[key] for part in parts]) for key in outputs}


def number_of_chunks(num_frames, length, hop):
    return 1 + max(0, ceil((num_frames - length) / hop))


@pytest.mark.parametrize("num_frames", [100, 101, 130, 180, 237])
def test_without_alignment_is_the_moving_average_of_pseldnets(num_frames):
    chunks = ceil((num_frames - 100) / 5) + 1
    output = random_outputs("multi_accdoa", chunks, 100)["multi_accdoa"]
    blocks = []
    for i in range(ceil(num_frames / 5)):
        parts = [
            output[j, (i - j) * 5 : (i - j + 1) * 5]
            for j in range(max(0, i - 19), min(i, chunks - 1) + 1)
        ]
        blocks.append(torch.stack(parts).mean(dim=0))
    expected = torch.cat(blocks)[:num_frames]
    ours = stitch_outputs(
        {"multi_accdoa": output}, "multi_accdoa", 5, num_frames, align=False
    )
    torch.testing.assert_close(ours["multi_accdoa"], expected)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("length", "hop", "num_frames"),
    [(20, 20, 65), (20, 5, 62), (20, 7, 50), (20, 5, 12), (20, 20, 20)],
)
def test_constant_output_is_returned(method, align, length, hop, num_frames):
    number = number_of_chunks(num_frames, length, hop)
    one = random_outputs(method, 1, 1, classes=4)
    if "sed" in one:
        one["sed"][0, 0, 0] = torch.tensor([40.0, -40.0, 90.0, 0.0])
    outputs = {
        key: value.expand(number, length, *value.shape[2:])
        for key, value in one.items()
    }
    ours = stitch_outputs(outputs, method, hop, num_frames, align=align)
    assert set(ours) == set(outputs)
    for key, value in one.items():
        expected = value[0].expand(num_frames, *value.shape[2:])
        torch.testing.assert_close(ours[key], expected)


@pytest.mark.parametrize("method", METHODS)
def test_hop_of_a_chunk_concatenates(method):
    outputs = random_outputs(method, 3, 10)
    ours = stitch_outputs(outputs, method, 10, 24)
    for key, value in outputs.items():
        torch.testing.assert_close(ours[key], value.flatten(0, 1)[:24])


@pytest.mark.parametrize("method", METHODS)
def test_clip_shorter_than_a_chunk(method):
    outputs = random_outputs(method, 1, 100)
    ours = stitch_outputs(outputs, method, 5, 60)
    for key, value in outputs.items():
        torch.testing.assert_close(ours[key], value[0, :60])


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_stitcher_forgets_what_it_gave(method, align):
    outputs = random_outputs(method, 9, 12)
    whole = stitch_outputs(outputs, method, 5, 50, align=align)
    stitcher = ChunkStitcher(method, 5, align)
    # A second recording must not know of the first.
    for _ in range(2):
        parts = [
            stitcher.push({key: value[n] for key, value in outputs.items()})
            for n in range(9)
        ]
        lengths = [len(next(iter(part.values()))) for part in parts]
        assert lengths == [0] + [5] * 8
        parts.append(stitcher.flush(50))
        for key in outputs:
            joined = torch.cat([part[key] for part in parts])
            assert torch.equal(joined, whole[key])


def test_given_frames_do_not_depend_on_later_chunks():
    outputs = random_outputs("multi_accdoa", 6, 12)
    whole = stitch_outputs(outputs, "multi_accdoa", 4, 32)["multi_accdoa"]
    outputs["multi_accdoa"][4:] = 0.5
    other = stitch_outputs(outputs, "multi_accdoa", 4, 32)["multi_accdoa"]
    assert torch.equal(whole[:16], other[:16])
    assert not torch.equal(whole[16:], other[16:])


def test_opposite_events_in_opposite_tracks_do_not_cancel():
    x = torch.tensor([0.9, 0.0, 0.0])
    first = torch.stack((x, -x, 0 * x))[..., None].expand(10, 3, 3, 1)
    chunks = torch.stack([first, first.flip(1)] * 4).flatten(2)
    outputs = {"multi_accdoa": chunks}
    ours = stitch_outputs(outputs, "multi_accdoa", 5, 45)
    table = decode_outputs(ours, "multi_accdoa")
    assert (table.overlap() == 2).all()
    plain = stitch_outputs(outputs, "multi_accdoa", 5, 45, align=False)
    assert (decode_outputs(plain, "multi_accdoa").overlap() < 2).any()


def events(num_frames, num_classes, number):
    """Events 70 degrees apart and drifting, ``number`` of each class."""
    rows = []
    for frame in range(num_frames):
        for label in range(num_classes):
            for n in range(number):
                azimuth = -170 + 40 * label + 70 * n + 0.5 * frame
                rows.append((frame, label, azimuth, 10.0 * label))
    return EventTable(*zip(*rows, strict=True), num_frames=num_frames)


def assert_same_events(table, expected, atol=1e-5):
    assert len(table) == len(expected)
    assert table.num_frames == expected.num_frames
    orders = [
        torch.tensor(t.directions)[
            sorted(
                range(len(t)),
                key=lambda n, t=t: (t.frame[n], t.label[n], t.azimuth[n]),
            )
        ]
        for t in (table, expected)
    ]
    torch.testing.assert_close(*orders, atol=atol, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_arrangement_of_tracks_gives_the_events(number, noise):
    length, hop, num_frames, classes = 16, 4, 40, 3
    table = events(num_frames, classes, number)
    vectors = torch.tensor(table.directions, dtype=torch.float32)
    vectors = 0.9 * vectors.reshape(num_frames, classes, number, 3)
    options = torch.tensor(ARRANGEMENTS[number])
    chunks = []
    for n in range(number_of_chunks(num_frames, length, hop)):
        part = vectors[n * hop : n * hop + length]
        # Another order in every chunk, frame and class.
        pick = options[torch.randint(len(options), part.shape[:2])]
        part = torch.gather(part, 2, pick[..., None].expand(*pick.shape, 3))
        part = part + noise * torch.randn(part.shape)
        chunks.append(part.permute(0, 2, 3, 1).flatten(1))
    stitched = stitch_outputs(
        {"multi_accdoa": torch.stack(chunks)}, "multi_accdoa", hop, num_frames
    )
    ours = decode_outputs(stitched, "multi_accdoa")
    assert_same_events(ours, table, atol=5 * noise + 1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_any_order_of_einv2_tracks_gives_the_events(noise):
    length, hop, num_frames = 16, 4, 40
    frames = torch.arange(num_frames)
    # One class twice, on opposite sides, and a second class at one of them.
    table = EventTable(
        frames.repeat_interleave(3),
        [0, 0, 1] * num_frames,
        [20.0, -160.0, 20.0] * num_frames,
        [0.0] * 3 * num_frames,
        num_frames=num_frames,
    )
    table = table.select((table.frame < 30) | (table.label == 1))
    targets = encode_labels(table, "einv2", 2, num_frames)
    sed, doa = 12 * targets["sed"] - 6, targets["doa"]
    chunks = {"sed": [], "doa": []}
    for n in range(number_of_chunks(num_frames, length, hop)):
        part = slice(n * hop, n * hop + length)
        order = torch.rand(length, 3).argsort(dim=1)
        for key, value in (("sed", sed[part]), ("doa", doa[part])):
            index = order[..., None].expand(-1, -1, value.shape[-1])
            value = torch.gather(value, 1, index)
            chunks[key].append(value + noise * torch.randn(value.shape))
    outputs = {key: torch.stack(value) for key, value in chunks.items()}
    ours = decode_outputs(
        stitch_outputs(outputs, "einv2", hop, num_frames), "einv2"
    )
    if noise:
        assert ours.overlap().tolist() == table.overlap().tolist()
    else:
        assert_same_events(ours, table)
    plain = stitch_outputs(outputs, "einv2", hop, num_frames, align=False)
    plain = decode_outputs(plain, "einv2")
    assert plain.overlap().tolist() != table.overlap().tolist()


def test_probabilities_are_averaged():
    logits = torch.tensor([2.0, -1.0])
    outputs = {
        "sed": logits[:, None, None, None].expand(2, 4, 3, 1),
        "doa": torch.ones(2, 4, 3, 3),
    }
    ours = stitch_outputs(outputs, "einv2", 2, 4)["sed"][2, 0, 0]
    torch.testing.assert_close(ours.sigmoid(), logits.sigmoid().mean())


def test_half_precision_comes_out_as_float32():
    outputs = {"accdoa": torch.ones(2, 4, 6, dtype=torch.float16)}
    assert stitch_outputs(outputs, "accdoa", 2, 6)["accdoa"].dtype is (
        torch.float32
    )


def test_bad_input_is_refused():
    outputs = {"accdoa": torch.zeros(2, 4, 6)}
    with pytest.raises(ValueError, match="'acdoa', expected one of accdoa"):
        stitch_outputs(outputs, "acdoa", 2, 6)
    with pytest.raises(ValueError, match="hop_frames is 0"):
        ChunkStitcher("accdoa", 0)
    with pytest.raises(ValueError, match="4 frames every 5 frames leave gaps"):
        stitch_outputs(outputs, "accdoa", 5, 6)
    with pytest.raises(ValueError, match="has 7 frames, but the chunks fit"):
        stitch_outputs(outputs, "accdoa", 2, 7)
    with pytest.raises(ValueError, match="nothing to flush"):
        ChunkStitcher("accdoa", 1).flush(0)
