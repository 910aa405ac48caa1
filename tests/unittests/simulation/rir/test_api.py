"""The contract of simulate_rir: delays, levels, reflections, decay, errors."""

import math

import numpy as np
import pytest
import torch
from exact_rirs import FS, MICS, SIZE, SOURCES, error_db, exact_rir

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.rir import simulate_rir, simulate_rir_batch
from spatial_brain.simulation.rir.fractional_delay import windowed_sinc
from spatial_brain.simulation.rooms import Room, geometry_hash, sample_room


def arrival(rir, near):
    """Delay and amplitude of an isolated impulse, by least squares."""
    sample = np.arange(len(rir))
    delays = near + np.linspace(-0.5, 0.5, 2001)
    window = slice(int(near) - 30, int(near) + 31)
    shapes = windowed_sinc(sample[window] - delays[:, None])
    scores = shapes @ rir[window] / np.sqrt((shapes**2).sum(1))
    best = shapes[scores.argmax()]
    return delays[scores.argmax()], best @ rir[window] / (best @ best)


@pytest.mark.parametrize("backend", ["image_source", "pyroomacoustics"])
def test_free_field_has_delay_and_amplitude_of_the_distance(backend):
    generator = torch.Generator().manual_seed(3)
    sources = 0.4 + 4.2 * torch.rand(6, 3, generator=generator).double() * (
        torch.tensor([1.0, 0.75, 0.5])
    )
    mics = torch.tensor(MICS).double()
    rirs = simulate_rir(
        SIZE,
        sources,
        mics,
        absorption=0.3,
        direct_only=True,
        high_pass=False,
        backend=backend,
    )
    found = []
    for s, source in enumerate(sources):
        for m, mic in enumerate(mics):
            distance = float((source - mic).norm())
            wanted = distance / 343.0 * FS
            delay, amplitude = arrival(rirs[s, m].double().numpy(), wanted)
            assert abs(delay - wanted) < 0.01
            assert abs(20 * math.log10(amplitude * distance)) < 0.1
            found.append(delay / FS)
    found = torch.tensor(found).view(len(sources), 2)
    wanted = acoustics.tdoa(mics, sources)[:, 1]
    assert ((found[:, 0] - found[:, 1]) - wanted).abs().max() < 1e-6


@pytest.mark.parametrize(
    "backend", ("image_source", "fra", "fra_corrected", "pyroomacoustics")
)
def test_direct_paths_need_no_t60(backend):
    place = SIZE, SOURCES, MICS
    options = {"backend": backend, "direct_only": True, "fs": 4000}
    alone = simulate_rir(*place, **options, details=True)
    assert alone.info.requested_t60 is None
    given = simulate_rir(*place, **options, t60=2.0)
    # What "fra" gives is as long as the T60.
    shared = min(alone.full.shape[-1], given.shape[-1])
    both = alone.full[..., :shared], given[..., :shared]
    assert torch.allclose(*both, rtol=0.0, atol=1e-7)
    if backend == "image_source":
        order = simulate_rir(*place, max_order=0, fs=4000)
        assert torch.equal(alone.full, order)
        hall = [60.0, 50.0, 20.0], *place[1:]
        assert torch.equal(alone.full, simulate_rir(*hall, **options))
    with pytest.raises(ValueError, match="got neither"):
        simulate_rir(*place, backend=backend)


def test_first_reflections_have_the_absorption_of_their_wall():
    walls = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    source, mic = SOURCES[0], MICS[0]
    rir = simulate_rir(
        SIZE,
        [source],
        [mic],
        absorption=walls,
        max_order=1,
        duration=0.1,
        high_pass=False,
    )[0, 0]
    assert error_db(rir, exact_rir(SIZE, source, mic, walls, 1, 1600)) < -55
    for wall, absorption in enumerate(walls):
        # Left alone: all other walls absorb everything.
        others = [1.0] * 6
        others[wall] = absorption
        image = list(source)
        axis, far = divmod(wall, 2)
        image[axis] = (2 * SIZE[axis] if far else 0.0) - source[axis]
        distance = math.dist(image, mic)
        both, direct = (
            simulate_rir(
                SIZE,
                [source],
                [mic],
                absorption=others,
                duration=0.1,
                high_pass=False,
                direct_only=only,
            )[0, 0]
            for only in (False, True)
        )
        wanted = distance / 343.0 * FS
        delay, amplitude = arrival((both - direct).double().numpy(), wanted)
        assert abs(delay - wanted) < 0.02
        # The amplitude is positive and that of the reflected pressure.
        assert amplitude * distance == pytest.approx(
            math.sqrt(1 - absorption), rel=0.01
        )


def test_error_against_exact_sums_is_below_45_db():
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        room = sample_room(generator, size_high=(5.0, 4.0, 3.0))
        walls = torch.rand(6, generator=generator).double() * 0.5 + 0.2
        rir = simulate_rir(
            room.size,
            room.sources[:1],
            room.microphones[:1],
            absorption=walls,
            max_order=8,
            duration=0.25,
            high_pass=False,
        )[0, 0]
        exact = exact_rir(
            room.size.numpy(),
            room.sources[0].numpy(),
            room.microphones[0].numpy(),
            walls.numpy(),
            8,
            len(rir),
        )
        assert error_db(rir, exact) < -55


