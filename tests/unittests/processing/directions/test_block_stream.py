"""Blocks of live sound are those of the whole recording."""

from functools import partial

import pytest
import torch

from spatial_brain.geometry import circular_array
from spatial_brain.processing.directions.ambisonics import AmbisonicMixture
from spatial_brain.processing.directions.block_stream import BlockStream
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.mixture import LocalMixture
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.srp_phat import SRPPhat

FS = 16000
ARRAY = circular_array(4, 0.05)
SPHERE = DirectionGrid.sphere(20.0)
METHODS = {
    "mixture": partial(LocalMixture, ARRAY),
    "foa": lambda fs, **options: AmbisonicMixture(fs, SPHERE, **options),
    "srp-phat": partial(SRPPhat, ARRAY),
    "norm-music": partial(MUSIC, ARRAY),
}


def whole(maps, sound):
    """Centres and evidence of each block of a sound [time, 4]."""
    found = []
    for times, evidence in maps.stream(
        lambda start, stop: sound[None, start:stop], len(sound)
    ):
        for index, time in enumerate(times.tolist()):
            part = evidence[:, index : index + 1]
            if isinstance(maps, LocalMixture):
                first = index * maps.step_frames // maps.unit_step
                steps = (maps.block_frames - maps.unit_frames) // maps.unit_step
                part = evidence[:, first : first + steps + 1]
            found.append((time, part))
    return found


def live(maps, sound, size):
    """The same in chunks of a size."""
    stream = BlockStream(maps)
    found = [block for c in sound.split(size) for block in stream.push(c)]
    return found + stream.flush()


def check(found, wanted):
    """Whether the same blocks have the same evidence."""
    assert [time for time, _ in found] == [time for time, _ in wanted]
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [320, 4999, 20000])
def test_blocks_do_not_depend_on_chunks(name, size):
    torch.manual_seed(0)
    maps = METHODS[name](FS, block=0.4, hop=0.1)
    sound = torch.randn(20000, 4)
    check(live(maps, sound, size), whole(maps, sound))


@pytest.mark.parametrize("extra", [-3000, -1, 0, 1, 1600])
def test_the_end_is_that_of_the_recording(extra):
    maps = SRPPhat(ARRAY, FS, block=0.4, hop=0.1)
    step = maps.step_frames * maps.hop_length
    sound = torch.randn(maps.block_length + step + extra, 4)
    check(live(maps, sound, 777), whole(maps, sound))


@pytest.mark.parametrize("block, hop", [(0.1, 0.1), (0.05, 0.05), (0.3, 0.13)])
def test_blocks_side_by_side_and_of_odd_steps(block, hop):
    maps = LocalMixture(ARRAY, FS, block=block, hop=hop)
    sound = torch.randn(8000, 4)
    check(live(maps, sound, 100), whole(maps, sound))


def test_a_stream_begins_again_and_refuses_other_channels():
    stream = BlockStream(SRPPhat(ARRAY, FS, block=0.1, hop=0.05))
    assert stream.flush() == []
    sound = torch.randn(3000, 4)
    first = [*stream.push(sound), *stream.flush()]
    check([*stream.push(sound), *stream.flush()], first)
    with pytest.raises(ValueError, match="4 microphones"):
        stream.push(torch.randn(100, 2))
    with pytest.raises(ValueError, match="hop of at most a block"):
        BlockStream(SRPPhat(ARRAY, FS, block=0.1, hop=0.5))
