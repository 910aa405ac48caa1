"""Mixtures: weights in signals and labels, collisions, who meets whom."""

import pytest
import torch

from spatial_brain.augment.mixing import TrackMix, WavMix, _mix_targets

NUM_CLASSES = 4


def make_targets(clips):
    """Targets of clips, each a list of (frame, class, vector)."""
    batch, frames = len(clips), 6
    accdoa = torch.zeros(batch, frames, 3, NUM_CLASSES)
    adpit = torch.zeros(batch, frames, 6, 4, NUM_CLASSES)
    sed = torch.zeros(batch, frames, 3, NUM_CLASSES)
    doa = torch.zeros(batch, frames, 3, 3)
    overlap = []
    for b, clip in enumerate(clips):
        for frame in range(frames):
            here = [event for event in clip if event[0] == frame]
            for track, (_, label, vector) in enumerate(here):
                accdoa[b, frame, :, label] = vector
                sed[b, frame, track, label] = 1.0
                doa[b, frame, track] = vector
            for label in range(NUM_CLASSES):
                same = [v for _, c, v in here if c == label]
                first = {0: 0, 1: 0, 2: 1, 3: 3}[len(same)]
                for slot, vector in enumerate(same, first):
                    adpit[b, frame, slot, 0, label] = 1.0
                    adpit[b, frame, slot, 1:, label] = vector
        counts = [sum(e[0] == f for e in clip) for f in range(frames)]
        overlap.append(max(counts))
    return {
        "accdoa": accdoa.flatten(2),
        "adpit": adpit,
        "sed": sed,
        "doa": doa,
        "overlap": torch.tensor(overlap),
    }


def random_clip(overlap, generator):
    """At most so many events in each of six frames."""
    clip = []
    for frame in range(6):
        number = (
            overlap
            if frame == 0
            else int(torch.randint(overlap + 1, (1,), generator=generator))
        )
        for _ in range(number):
            vector = torch.randn(3, generator=generator)
            label = int(torch.randint(NUM_CLASSES, (1,), generator=generator))
            clip.append((frame, label, vector / vector.norm()))
    return clip


