"""Hours of labelled sound scenes per CPU hour: ours, and SpatialScaper.

    python benchmarks/scene_generation.py [--scenes 4] [--seconds 60]
        [--skip_simulated] [--peer CLONE] [--peer_python PYTHON]

CLONE is a checkout of github.com/iranroman/SpatialScaper, PYTHON an
interpreter that has what it needs (numpy scipy librosa soundfile tqdm mat73
netCDF4 pysofaconventions); without them only ours is measured.

Both make the same scenes: first-order Ambisonics at 24 kHz in one measured
room (a SOFA file of 360 simulated responses of 0.5 s, 2 degrees apart), with
the same dry sounds at the same times, places and paths, and noise. Both read
the sounds and the room from disk and write recordings and labels; ours keeps
the room in memory from scene to scene. Ours draws scenes as `spatial-brain
synth` does, at most two events at once; the peer gets what came out. All with
one thread; CPU seconds of the process, without imports and without the first
scene, which is for warming up. "ratio" is CPU seconds of the peer over ours.

The other lines are ours in simulated rooms of 5.5 x 4.5 x 3 m, by format, T60
and share of moving events, from plan to signals, without files.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import soundfile
import torch

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.scene_corpus.generate import generate_corpus
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.ambisonics import foa_rir
from spatial_brain.simulation.sound_scenes.plan import draw_scene
from spatial_brain.simulation.sound_scenes.render import render_scene

FS, ROOM = 24000, (8.0, 7.0, 3.5)
# Names that the peer knows.
CLASSES = ("knock", "bell", "music", "footsteps")
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
PEER = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np
folder, clone, seconds = sys.argv[1:]
sys.path.insert(0, clone)
import spatialscaper
from spatialscaper import core, sofa_utils
with np.load(folder + "/room.npz") as room:
    sofa_utils.create_srir_sofa(
        folder + "/peer/spatialscaper_RIRs/metu_foa.sofa",
        room["responses"], room["offsets"], np.zeros_like(room["offsets"]),
    )
core.tqdm.tqdm = lambda items, **_: items
spent = []
for number, scene in enumerate(json.load(open(folder + "/events.json"))):
    begin = time.process_time()
    scaper = spatialscaper.Scaper(
        duration=float(seconds), foreground_dir=folder + "/events", room="metu",
        rir_dir=folder + "/peer", fmt="foa", sr=24000,
        use_room_ambient_noise=False, max_event_overlap=2,
    )
    scaper.add_background()
    for event in scene:
        scaper.fg_events.append(core.Event(
            label=event["class"], source_file=event["sound"], source_time=0,
            event_time=event["onset"], event_duration=event["duration"],
            snr=20, role="foreground", pitch_shift=None, time_stretch=None,
            event_position=event["from_array"],
        ))
    target = folder + "/peer/{}/" + str(number)
    scaper.generate(target.format("foa"), target.format("label"))
    spent.append(time.process_time() - begin)
print(json.dumps(spent))
"""


def write_room(folder):
    """Responses around an array: a SOFA file, and the same for the peer."""
    azimuth = torch.arange(-180.0, 180.0, 2.0)
    offsets = torch.cat(
        [1.5 * azel_to_unit(azimuth, elevation) for elevation in (0.0, 20.0)]
    ).double()
    center = torch.tensor(ROOM, dtype=torch.float64) / 2.1
    responses = foa_rir(
        ROOM, center + offsets, center, t60=0.5, fs=FS, duration=0.5
    ).numpy()
    np.savez(folder / "room.npz", responses=responses, offsets=offsets)
    with h5py.File(folder / "room.sofa", "w") as file:
        file.attrs["DataType"] = np.bytes_("FIR")
        file["Data.IR"] = responses
        file["Data.SamplingRate"] = [float(FS)]
        file["ListenerPosition"] = np.zeros((1, 3))
        file["SourcePosition"] = offsets.numpy()
        file["SourcePosition"].attrs["Type"] = np.bytes_("cartesian")