def test_swapping_source_and_microphone_changes_nothing():
    there = simulate_rir(SIZE, SOURCES[:1], MICS[:1], t60=0.4)
    back = simulate_rir(SIZE, MICS[:1], SOURCES[:1], t60=0.4)
    assert (there - back).abs().max() < 1e-6 * there.abs().max()


@pytest.mark.parametrize(
    ("size", "t60"),
    [
        ((3.0, 3.0, 2.5), 0.25),
        ((4.0, 4.0, 4.0), 0.5),
        ((5.0, 4.0, 3.0), 0.8),
        ((10.0, 8.0, 4.0), 0.3),
        ((10.0, 8.0, 2.5), 0.6),
        ((10.0, 3.0, 2.5), 0.5),
        ((8.0, 3.0, 3.0), 1.0),
    ],
)
@pytest.mark.parametrize("diffuse_from", [None, 15.0])
def test_measured_t60_is_the_requested_one(size, t60, diffuse_from):
    generator = torch.Generator().manual_seed(5)
    nearest = float(acoustics.critical_distance(size, t60))
    sources, mics = [], []
    while len(sources) < 6:
        places = 0.3 + torch.rand(2, 3, generator=generator).double() * (
            torch.tensor(size) - 0.6
        )
        if (places[0] - places[1]).norm() > nearest:
            sources.append(places[0])
            mics.append(places[1])
    rooms = [
        Room(size, source[None], mic[None], t60=t60)
        for source, mic in zip(sources, mics, strict=True)
    ]
    rirs = simulate_rir_batch(
        rooms, diffuse_from=diffuse_from, generator=generator
    )
    measured = acoustics.t60(rirs, FS).flatten() / t60
    # In a corridor the decay depends on the place.
    corridor = max(size) / sorted(size)[1] > 2.5
    assert abs(float(measured.mean()) - 1) < (0.15 if corridor else 0.1)
    assert float((measured - 1).abs().max()) < (0.3 if corridor else 0.15)


@pytest.mark.parametrize("fs", [8000, 44100])
def test_t60_holds_at_other_rates(fs):
    # Coherence between images grows with the wavelength of a sample.
    rirs = simulate_rir(
        [8.0, 4.0, 2.6],
        [[2.1, 1.2, 1.1], [6.3, 3.1, 1.6]],
        [[4.4, 2.3, 1.4]],
        t60=0.5,
        fs=fs,
    )
    assert abs(float(acoustics.t60(rirs, fs).mean()) / 0.5 - 1) < 0.12


def test_drr_falls_with_distance():
    sources = [[1.0 + step, 1.5, 1.5] for step in (0.3, 0.7, 1.5, 3.0)]
    details = simulate_rir(
        SIZE, sources, [[1.0, 1.6, 1.4]], t60=0.5, details=True
    )
    assert (details.info.drr[:, 0].diff() < 0).all()


def test_details_hold_twin_and_geometry():
    details = simulate_rir(SIZE, SOURCES, MICS, t60=0.5, details=True)
    info = details.info
    assert details.full.shape == details.direct.shape == (2, 2, 8000)
    assert info.requested_t60 == 0.5 and info.backend == "image_source"
    assert len(info.absorption) == 6
    assert info.t60.sub(0.5).abs().max() < 0.075
    way = torch.tensor(SOURCES)[:, None] - torch.tensor(MICS)
    assert torch.allclose(info.distance, way.norm(dim=-1))
    azimuth = torch.rad2deg(torch.atan2(way[..., 1], way[..., 0]))
    assert torch.allclose(info.azimuth, azimuth, atol=1e-4)
    assert (info.tdoa[:, 0] == 0).all()
    assert acoustics.drr(details.direct, FS).min() > 25
    # The twin is the beginning of the full response.
    details = simulate_rir(
        SIZE, SOURCES, MICS, t60=0.5, details=True, high_pass=False
    )
    first = acoustics.direct_sample(SOURCES, MICS, FS)[0, 0] + 5
    twin, full = details.direct[0, 0, :first], details.full[0, 0, :first]
    assert error_db(twin, full) < -35


def test_batch_equals_single_rooms():
    generator = torch.Generator().manual_seed(2)
    rooms = [sample_room(generator, t60_range=(0.2, 0.4)) for _ in range(5)]
    batch, lengths = simulate_rir_batch(rooms, return_lengths=True)
    for room, rir, length in zip(rooms, batch, lengths, strict=True):
        single = simulate_rir(
            room.size, room.sources, room.microphones, t60=room.t60
        )
        assert single.shape[-1] == length
        assert error_db(rir[..., :length], single) < -80
        assert (rir[..., length:] == 0).all()


def test_same_seed_gives_the_same_rooms_and_responses():
    def draw():
        generator = torch.Generator().manual_seed(11)
        rooms = [sample_room(generator) for _ in range(2)]
        rirs = simulate_rir_batch(rooms, diffuse_from=15, generator=generator)
        return [geometry_hash(room) for room in rooms], rirs

    (hashes, rirs), (again, same) = draw(), draw()
    assert hashes == again and torch.allclose(rirs, same, rtol=0, atol=1e-5)