def random_batch(overlaps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clips = [random_clip(overlap, generator) for overlap in overlaps]
    return clips, make_targets(clips)


def brute_force(one, two, weight):
    """ADPIT and track labels of a mixture, event by event."""
    adpit = torch.zeros(6, 6, 4, NUM_CLASSES)
    sed, doa = torch.zeros(6, 3, NUM_CLASSES), torch.zeros(6, 3, 3)
    for frame in range(6):
        events = [(c, v, weight) for f, c, v in one if f == frame]
        assert len(events) <= 1
        tracks = dict(enumerate(events))
        partner = [(c, v, 1 - weight) for f, c, v in two if f == frame]
        tracks |= dict(enumerate(partner, 1))
        for track, (label, vector, share) in tracks.items():
            sed[frame, track, label] = share
            doa[frame, track] = vector
        for label in range(NUM_CLASSES):
            same = [(v, w) for c, v, w in events + partner if c == label]
            first = {0: 0, 1: 0, 2: 1, 3: 3}[len(same)]
            for slot, (vector, share) in enumerate(same, first):
                adpit[frame, slot, 0, label] = share
                adpit[frame, slot, 1:, label] = share * vector
    return adpit, sed, doa


@pytest.mark.parametrize("partner_overlap", [1, 2])
def test_labels_brute_force(partner_overlap):
    number = 60
    ones, one = random_batch([1] * number, seed=1)
    twos, two = random_batch([partner_overlap] * number, seed=2)
    weight = 0.01 + 0.98 * torch.rand(number)
    mixed = _mix_targets(one, two, weight)
    for b in range(number):
        adpit, sed, doa = brute_force(ones[b], twos[b], float(weight[b]))
        torch.testing.assert_close(mixed["adpit"][b], adpit)
        torch.testing.assert_close(mixed["sed"][b], sed)
        torch.testing.assert_close(mixed["doa"][b], doa)
        expected = weight[b] * one["accdoa"][b]
        expected = expected + (1 - weight[b]) * two["accdoa"][b]
        torch.testing.assert_close(mixed["accdoa"][b], expected)
    assert (mixed["overlap"] == 1 + partner_overlap).all()
    # The draw held collisions of both kinds where it could.
    slots = (mixed["adpit"][:, :, :, 0] > 0).sum(dim=(0, 1, 3))
    assert slots[1] == slots[2] > 0
    assert (slots[3:] > 0).all() == (partner_overlap == 2)


def test_lengths_are_the_weights():
    x, y = torch.eye(3)[:2]
    apart = _mix_targets(
        make_targets([[(0, 0, x)]]),
        make_targets([[(0, 1, y)]]),
        torch.tensor([0.3]),
    )
    length = apart["adpit"][0, 0, 0, 1:].norm(dim=0)
    torch.testing.assert_close(length, torch.tensor([0.3, 0.7, 0.0, 0.0]))
    together = _mix_targets(
        make_targets([[(0, 2, x)]]),
        make_targets([[(0, 2, y)]]),
        torch.tensor([0.3]),
    )
    length = together["adpit"][0, 0, :, 1:, 2].norm(dim=1)
    torch.testing.assert_close(length, torch.tensor([0, 0.3, 0.7, 0, 0, 0]))
    third = _mix_targets(
        make_targets([[(0, 2, x)]]),
        make_targets([[(0, 2, y), (0, 2, -x)]]),
        torch.tensor([0.3]),
    )
    length = third["adpit"][0, 0, :, 1:, 2].norm(dim=1)
    torch.testing.assert_close(length, torch.tensor([0, 0, 0, 0.3, 0.7, 0.7]))
    # Other classes of a frame in which one class collides stay.
    other = _mix_targets(
        make_targets([[(0, 2, x)]]),
        make_targets([[(0, 2, y), (0, 0, -x)]]),
        torch.tensor([0.3]),
    )
    length = other["adpit"][0, 0, :, 1:].norm(dim=1)
    torch.testing.assert_close(length[:, 0], torch.tensor([0.7, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_weight_zero_takes_no_slot(weight):
    x, y = torch.eye(3)[:2]
    mixed = _mix_targets(
        make_targets([[(0, 2, x)]]),
        make_targets([[(0, 2, y)]]),
        torch.tensor([weight]),
    )
    expected = make_targets([[(0, 2, x if weight else y)]])
    assert torch.equal(mixed["adpit"], expected["adpit"])


@pytest.mark.parametrize("operation", [WavMix(probability=1.0), TrackMix()])
@pytest.mark.parametrize("seed", range(8))
def test_signal_and_labels_have_the_same_weights(operation, seed):
    overlaps = [1, 2, 1, 3, 1, 2, 1, 1]
    _, targets = random_batch(overlaps, seed)
    x = torch.eye(8)[:, :, None].contiguous()
    copy = {name: values.clone() for name, values in targets.items()}
    generator = torch.Generator().manual_seed(seed)
    mixed, labels = operation(x, targets, generator)
    assert torch.equal(x, torch.eye(8)[:, :, None])
    assert all(torch.equal(targets[name], copy[name]) for name in copy)
    for b in range(8):
        parts = mixed[b, :, 0]
        torch.testing.assert_close(parts.sum(), torch.tensor(1.0))
        partner = [k for k in range(8) if k != b and parts[k] > 0]
        accdoa = sum(parts[k] * targets["accdoa"][k] for k in range(8))
        torch.testing.assert_close(labels["accdoa"][b], accdoa)
        if not partner:
            assert labels["overlap"][b] == overlaps[b]
            continue
        assert overlaps[b] == 1 and len(partner) == 1
        assert labels["overlap"][b] == 1 + overlaps[partner[0]]
        if isinstance(operation, TrackMix):
            assert overlaps[partner[0]] == 1


def test_waveforms_meet_one_or_two_events_half_of_the_time():
    targets = {"overlap": torch.tensor([1, 1, 2, 2])}
    generator = torch.Generator().manual_seed(1)
    seen = {1: 0, 2: 0, 3: 0}
    for _ in range(1000):
        _, mixed = WavMix()(torch.zeros(4, 1, 4), targets, generator)
        seen[int(mixed["overlap"][:2].max())] += 1
    # Half of the batches stay. Of those with partners of one event another
    # half does: both items were paired with themselves.
    assert abs(seen[3] - 250) < 50
    assert abs(seen[2] - 125) < 40


def weights_of(operation, draws=400):
    """Weights of the first item in mixtures of two."""
    targets = {"overlap": torch.tensor([1, 1])}
    generator = torch.Generator().manual_seed(4)
    drawn = []
    for _ in range(draws):
        x, mixed = operation(torch.eye(2)[..., None], targets, generator)
        if mixed["overlap"][0] == 2:
            drawn.append(x[0, 0, 0])
    return torch.stack(drawn)


def test_weights_follow_the_beta_distribution():
    weights = weights_of(TrackMix())
    # The arcsine distribution: variance 1/8, a third below 1/4.
    assert abs(weights.mean() - 0.5) < 0.07
    assert abs(weights.var() - 0.125) < 0.025
    assert abs((weights < 0.25).float().mean() - 1 / 3) < 0.1


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("avoid", [True, False])
def test_self_pairs(copies, avoid):
    clips = 4
    x = torch.eye(clips).repeat(copies, 1)[..., None]
    targets = {"overlap": torch.ones(clips * copies, dtype=torch.int64)}
    # Weights far from 0 and 1, so that who is alone was mixed with itself.
    mix = TrackMix(alpha=50.0, avoid_self_pairs=avoid, copies=copies)
    generator = torch.Generator().manual_seed(3)
    selves = 0
    for _ in range(50):
        mixed, labels = mix(x, targets, generator)
        alone = (mixed[:, :, 0] > 1e-3).sum(1) == 1
        selves += int((alone & (labels["overlap"] == 2)).sum())
    # One of four pairs, on average.
    assert selves == 0 if avoid else abs(selves / (50 * copies) - 1) < 0.4


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_frames_that_count_in_either_count_in_the_mixture(kind):
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).to(kind)
    targets = {"overlap": torch.tensor([1, 1]), "mask": mask}
    mix = TrackMix(avoid_self_pairs=False)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        x, mixed = mix(torch.eye(2)[..., None], targets, generator)
        if (x > 0).all():
            assert torch.equal(mixed["mask"], mask[[0, 0]])
            return
    raise AssertionError("no items were mixed")


def test_nobody_to_meet():
    x = torch.randn(3, 10, 4)
    targets = {"overlap": torch.tensor([2, 2, 3])}
    for operation in (WavMix(probability=1.0), TrackMix()):
        mixed, labels = operation(x, targets)
        assert torch.equal(mixed, x)
        assert torch.equal(labels["overlap"], targets["overlap"])


def test_seeds_repeat():
    _, targets = random_batch([1, 1, 1, 2, 2])
    x = torch.randn(5, 10, 4)
    for operation in (WavMix(probability=1.0), TrackMix()):
        results = [
            operation(x, targets, torch.Generator().manual_seed(6))
            for _ in range(2)
        ]
        assert torch.equal(results[0][0], results[1][0])
        for name in targets:
            assert torch.equal(results[0][1][name], results[1][1][name])


def test_errors():
    with pytest.raises(ValueError, match="overlap"):
        TrackMix()(torch.zeros(2, 7, 10, 4), {})
    with pytest.raises(ValueError, match="3 copies"):
        TrackMix(copies=3)(
            torch.zeros(4, 7, 10, 4), {"overlap": torch.ones(4).long()}
        )
