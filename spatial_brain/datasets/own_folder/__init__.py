"""A user's own folder of data, for the recipes in ``templates/``.

What there is, is found, checked and described in one line of the log; which
recordings are for training, validation and test is never guessed.
"""