class _Rirs(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        torch.set_num_threads(2)  # as on the main process: uses the pool
        generator = torch.Generator().manual_seed(index)
        room = sample_room(generator, t60_range=(0.2, 0.3))
        return simulate_rir_batch(
            [room], duration=0.2, diffuse_from=15, generator=generator
        )[0]


def test_workers_give_the_same_after_a_fork():
    before = torch.get_num_threads()
    try:
        alone = torch.stack([_Rirs()[index] for index in range(8)])
        loader = torch.utils.data.DataLoader(
            _Rirs(), batch_size=4, num_workers=2, timeout=30
        )
        drawn = torch.cat(list(loader))
        assert torch.allclose(drawn, alone, rtol=0, atol=1e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": [[5.0, 1.0, 1.0]]}, r"sources\[0\].*wall or outside"),
        ({"microphones": [[1.0, -1.0, 1.0]]}, r"microphones\[0\]"),
        ({"sources": [1.0, 1.0, 1.0]}, r"\[n, 3\]"),
        ({"sources": [[1.0, float("nan"), 1.0]]}, "finite"),
        ({"sources": [[2.5, 2.0, 1.5]]}, "coincide"),
        ({"room_size": [5.0, 4.0]}, "three positive lengths"),
        ({"room_size": [5.0, -4.0, 3.0]}, "three positive lengths"),
        ({"t60": None}, "neither"),
        ({"absorption": 0.3}, "both"),
        ({"t60": 0.05}, r"0\.103 s"),
        ({"t60": float("inf")}, "finite"),
        ({"t60": None, "absorption": [0.1, 0.2]}, "one value or six"),
        ({"t60": None, "absorption": 1.2}, r"\[0, 1\]"),
        ({"t60": None, "absorption": 0.0}, "never ends"),
        ({"duration": 0.002}, "outside duration"),
        ({"duration": -1.0}, "duration must be positive"),
        ({"fs": 0}, "fs must be positive"),
        ({"backend": "magic"}, "unknown backend 'magic'"),
        ({"backend": "fra", "diffuse_from": 15}, "cannot do diffuse_from"),
        (
            {
                "backend": "pyroomacoustics",
                "mic_pattern": "card",
                "mic_orientation": [1, 0, 0],
            },
            "cannot do patterns",
        ),
        ({"mic_pattern": "cardiod"}, "unknown microphone pattern"),
        ({"mic_pattern": "card"}, "needs microphone_orientation"),
        ({"mic_pattern": ["omni", "omni"]}, "2 microphone patterns"),
        ({"max_order": 3, "diffuse_from": 15}, "give one of them"),
        ({"max_order": 1.5}, "max_order must be an integer"),
        ({"air_absorption": 0.2}, "the air alone"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    arguments = {
        "room_size": SIZE,
        "sources": SOURCES[:1],
        "microphones": MICS[:1],
        "t60": 0.3,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        simulate_rir(**arguments)


def test_batch_errors_name_the_room():
    rooms = [
        Room(SIZE, SOURCES, MICS, t60=0.3),
        Room(SIZE, SOURCES, MICS, t60=0.01),
    ]
    with pytest.raises(ValueError, match=r"rooms\[1\]: t60 0.01"):
        simulate_rir_batch(rooms)
    with pytest.raises(ValueError, match="equal numbers"):
        simulate_rir_batch([rooms[0], Room(SIZE, SOURCES[:1], MICS, t60=0.3)])


def test_air_absorbs_and_the_t60_still_holds():
    dry = simulate_rir(SIZE, SOURCES, MICS, absorption=0.1, duration=0.5)
    damp = simulate_rir(
        SIZE, SOURCES, MICS, absorption=0.1, duration=0.5, air_absorption=0.02
    )
    late = slice(4800, 6400)
    ratio = damp[..., late].square().sum() / dry[..., late].square().sum()
    # 343 m/s * 0.35 s * 0.02 / m on average.
    assert 10 * math.log10(ratio) == pytest.approx(-10.4, abs=0.5)
    timed = simulate_rir(SIZE, SOURCES, MICS, t60=0.5, air_absorption=0.01)
    assert (acoustics.t60(timed, FS) / 0.5 - 1).abs().max() < 0.1


def test_high_pass_removes_what_builds_up():
    raw, clean = (
        simulate_rir(SIZE, SOURCES, MICS, absorption=0.1, high_pass=part)
        for part in (False, True)
    )
    assert clean.mean().abs() < 0.01 * raw.mean()


def test_a_shorter_response_is_the_beginning_of_a_longer_one():
    # Also where the lattice ends: the high-pass must not see a step there.
    short, long = (
        simulate_rir(SIZE, SOURCES, MICS, absorption=0.1, duration=seconds)
        for seconds in (0.4, 0.8)
    )
    length = short.shape[-1]
    for end in (slice(0, length), slice(length - 160, length)):
        assert error_db(short[..., end], long[..., :length][..., end]) < -20
