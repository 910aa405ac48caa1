"""HyperPyYAML for files from strangers.

HyperPyYAML can call anything: ``!apply:`` runs a function, ``!new:`` any
class, a plain ``(...)`` is read by a loader which obeys Python tags, and a
name may reach through one module into another
(``torch.nn.modules.warnings.sys``). Here the tags are checked before anything
is built, and what is built comes from a short list of packages and must have
been defined there.
"""

import ast
import functools
import inspect
import pydoc
import re

import ruamel.yaml
from hyperpyyaml import resolve_references
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

ALLOWED_PREFIXES = (
    "spatial_brain.geometry.",
    "spatial_brain.models.",
    "spatial_brain.nnet.",
    "spatial_brain.processing.",
    "speechbrain.lobes.features.",
    "speechbrain.lobes.models.conv_tasnet.",
    "speechbrain.lobes.models.convolution.",
    "speechbrain.lobes.models.dual_path.",
    "speechbrain.nnet.",
    "speechbrain.processing.features.",
    "torch.nn.",
    "torch._C._nn.",  # where torch.nn.functional.gelu and others come from
)
PLAIN_TAGS = {"!ref", "!copy", "!tuple"} | {
    f"tag:yaml.org,2002:{kind}"
    for kind in "map seq str int float bool null merge".split()
}
OBJECT_TAGS = ("!new:", "!name:")


def load_safe_yaml(text, name, overrides=None, must_match=True, allowed=()):
    """Build what an inference YAML describes, and nothing else.

    Arguments
    ---------
    text : str
        HyperPyYAML with the tags ``!new:``, ``!name:``, ``!ref``, ``!copy``
        and ``!tuple`` only.
    name : str
        Name of the file for error messages.
    overrides : dict or str, optional
        Replacements, as HyperPyYAML takes them.
    must_match : bool
        Whether overriding a key that does not exist is an error.
    allowed : sequence of str
        Packages to trust beside ``ALLOWED_PREFIXES``, such as
        ``"my_package."``; their code is run.

    Returns
    -------
    dict
        Values and objects by key.

    Raises
    ------
    ValueError
        For another tag, a class from elsewhere, or invalid YAML, with file,
        line and class.

    Example
    -------
    >>> text = "size: 3\\nnet: !new:torch.nn.Linear [!ref <size>, 2]"
    >>> load_safe_yaml(text, "a.yaml")["net"]
    Linear(in_features=3, out_features=2, bias=True)
    >>> load_safe_yaml("x: !apply:os.getcwd []", "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml, line 1: the tag '!apply:os.getcwd' is not allowed ...
    """
    allowed = [allowed] if isinstance(allowed, str) else allowed
    # With the dot, lest another package begins with the same letters.
    own = tuple(f"{package.removesuffix('.')}." for package in allowed)
    if own:
        logger.warning("%s: runs code of %s", name, ", ".join(own))
    prefixes = ALLOWED_PREFIXES + own
    check_tags(text, name, prefixes)
    try:
        resolved = resolve_references(text, overrides, must_match).getvalue()
    except (ruamel.yaml.YAMLError, ValueError, KeyError) as error:
        raise ValueError(f"{name}: {_message(error)}") from error
    loader = _SafeLoader(resolved)
    loader.file_name, loader.prefixes = name, prefixes
    try:
        content = loader.get_single_data()
    except ruamel.yaml.YAMLError as error:
        raise ValueError(f"{name}: {error}") from error
    finally:
        loader.dispose()
    return content


def check_tags(text, name, prefixes=ALLOWED_PREFIXES):
    """Refuse every tag that could do more than build a known object.

    Arguments
    ---------
    text : str
        HyperPyYAML text; nothing of it is built.
    name : str
        Name of the file for error messages.
    prefixes : sequence of str
        Beginnings of the class and function names to accept.

    Raises
    ------
    ValueError
        For invalid YAML, a file that is no mapping, or a tag that is not
        allowed, with file, line and tag.

    Example
    -------
    >>> check_tags("net: !new:torch.nn.Linear [1, 2]", "a.yaml")
    >>> check_tags("run: !new:subprocess.Popen [ls]", "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml, line 1: 'subprocess.Popen' is not in a package ...
    """
    try:
        root = ruamel.yaml.YAML().compose(text)
    except ruamel.yaml.YAMLError as error:
        raise ValueError(f"{name} is no valid YAML: {error}") from error
    if not isinstance(root, ruamel.yaml.MappingNode):
        raise ValueError(f"{name} does not hold 'key: value' lines")
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        _check_tag(node, name, prefixes)
        if isinstance(node, ruamel.yaml.MappingNode):
            waiting.extend(part for pair in node.value for part in pair)
        elif isinstance(node, ruamel.yaml.SequenceNode):
            waiting.extend(node.value)


