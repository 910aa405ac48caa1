"""Which facts tell the trainings of an experiment apart."""

from typing import NamedTuple


class Design(NamedTuple):
    """Facts of a training beside its task and mode: keys of the YAML.

    A training is one of many: every task and mode under several conditions,
    repeated with other data, each with several learning rates. The facts stand
    in ``metrics.json``; folders, tables and averages follow from them.

    Arguments
    ---------
    conditions : tuple of str
        What is varied on purpose; a line of a table each, such as
        ``("num_rooms",)`` or ``("real_sim_ratio",)``.
    repeats : tuple of str
        What is averaged over, such as ``("trial",)`` or ``("fold",)``.
    searched : tuple of str
        What the validation chooses.
    tested : tuple of str
        Those of the conditions and repeats on which the test signals depend,
        such as ``("fold",)`` where each fold tests another room: methods that
        learn nothing have an error for each of their values.

    Example
    -------
    >>> design = Design(("real_sim_ratio",), ("fold",), tested=("fold",))
    >>> design.names
    ('real_sim_ratio', 'fold', 'lr')
    """

    conditions: tuple
    repeats: tuple
    searched: tuple = ("lr",)
    tested: tuple = ()

    @property
    def names(self):
        """All facts, in the order of columns."""
        return (*self.conditions, *self.repeats, *self.searched)

    def values(self, run, names):
        """Some facts of a training.

        Arguments
        ---------
        run : dict
            Content of its ``metrics.json``.
        names : tuple of str
            Which facts.

        Returns
        -------
        tuple

        Raises
        ------
        ValueError
            If the training lacks one: it belongs to another experiment.

        Example
        -------
        >>> Design(("num_rooms",), ("trial",)).values({"trial": 1}, ("trial",))
        (1,)
        """
        missing = [name for name in names if name not in run]
        if missing:
            raise ValueError(
                f"{run.get('folder')}: metrics.json lacks "
                f"{', '.join(missing)}; it is a run of another experiment"
            )
        return tuple(run[name] for name in names)
