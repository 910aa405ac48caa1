"""Upload a trained model to a hub: its files, its card and a page of it."""

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from spatial_brain.inference.pretrained.source import HUB_ID
from spatial_brain.inference.publishing.contents import contents

# That of the HTTP library, whichever the hub's own uses.
_HTTPError = HfHubHTTPError.__bases__[0]


def publish_model(
    folder,
    repo,
    *,
    licence=None,
    token=None,
    private=False,
    revision=None,
):
    """Upload a model to the hub, in one commit: all of it or nothing.

    Files that are there already are not sent again, so that a call after a
    failure goes on where it ended.

    Arguments
    ---------
    folder : str or Path
        Pretrained folder, or output folder of a run.
    repo : str
        ``"organisation/name"``; made if it is not there.
    licence : str, optional
        As for ``contents``.
    token : str, optional
        With the right to write; default: that of ``hf auth login`` or of the
        environment variable HF_TOKEN.
    private : bool
        Whether a new repository is private.
    revision : str, optional
        Branch; made if it is not there. Default: main.

    Returns
    -------
    str
        Identity of the commit, a ``revision`` for ``from_hparams``.

    Raises
    ------
    ValueError
        As ``contents``; or if the hub refuses.

    Example
    -------
    >>> publish_model("./nowhere", "nowhere")
    Traceback (most recent call last):
    ...
    ValueError: 'nowhere' is no name such as organisation/name
    """
    if not HUB_ID.fullmatch(repo):
        raise ValueError(f"{repo!r} is no name such as organisation/name")
    operations = [
        CommitOperationAdd(name, content)
        for name, content in contents(folder, repo, licence).items()
    ]
    # None would be an anonymous call where nobody has logged in.
    hub = HfApi(token=True if token is None else token)
    try:
        hub.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            hub.create_branch(repo, branch=revision, exist_ok=True)
        done = hub.create_commit(
            repo,
            operations,
            commit_message="Model, card and page",
            revision=revision,
        )
    except LocalTokenNotFoundError as error:
        raise ValueError(
            "the hub wants to know who you are: log in (hf auth login), set "
            "HF_TOKEN or give --token"
        ) from error
    except (_HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{hub.endpoint} did not take {repo}: {type(error).__name__}: "
            f"{reason}; the same command goes on where it ended"
        ) from error
    return done.oid
