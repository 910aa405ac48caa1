"""Reads what SpeechBrain's ``FileTrainLogger`` wrote."""

from pathlib import Path


def read_train_log(path):
    """Numbers of each epoch from a ``train_log.txt``.

    Arguments
    ---------
    path : str or Path
        Lines such as ``epoch: 1, lr: 1e-3 - train loss: 3 - valid loss: 2``.

    Returns
    -------
    list of dict
        One an epoch, ``epoch`` an int, the rest float, under the names of
        the log (``"train loss"``). An epoch that was trained twice (a run
        resumed after a kill) counts once, with its latest line; lines
        without an epoch, such as those of a test, are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train_log.txt"
    >>> _ = path.write_text("epoch: 1, lr: 1e-3 - train loss: 3.0\\n"
    ...                     "Epoch loaded: 1 - test loss: 2.5\\n")
    >>> read_train_log(path)
    [{'epoch': 1, 'lr': 0.001, 'train loss': 3.0}]
    """
    epochs = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        record = {}
        for part in line.replace(" - ", ", ").split(", "):
            name, _, value = part.rpartition(": ")
            try:
                record[name.strip()] = float(value)
            except ValueError:
                continue
        if "epoch" in record:
            record["epoch"] = int(record["epoch"])
            epochs[record["epoch"]] = record
    return [epochs[epoch] for epoch in sorted(epochs)]
