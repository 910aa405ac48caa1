"""Absorption of walls: one value, six, octave bands, materials by name.

What ``absorption`` of a room may be:

* one number: all walls, all frequencies;
* six entries: the walls x0, x1, y0, y1, z0 (floor), z1 (ceiling); each a
  number, the name of a material, or seven octave bands (125 Hz to 8 kHz);
* the name of a material: all walls;
* ``{"bands": [...], "centres": [...]}``: bands alike for all walls, or six
  rows of them; centres (Hz) are 125 to 8000 if left out;
* ``{"floor": ..., "ceiling": ..., "walls": ...}``: by the walls' names, each as
  one of the six entries; "walls" are the four upright ones, "all" those not
  named.

Six numbers are six walls, never six bands. The materials are those of
pyroomacoustics (from M. Vorlaender, "Auralization", Springer 2008); a table
that ends at 4 kHz goes on with its last value.
"""

import functools
from dataclasses import dataclass

import torch

from spatial_brain.simulation.room_parameters import BANDS
from spatial_brain.suggestions import nearest

WALLS = ("x0", "x1", "y0", "y1", "z0", "z1")
# Other names, each of one or more walls.
_GROUPS = {
    **{name: (index,) for index, name in enumerate(WALLS)},
    "floor": (4,),
    "ceiling": (5,),
    "walls": (0, 1, 2, 3),
    "all": (0, 1, 2, 3, 4, 5),
}


@dataclass(frozen=True)
class BandValues:
    """A quantity of a room that depends on frequency.

    Arguments
    ---------
    values : torch.Tensor
        float64 [..., B].
    centres : tuple
        Of the B octaves, hertz, rising.
    """

    values: torch.Tensor
    centres: tuple


def finite_numbers(name, value):
    """Turn what a user gives into a tensor.

    Arguments
    ---------
    name : str
        Of the quantity, for messages.
    value : float or sequence or torch.Tensor
        Numbers.

    Returns
    -------
    torch.Tensor
        float64, on the CPU.

    Raises
    ------
    ValueError
        If they are no numbers, no rectangular array, or not finite.

    Example
    -------
    >>> finite_numbers("t60", 0.5)
    tensor(0.5000, dtype=torch.float64)
    """
    try:
        value = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be numbers in a rectangular array, got {value!r}"
        ) from error
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} must be finite, got {value.tolist()}")
    return value


@functools.lru_cache(maxsize=1)
def material_table():
    """Energy absorption coefficients of the materials that have a name.

    Returns
    -------
    dict
        Name to seven coefficients, for 125 Hz to 8 kHz.

    Raises
    ------
    ImportError
        If pyroomacoustics is not installed.

    Example
    -------
    >>> material_table()["brickwork"][3]  # 1 kHz
    0.03
    """
    try:
        from pyroomacoustics import materials_data
    except ImportError as error:
        raise ImportError(
            "materials by name are those of the package pyroomacoustics; "
            "install it with: pip install pyroomacoustics; or give numbers"
        ) from error
    table = {}
    for group in materials_data["absorption"].values():
        for name, entry in group.items():
            known = [min(float(value), 1.0) for value in entry["coeffs"]]
            missing = len(BANDS) - len(known)
            table[name] = tuple(known + known[-1:] * missing)
    return table


def wall_absorption(absorption):
    """What a user gives for the absorption of a room, as numbers.

    Arguments
    ---------
    absorption : float or str or sequence or dict
        See the top of this module.

    Returns
    -------
    torch.Tensor or BandValues
        float64 [6], or values [6, B] where something depends on frequency.

    Raises
    ------
    ValueError
        If a name is unknown, a number outside [0, 1], or a shape another.

    Example
    -------
    >>> wall_absorption(0.3).tolist()
    [0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    >>> walls = wall_absorption({"all": 0.1, "floor": "carpet_thin"})
    >>> walls.values.shape, walls.values[4, 3].item()
    (torch.Size([6, 7]), 0.2)
    """
    if isinstance(absorption, dict):
        result = _named(absorption)
    elif isinstance(absorption, str):
        result = _six([absorption] * 6)
    elif isinstance(absorption, (list, tuple)) and any(
        isinstance(entry, (str, list, tuple)) for entry in absorption
    ):
        result = _six(absorption)
    else:
        result = _numeric(absorption)
    values = result.values if isinstance(result, BandValues) else result
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(
            "absorption is a share of energy and must lie in [0, 1], got "
            f"{values.tolist()}"
        )
    return result