def write_events(folder):
    """Dry sounds, noise of 2 to 8 s, a folder a class."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        path = folder / "events" / label
        path.mkdir(parents=True)
        for number in range(4):
            count = int(rng.uniform(2.0, 8.0) * FS)
            soundfile.write(
                path / f"{number}.wav", 0.1 * rng.standard_normal(count), FS
            )


def ours(folder, scenes, length):
    """CPU seconds of each scene; what happens in them goes to a file."""
    values = {
        "events": str(folder / "events"),
        "duration": length,
        "formats": ["foa"],
        "responses": str(folder / "room.sofa"),
        "moving": 0.5,
    }
    spent = []
    for number in range(scenes):
        options = scene_options({**values, "scenes": number + 1})
        begin = time.process_time()
        generate_corpus(options, folder / "ours")
        spent.append(time.process_time() - begin)
    happened = [
        read_json(path)["events"]
        for path in sorted((folder / "ours" / "scenes").glob("*.json"))
    ]
    for event in (event for scene in happened for event in scene):
        event["sound"] = str(folder / "events" / event["sound"])
    write_json(folder / "events.json", happened)
    return spent


def peer(folder, clone, python, length):
    """CPU seconds of each scene by SpatialScaper."""
    (folder / "peer" / "spatialscaper_RIRs").mkdir(parents=True)
    done = subprocess.run(
        [python, "-c", PEER, str(folder), str(clone), str(length)],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        line = done.stderr.strip().splitlines()[-1]
        print(f"SpatialScaper not measured: {python} fails with {line}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def report(name, seconds, length, base=None):
    """Print a line of the table: median CPU seconds of a scene."""
    ratio = "" if base is None else f"{seconds / base:8.1f}"
    print(
        f"{name:44s} {seconds:8.2f} {length / seconds:10.1f} {ratio}",
        flush=True,
    )


def simulated(formats, t60, moving, length):
    """CPU seconds for a scene in a simulated room, the better of two."""
    size = (5.5, 4.5, 3.0)
    plan = draw_scene(
        np.random.default_rng(0),
        3,
        duration=length,
        size_low=size,
        size_high=size,
        t60_range=(t60, t60),
        moving_probability=moving,
    )
    dry = [torch.randn(int(event.duration * FS)) for event in plan.events]
    spent = []
    for _ in range(2):
        begin = time.process_time()
        render_scene(plan, dry, fs=FS, formats=formats)
        spent.append(time.process_time() - begin)
    return min(spent)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peer", type=Path, help="clone of SpatialScaper")
    parser.add_argument("--peer_python", default="python")
    parser.add_argument("--skip_simulated", action="store_true")
    arguments = parser.parse_args()
    if arguments.scenes < 2:
        parser.error("--scenes must be 2 or more, the first is for warming up")
    torch.set_num_threads(1)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    length = arguments.seconds
    title = f"{length:g} s, one thread"
    print(f"{title:44s} {'CPU s':>8s} {'h/CPU h':>10s} ratio")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_room(folder)
        write_events(folder)
        own = float(np.median(ours(folder, arguments.scenes, length)[1:]))
        report("ours, measured room, FOA, half moving", own, length, own)
        if arguments.peer is None:
            print("SpatialScaper not measured: give --peer CLONE")
        else:
            spent = peer(folder, arguments.peer, arguments.peer_python, length)
            if spent:
                theirs = np.median(spent[1:])
                report("SpatialScaper, the same", theirs, length, own)
    if arguments.skip_simulated:
        return
    for t60 in (0.2, 0.5, 0.8):
        for moving in (0.0, 1.0):
            for formats in (("foa",), ("mic",), ("foa", "mic")):
                words = "all moving" if moving else "static"
                report(
                    f"ours, {' + '.join(formats)}, T60 {t60} s, {words}",
                    simulated(formats, t60, moving, length),
                    length,
                )


if __name__ == "__main__":
    main()
