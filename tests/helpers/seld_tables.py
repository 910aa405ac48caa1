"""Sound events drawn by the rule of ``golden``, and their challenge files.

Angles are no whole degrees, so that no two assignments cost the same and
numbers hold on any machine.
"""

import numpy as np
from golden import base

CLASSES_2019 = (
    "knock drawer clearthroat phone keysDrop speech keyboard pageturn cough "
    "doorslam laughter"
).split()
NUM_CLIPS = 6


def uniform(name, n, low, high):
    """Reproducible numbers in [low, high)."""
    return low + (base(name, n) + 1) / 2 * (high - low)


def draw_clip(index):
    """Rows (frame, class, source, azimuth, elevation, metres) of a clip.

    References, then estimates: most found, some elsewhere, some of another
    class, some twice, some invented, in no order.
    """
    events = 4 + 3 * (index % 3)
    u = uniform(f"seld:{index}", 7 * events, 0, 1).reshape(7, events)
    reference = []
    for k, (
        start,
        length,
        label,
        azimuth,
        elevation,
        metres,
        speed,
    ) in enumerate(u.T):
        first, label = int(start * 100), int(label * 4)
        for frame in range(first, min(120, first + 3 + int(length * 45))):
            turned = 360 * azimuth - 180 + 2 * speed * (frame - first)
            reference.append(
                (
                    frame,
                    label,
                    k,
                    (turned + 180) % 360 - 180,
                    120 * elevation - 60,
                    0.5 + 4 * metres,
                )
            )
    n = len(reference)
    v = uniform(f"seld:{index}:estimate", 6 * n, 0, 1).reshape(n, 6)
    estimate = []
    for row, draw in zip(reference, v, strict=True):
        frame, label, source, azimuth, elevation, metres = row
        if draw[0] < 0.25:
            continue
        if draw[0] > 0.95:
            label = (label + 1) % 5
        if draw[0] > 0.9:
            frame += 7
        azimuth = (azimuth + 44 * (draw[1] - 0.5) + 180) % 360 - 180
        elevation += 20 * (draw[2] - 0.5)
        guess = (frame, label, source, azimuth, elevation, metres + 2 * draw[3])
        estimate += [guess, guess] if draw[4] < 0.05 else [guess]
    order = np.argsort(uniform(f"seld:{index}:order", len(estimate), 0, 1))
    return reference, [estimate[k] for k in order]


def vector(azimuth, elevation):
    """Direction of a row."""
    a, e = np.radians((azimuth, elevation))
    return np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)


def line(row, form):
    """A row as a line of a file."""
    frame, label, source, azimuth, elevation, metres = row
    xyz = vector(azimuth, elevation)
    fields = {
        "polar5": (frame, label, source, azimuth, elevation),
        "centimetres": (
            frame,
            label,
            source,
            azimuth,
            elevation,
            round(100 * metres),
        ),
        "cartesian6": (frame, label, source, *xyz),
        "cartesian7": (frame, label, source, *xyz, metres),
        "stereo": (frame, label, source, azimuth, round(100 * metres), 0),
        "positions": (frame, label, *(metres * c for c in xyz)),
        # Whole degrees on the grid of 2019, frames of 20 ms.
        "grid": (
            5 * frame + source % 5,
            label,
            int(min(azimuth // 10 * 10, 170)),
            int(np.clip(elevation // 10 * 10, -40, 40)),
        ),
    }[form]
    return ",".join(
        repr(float(f)) if isinstance(f, float) else str(f) for f in fields
    )


def lines_2019(reference):
    """An event a line, times in seconds."""
    events = {}
    for row in reference:
        events.setdefault(row[2], []).append(row)
    rows = ["sound_event_recording,start_time,end_time,ele,azi,dist"]
    for some in events.values():
        grid = line(some[0], "grid").split(",")
        start, stop = some[0][0] / 10 + 0.013, some[-1][0] / 10 + 0.087
        name = CLASSES_2019[some[0][1]]
        rows.append(f"{name},{start!r},{stop!r},{grid[3]},{grid[2]},1")
    return rows


FORMS = {
    "DCASE2019": (None, "grid"),
    "DCASE2020": ("polar5", "cartesian6"),
    "DCASE2021": ("polar5", "cartesian6"),
    "STARSS23": ("polar5", "cartesian7"),
    "DCASE2024": ("centimetres", "cartesian7"),
    "DCASE2025": ("stereo", "stereo"),
    "L3DAS22": ("positions", "positions"),
}


def write_folders(root, dataset):
    """Folders of references (in a sub-folder) and estimates."""
    forms = dict(zip(("reference/a", "estimate"), FORMS[dataset], strict=True))
    for part in forms:
        (root / part).mkdir(parents=True)
    header = ["frame,class,source,azimuth,distance,onscreen"]
    for index in range(NUM_CLIPS):
        tables = draw_clip(index)
        for (part, form), rows in zip(forms.items(), tables, strict=True):
            if form is None:
                text = lines_2019(rows)
            else:
                text = header if form == "stereo" else []
                text = text + [line(row, form) for row in rows]
            name = f"fold4_room{1 + index // 2}_mix00{index}.csv"
            (root / part / name).write_text("\n".join(text) + "\n")
    return root / "reference", root / "estimate"
