"""Loss of networks that predict quantiles."""

import torch


def pinball_loss(predictions, labels, probabilities=(0.05, 0.5, 0.95)):
    """Pinball loss, least where each prediction is its quantile.

    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46, 1978:
    p times what the label lies above the prediction, 1 - p times what it lies
    below.

    Arguments
    ---------
    predictions : torch.Tensor
        [..., quantile].
    labels : torch.Tensor
        [...].
    probabilities : sequence of float
        Of the quantiles.

    Returns
    -------
    torch.Tensor
        Scalar, mean over everything.

    Example
    -------
    >>> predictions = torch.tensor([[0.0, 1.0, 2.0]])
    >>> pinball_loss(predictions, torch.tensor([1.0])).round(decimals=4)
    tensor(0.0333)
    """
    above = labels[..., None] - predictions
    share = above.new_tensor(probabilities)
    return torch.maximum(share * above, (share - 1) * above).mean()
