"""Directional patterns of microphones and sources."""

from dataclasses import dataclass

import torch

# Pressure part and velocity part of gain = a + b cos(angle).
FIRST_ORDER = {
    "omni": (1.0, 0.0),
    "subcard": (0.75, 0.25),
    "card": (0.5, 0.5),
    "hypcard": (0.25, 0.75),
    "bidir": (0.0, 1.0),
}
PATTERNS = (*FIRST_ORDER, "homni")


@dataclass(frozen=True)
class Patterns:
    """Patterns of several microphones or sources, ready to evaluate.

    Arguments
    ---------
    coefficients : torch.Tensor
        float64 [n, 4]; the gain in direction u is c[0] + c[1:] . u. Unused
        where ``functions`` holds a function.
    functions : tuple
        One entry each: None, or a function from directions [..., 3] to gains.
    looking : torch.Tensor or None
        Unit vectors along which they look, float64 [n, 3], where given.
    """

    coefficients: torch.Tensor
    functions: tuple
    looking: torch.Tensor | None = None

    @property
    def is_omni(self):
        """Whether all gains are one in all directions."""
        omni = self.coefficients.new_tensor([1.0, 0.0, 0.0, 0.0])
        return self.is_first_order and bool((self.coefficients == omni).all())

    @property
    def is_first_order(self):
        """Whether the coefficients say everything."""
        return all(function is None for function in self.functions)

    def gain(self, index, direction):
        """Gain of one of them towards directions.

        Arguments
        ---------
        index : int
            Which one.
        direction : torch.Tensor
            Unit vectors, shape [..., 3].

        Returns
        -------
        torch.Tensor
            Shape [...].

        Raises
        ------
        ValueError
            If a pattern function returns another shape.

        Example
        -------
        >>> front = torch.tensor([1.0, 0.0, 0.0])
        >>> resolve_patterns("card", front, 1).gain(0, front)
        tensor(1.)
        """
        function = self.functions[index]
        if function is None:
            c = self.coefficients[index].to(direction)
            return c[0] + direction @ c[1:]
        gain = torch.as_tensor(function(direction)).to(direction)
        if gain.shape != direction.shape[:-1]:
            raise ValueError(
                "a pattern function must turn directions [..., 3] into gains "
                f"[...]; for {tuple(direction.shape)} it returned "
                f"{tuple(gain.shape)}"
            )
        return gain


def resolve_patterns(pattern, orientation, count, what="microphone"):
    """Turn what a user gives for patterns into numbers.

    Arguments
    ---------
    pattern : str or callable or sequence
        "omni" (1), "subcard" (0.75 + 0.25 cos), "card" (0.5 + 0.5 cos),
        "hypcard" (0.25 + 0.75 cos), "bidir" (cos), "homni" (1 in front, 0
        behind), a function from unit vectors [..., 3] to gains [...], or a
        sequence of these, one for each.
    orientation : torch.Tensor or sequence or None
        Where they look, room frame, [3] for all or [count, 3]; any length
        but zero. Needed by all named patterns except "omni".
    count : int
        Number of microphones or sources.
    what : str
        Word for messages.

    Returns
    -------
    Patterns
        Coefficients and functions.

    Raises
    ------
    ValueError
        If a name is unknown, an orientation is missing, zero or of the wrong
        shape, or the number of patterns is not ``count``.

    Example
    -------
    >>> resolve_patterns("bidir", [0.0, 2.0, 0.0], 1).coefficients
    tensor([[0., 0., 1., 0.]], dtype=torch.float64)
    """
    if isinstance(pattern, str) or callable(pattern):
        pattern = [pattern] * count
    pattern = list(pattern)
    if len(pattern) != count:
        raise ValueError(
            f"{len(pattern)} {what} patterns given for {count} {what}s; give "
            "one for all or one for each"
        )
    looking = _orientations(orientation, count, what)
    coefficients = torch.zeros(count, 4, dtype=torch.float64)
    functions = [None] * count
    for index, entry in enumerate(pattern):
        if callable(entry):
            functions[index] = entry
            continue
        if entry not in PATTERNS:
            raise ValueError(
                f"unknown {what} pattern {entry!r}; use one of "
                f"{', '.join(PATTERNS)} or a function"
            )
        if entry != "omni" and looking is None:
            raise ValueError(
                f"{what} pattern {entry!r} needs {what}_orientation "
                "(a vector, or one for each)"
            )
        if entry == "homni":
            functions[index] = _half_space(looking[index])
            continue
        pressure, velocity = FIRST_ORDER[entry]
        coefficients[index, 0] = pressure
        if velocity:
            coefficients[index, 1:] = velocity * looking[index]
    return Patterns(coefficients, tuple(functions), looking)


def _orientations(orientation, count, what):
    """Unit vectors [count, 3], or None."""
    if orientation is None:
        return None
    looking = torch.as_tensor(orientation, dtype=torch.float64).cpu()
    if looking.shape not in ((3,), (count, 3)):
        raise ValueError(
            f"{what}_orientation must be [3] or [{count}, 3], got "
            f"{tuple(looking.shape)}"
        )
    length = torch.linalg.vector_norm(looking, dim=-1, keepdim=True)
    if not bool(torch.isfinite(length).all()) or bool((length == 0).any()):
        raise ValueError(
            f"{what}_orientation must hold finite vectors of non-zero "
            f"length, got {looking.tolist()}"
        )
    return (looking / length).expand(count, 3)


def _half_space(looking):
    """Gain function that is one in front and zero behind."""

    def gain(direction):
        return (direction @ looking.to(direction) > 0).to(direction.dtype)

    return gain