def band_values(name, given, leading=()):
    """A quantity that is given by octave bands.

    Arguments
    ---------
    name : str
        Of the quantity, for messages.
    given : dict
        "bands", numbers [B] or [*leading, B], and, unless B is seven,
        "centres", B octaves in hertz.
    leading : tuple
        Shape before the bands; one row of bands is then for all.

    Returns
    -------
    BandValues
        Values [*leading, B].

    Raises
    ------
    ValueError
        If keys are missing or unknown, or numbers do not fit.

    Example
    -------
    >>> given = {"bands": [0.6, 0.5], "centres": [500, 1000]}
    >>> band_values("t60", given).centres
    (500.0, 1000.0)
    """
    unknown = set(given) - {"bands", "centres"}
    if unknown or "bands" not in given:
        raise ValueError(
            f"{name} by octaves has the keys bands and centres, got "
            f"{', '.join(map(str, given)) or 'none'}"
        )
    values = finite_numbers(name, given["bands"])
    centres = finite_numbers("centres", given.get("centres", BANDS))
    if not bool((centres[1:] / centres[:-1] > 1.9).all()) or centres.ndim != 1:
        raise ValueError(
            "centres must be octaves in hertz, each twice the one before, got "
            f"{centres.tolist()}"
        )
    shapes = {(len(centres),), (*leading, len(centres))}
    if tuple(values.shape) not in shapes:
        raise ValueError(
            f"bands of {name} must have shape "
            f"{' or '.join(map(str, sorted(shapes, key=len)))} for the centres "
            f"{[round(value) for value in centres.tolist()]} Hz, got "
            f"{tuple(values.shape)}; give centres for others"
        )
    values = values.expand(*leading, len(centres))
    return BandValues(values, tuple(centres.tolist()))


def _numeric(absorption):
    """One value, six walls, or six walls by seven octaves."""
    values = finite_numbers("absorption", absorption)
    if values.ndim == 0:
        return values.expand(6)
    if values.shape == (6,):
        return values
    if values.shape == (6, len(BANDS)):
        return BandValues(values, tuple(map(float, BANDS)))
    raise ValueError(
        "absorption must be one value or six (x0, x1, y0, y1, z0, z1), got "
        f"shape {tuple(values.shape)}; octaves that are alike for all walls "
        "are given as {'bands': [...]}"
    )


def _named(absorption):
    """Bands, or walls by their names."""
    if "bands" in absorption or "centres" in absorption:
        return band_values("absorption", absorption, (6,))
    walls = [None] * 6
    # General names first: the others overrule them.
    for name in sorted(
        absorption, key=lambda name: -len(_GROUPS.get(name, ()))
    ):
        if name not in _GROUPS:
            raise ValueError(
                f"absorption: unknown wall {name!r}; use "
                f"{', '.join(_GROUPS)}, or bands"
            )
        for index in _GROUPS[name]:
            walls[index] = absorption[name]
    missing = [WALLS[i] for i, wall in enumerate(walls) if wall is None]
    if missing:
        raise ValueError(
            f"absorption: nothing given for {', '.join(missing)}; add them, or "
            "all for those not named"
        )
    return _six(walls)


def _six(walls):
    """Six entries, each a number, a name or octaves."""
    if len(walls) != 6:
        raise ValueError(
            "absorption must have six entries (x0, x1, y0, y1, z0, z1), got "
            f"{len(walls)}"
        )
    rows = [_wall(*pair) for pair in zip(WALLS, walls, strict=True)]
    if all(row.ndim == 0 for row in rows):
        return torch.stack(rows)
    rows = [row.expand(len(BANDS)) for row in rows]
    return BandValues(torch.stack(rows), tuple(map(float, BANDS)))


def _wall(name, entry):
    """Absorption of one wall, [] or [7]."""
    if isinstance(entry, str):
        table = material_table()
        if entry not in table:
            close = nearest(entry, table)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ValueError(
                f"absorption of {name}: unknown material {entry!r}{hint} "
                f"({len(table)} have a name, see docs/simulation.md)"
            )
        return torch.tensor(table[entry], dtype=torch.float64)
    values = finite_numbers(f"absorption of {name}", entry)
    if values.shape not in ((), (len(BANDS),)):
        raise ValueError(
            f"absorption of {name} must be a number, a material or "
            f"{len(BANDS)} octaves (125 Hz to 8 kHz), got shape "
            f"{tuple(values.shape)}"
        )
    return values
