"""Sound scenes in simulated rooms, in the folder that train.py takes.

For the first run, without data of your own; delete this file, its import and
the key ``synthetic_data`` when you have some.
"""

from spatial_brain.datasets.seld.synthetic import write_synthetic_seld


def write_synthetic_scenes(
    data_folder,
    *,
    clips,
    duration,
    class_names,
    array_format,
    fs,
    scene,
    seed=0,
    num_workers=1,
):
    """Write ``audio/<split>/<n>.wav`` and ``metadata/<split>/<n>.csv``.

    Each split has its own rooms. What is there already is kept.

    Arguments
    ---------
    data_folder : str or Path
        Gets the files; real data in it are never touched.
    clips : dict
        Split to its number of scenes.
    duration : float
        Seconds a scene.
    class_names : sequence of str
        Kinds of ``spatial_brain.simulation.synthesis.events``.
    array_format : str
        ``"foa"`` or ``"mic"``.
    fs : int
        Sampling rate, Hz.
    scene : dict
        Options of ``spatial_brain.simulation.sound_scenes.plan.draw_scene``.
    seed, num_workers : int
        Of the scenes; processes.
    """

    def place(split, index):
        return (
            f"audio/{split}",
            f"scene{index:03d}",
            f"metadata/{split}/scene{index:03d}.csv",
            {"room_seed": 1000 * list(clips).index(split) + index},
        )

    write_synthetic_seld(
        data_folder,
        clips,
        place,
        made_with={"clips": clips, "duration": duration},
        kinds=class_names,
        fs=fs,
        dialect="starss23",
        duration=duration,
        formats=(array_format,),
        seed=seed,
        num_workers=num_workers,
        scene=scene,
    )
