"""Parts of meetings in which one person speaks, from TextGrids."""

import textgrid


def read_sentences(path):
    """Times of all sentences of all speakers.

    Arguments
    ---------
    path : str or Path
        TextGrid with a tier a speaker.

    Returns
    -------
    list of tuple of float
        Start and end of each, seconds, sorted by start; intervals without
        text are none.

    Raises
    ------
    ValueError
        If it is no TextGrid; the file is named.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.TextGrid"
    >>> tier = textgrid.IntervalTier("ann", 0, 9)
    >>> tier.add(1, 2, "yes")
    >>> grid = textgrid.TextGrid("a", 0, 9)
    >>> grid.append(tier)
    >>> grid.write(path)
    >>> read_sentences(path)
    [(1.0, 2.0)]
    """
    try:
        grid = textgrid.TextGrid.fromFile(str(path))
    # The library checks little: a cut file ends in whatever it stumbles on.
    except Exception as problem:
        raise ValueError(
            f"{path}: cannot be read as a TextGrid ({problem}); copy it again"
        ) from problem
    tiers = [tier for tier in grid if isinstance(tier, textgrid.IntervalTier)]
    return sorted(
        (float(one.minTime), float(one.maxTime))
        for tier in tiers
        for one in tier
        if one.mark.strip()
    )


def single_speaker_intervals(sentences, duration, skip_last=False):
    """Parts of a recording with one speaker at most.

    Around each sentence: from the latest end of those that start before it to
    the start of the next.

    Arguments
    ---------
    sentences : list of tuple of float
        Start and end, seconds, sorted by start.
    duration : float
        Of the recording, seconds; the part of the last sentence ends there.
    skip_last : bool
        As SAR-SSL: leave out the last sentence, and parts that do not end
        within the recording.

    Returns
    -------
    tuple of tuple of float
        Start and end of each part, seconds. Neighbours share their pauses.

    Example
    -------
    >>> single_speaker_intervals([(1, 4), (5, 9), (8, 12)], 20)
    ((0.0, 5), (4, 8), (9, 20))
    """
    intervals = []
    latest = 0.0
    for number, (_, end) in enumerate(sentences, 1):
        if number < len(sentences):
            stop = sentences[number][0]
        else:
            stop = 0.0 if skip_last else duration
        if not skip_last:
            stop = min(stop, duration)
        if latest < stop and (stop < duration or not skip_last):
            intervals.append((latest, stop))
        latest = max(latest, end)
    return tuple(intervals)
