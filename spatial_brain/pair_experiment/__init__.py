"""Experiments on signals of two microphones: SAR-SSL on any data.

The recipes are one experiment on different data. A network first learns to
reconstruct one signal from the other (``reconstruction``), then, with labels
of few rooms, quantities of rooms and sources (``acoustics``). A recipe brings
its data sets, what it knows of them, and its hyper-parameters; ``grid`` and
``results`` run and read many trainings.

Items of the data sets are dictionaries: ``id`` (text), ``waveform`` (float32
[time, 2]), ``labels`` (name to a float32 scalar, NaN where it is not known)
and, for the evaluation, ``facts`` (name to text or a number): what is known of
a signal beside its labels, such as ``spacing`` (of the microphones, metres),
``distance``, ``room``, ``array`` and ``corpus``; NaN and "" stand for what is
not known. A label of the task that is not known is refused, never learned.
"""