def _check_tag(node, name, prefixes):
    """Raise ValueError if the tag of one node is not allowed."""
    tag = str(node.tag)
    where = f"{name}, line {node.start_mark.line + 1}"
    if tag in PLAIN_TAGS:
        return
    if not tag.startswith(OBJECT_TAGS):
        raise ValueError(
            f"{where}: the tag '{tag}' is not allowed in a pretrained model; "
            "it may use !new:, !name:, !ref, !copy and !tuple only"
        )
    locate(tag.split(":", 1)[1], where, tuple(prefixes))


def locate(path, where, prefixes=ALLOWED_PREFIXES):
    """Find a class or function by its name, if it may be used.

    Arguments
    ---------
    path : str
        Dotted name, such as ``"torch.nn.Linear"``.
    where : str
        Place of the name for error messages.
    prefixes : tuple of str
        Beginnings of the names to accept.

    Returns
    -------
    type or callable
        What bears the name.

    Raises
    ------
    ValueError
        If there is no such class or function, or if it comes from elsewhere.

    Example
    -------
    >>> locate("torch.nn.Linear", "here")
    <class 'torch.nn.modules.linear.Linear'>
    >>> locate("torch.nn.modules.module.torch.load", "here")
    Traceback (most recent call last):
    ...
    ValueError: here: 'torch.nn.modules.module.torch.load' is really ...
    """
    if not path.startswith(prefixes):
        raise ValueError(
            f"{where}: '{path}' is not in a package that pretrained models "
            "may use; if it is your own and you trust it, add it: --allow "
            "my_package. (allowed=['my_package.'])"
        )
    try:
        found = pydoc.locate(path)
    except pydoc.ErrorDuringImport as error:
        raise ValueError(f"{where}: cannot import '{path}': {error}") from error
    if found is None:
        raise ValueError(
            f"{where}: there is no class or function '{path}' (a package of "
            "your own must be installed, or in the current folder)"
        )
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        raise ValueError(f"{where}: '{path}' is no class or function")
    # A module's attributes include the modules and functions it imports.
    home = f"{getattr(found, '__module__', None)}."
    if not home.startswith(prefixes):
        raise ValueError(
            f"{where}: '{path}' is really {home}{found.__name__}, which "
            "pretrained models may not use"
        )
    return found


def _arguments(loader, node):
    """Positional and named arguments below a tag."""
    if isinstance(node, ruamel.yaml.MappingNode):
        return [], loader.construct_mapping(node, deep=True)
    if isinstance(node, ruamel.yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True), {}
    return [], {}


def _new(loader, path, node):
    """Build an object (``!new:``)."""
    cls = locate(path, loader.file_name, loader.prefixes)
    if not inspect.isclass(cls):
        raise ValueError(f"{loader.file_name}: !new:{path} is not a class")
    args, kwargs = _arguments(loader, node)
    try:
        return cls(*args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"{loader.file_name}: wrong arguments for {path}: {error}"
        ) from error


def _name(loader, path, node):
    """Give a class or function, with arguments bound (``!name:``)."""
    found = locate(path, loader.file_name, loader.prefixes)
    args, kwargs = _arguments(loader, node)
    return (
        functools.partial(found, *args, **kwargs) if args or kwargs else found
    )


def _tuple(loader, node):
    """Read ``(1, 2)`` as a tuple of plain values."""
    content = loader.construct_scalar(node)
    try:
        return tuple(ast.literal_eval(content))
    except (ValueError, SyntaxError, TypeError) as error:
        raise ValueError(
            f"{loader.file_name}: '{content}' is no tuple of plain values"
        ) from error


def _unknown(loader, node):
    """Refuse all other tags, also those that references brought in."""
    raise ValueError(
        f"{loader.file_name}: the tag '{node.tag}' is not allowed in a "
        "pretrained model (attributes cannot be referred to)"
    )


class _SafeLoader(ruamel.yaml.SafeLoader):
    """Builds plain values and the objects of allowed packages."""


_SafeLoader.add_multi_constructor("!new:", _new)
_SafeLoader.add_multi_constructor("!name:", _name)
_SafeLoader.add_constructor("!tuple", _tuple)
_SafeLoader.add_implicit_resolver("!tuple", re.compile(r"^\(.*\)$"), ["("])
_SafeLoader.add_constructor(None, _unknown)


def _message(error):
    """Text of an exception without the quotes of ``KeyError``."""
    return " ".join(str(part) for part in error.args) or str(error)
