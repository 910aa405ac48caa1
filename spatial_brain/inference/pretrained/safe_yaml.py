"""HyperPyYAML for files from strangers.

HyperPyYAML can call anything: ``!apply:`` runs a function, ``!new:`` any
class, references are computed like programs, and a name may reach through one
module into another (``torch.nn.modules.warnings.sys``). Even a package of
harmless blocks is no safe ground: some call what they are given. Here a file
holds plain values and builds the classes of a closed list of exact names
(:mod:`spatial_brain.loadable`); a reference is the name of a key. Depth,
length and the number of values are bounded, references counted out.
"""

import ast
import copy
import functools
import importlib
import inspect
import io
import logging
import re
import sys

import ruamel.yaml
import torch
from torch.nn.modules.module import register_module_module_registration_hook

from spatial_brain.loadable import LOADABLE
from spatial_brain.suggestions import nearest

logger = logging.getLogger(__name__)

OWN_PACKAGES = (
    "spatial_brain.models.",
    "spatial_brain.nnet.",
    "spatial_brain.processing.",
)
# With these and the standard library one can do anything: what is allowed is
# better a package that holds networks alone.
_GENERAL_PACKAGES = frozenset(
    """
    spatial_brain torch torchaudio torchvision numpy scipy speechbrain
    hyperpyyaml ruamel yaml huggingface_hub safetensors soundfile matplotlib
    setuptools pkg_resources pip pytest
    """.split()
)
PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}"
    for kind in "map seq str int float bool null merge".split()
}
OBJECT_TAGS = ("!new:", "!name:")
REFERENCE_TAGS = ("!ref", "!copy")
# A file of ours has a thousand characters, some fifty values, five levels.
MAX_LENGTH = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 30
# Integers: no size of a network or transform, and no rate, is larger.
MAX_NUMBER = 10**8
MAX_PARAMETERS = 2 * 10**8
MAX_MODULES = 5_000
# Type of a default value: types of what may replace it.
_KINDS = {
    int: (int,),
    float: (int, float),
    bool: (bool,),
    str: (str,),
}
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_REFERENCE = re.compile(r"\s*<(\w+)((?:\[\w+\])*)>\s*")


def load_safe_yaml(text, name, overrides=None, must_match=True, allowed=()):
    """Build what an inference YAML describes, and nothing else.

    Arguments
    ---------
    text : str
        HyperPyYAML with the tags ``!new:``, ``!name:``, ``!ref <key>``,
        ``!copy <key>`` and ``!tuple`` only.
    name : str
        Name of the file for error messages.
    overrides : dict or str, optional
        Replacements for values, as HyperPyYAML takes them.
    must_match : bool
        Whether overriding a key that does not exist is an error.
    allowed : sequence of str
        Packages to trust beside the closed list, such as ``"my_package."``:
        their code runs, with whatever arguments the file gives.

    Returns
    -------
    dict
        Values and objects by key.

    Raises
    ------
    ValueError
        For another tag, a class from elsewhere, arguments that a class does
        not take, a file that is too long or too deep, or invalid YAML; with
        file, line and class.

    Example
    -------
    >>> text = "size: 9\\nfeatures: !new:spatial_brain.processing.pair_spectra."
    >>> text += "PairSpectra {n_fft: 512, hop_length: 256}"
    >>> load_safe_yaml(text, "a.yaml")["size"]
    9
    >>> load_safe_yaml("x: !apply:os.getcwd []", "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml, line 1: the tag '!apply:os.getcwd' is not allowed ...
    """
    allowed = _checked_packages(allowed)
    root = _compose(text, name)
    if overrides:
        if isinstance(overrides, dict):
            overrides = _dumped(overrides)
        _override(
            root,
            _compose(overrides, "overrides"),
            name,
            must_match,
            "overrides",
        )
    root = _References(root, name).resolved()
    _check_size(root, name)
    trusted = _check_nodes(root, name, allowed)
    if trusted:
        logger.warning(
            "%s: runs code of %s, as allowed", name, ", ".join(trusted)
        )
    loader = _SafeLoader("")
    loader.file_name, loader.allowed = name, allowed
    # Else a list that two keys share is still empty where it is an argument.
    loader.deep_construct = True
    try:
        return loader.construct_document(root)
    except ruamel.yaml.YAMLError as error:
        raise ValueError(f"{name}: {_one_line(error)}") from error
    except RecursionError as error:
        raise ValueError(f"{name}: nested too deeply") from error
    finally:
        loader.dispose()


def check_tags(text, name):
    """Refuse every tag that could do more than build an object.

    Names of classes are not looked up: the user's own are named in ``allowed``
    when the model is loaded.

    Arguments
    ---------
    text : str
        HyperPyYAML text; nothing of it is built.
    name : str
        Name of the file for error messages.

    Raises
    ------
    ValueError
        For invalid YAML, a file that is no mapping, or a tag that is not
        allowed, with file, line and tag.

    Example
    -------
    >>> check_tags("net: !new:torch.nn.Linear [1, 2]", "a.yaml")
    >>> check_tags("run: !apply:os.getcwd []", "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml, line 1: the tag '!apply:os.getcwd' is not allowed ...
    """
    _check_nodes(_compose(text, name), name, allowed=None)


def _checked_packages(allowed):
    """Packages that the user trusts, each as ``"package."``."""
    allowed = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    for package in allowed:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.?", package):
            raise ValueError(
                f"allowed: {package!r} is no name of a package, such as "
                "'my_package.'"
            )
    return tuple(f"{package.rstrip('.')}." for package in allowed)


def _compose(text, name):
    """Nodes of a YAML text; nothing is built."""
    if len(text) > MAX_LENGTH:
        raise ValueError(
            f"{name}: {len(text):,} characters are more than a model's "
            f"description has (at most {MAX_LENGTH:,})"
        )
    try:
        loader = _SafeLoader(text)
        root = loader.get_single_node()
    except (ruamel.yaml.YAMLError, ValueError) as error:
        raise ValueError(
            f"{name} is no valid YAML: {_one_line(error)}"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{name}: nested too deeply") from error
    if not isinstance(root, ruamel.yaml.MappingNode) or _is_object(root):
        raise ValueError(f"{name} does not hold 'key: value' lines")
    for key, _ in root.value:
        if not _is_text(key):
            raise ValueError(
                f"{_where(key, name)}: a key must be a name, found "
                f"'{getattr(key, 'value', '')!s:.40}'"
            )
    return root


def _dumped(overrides):
    """YAML text of a dictionary of plain values."""
    stream = io.StringIO()
    try:
        ruamel.yaml.YAML(typ="safe", pure=True).dump(overrides, stream)
    except ruamel.yaml.YAMLError as error:
        raise ValueError(
            f"overrides must be plain values or a YAML text: {error}"
        ) from error
    return stream.getvalue()


def _override(node, new, name, must_match, where):
    """Replace values below a mapping node by those of another."""
    keys = {key.value: i for i, (key, _) in enumerate(node.value)}
    for key, value in new.value:
        if key.value in keys:
            old = node.value[keys[key.value]][1]
            both = isinstance(old, ruamel.yaml.MappingNode) and isinstance(
                value, ruamel.yaml.MappingNode
            )
            if both and not _is_object(value):
                _override(old, value, name, must_match, f"{where}: {key.value}")
            else:
                node.value[keys[key.value]] = (key, value)
        elif must_match:
            close = nearest(str(key.value), [str(known) for known in keys])
            hint = f"; did you mean {close}?" if close else ""
            raise ValueError(f"{where}: {name} has no key '{key.value}'{hint}")
        else:
            node.value.append((key, value))


class _References:
    """Puts the nodes of keys in the place of references to them."""

    def __init__(self, root, name):
        self.root, self.name = root, name
        self.active, self.done, self.copied = set(), set(), 0

    def resolved(self):
        """The root, without references."""
        try:
            self._walk(self.root)
        except RecursionError as error:
            raise ValueError(f"{self.name}: nested too deeply") from error
        return self.root

    def _walk(self, node):
        """Replace references below a node; anchors are walked once."""
        if id(node) in self.active:
            raise ValueError(
                f"{_where(node, self.name)}: a value contains itself"
            )
        if id(node) in self.done:
            return
        self.active.add(id(node))
        if isinstance(node, ruamel.yaml.MappingNode):
            node.value = [(k, self._target(v)) for k, v in node.value]
        elif isinstance(node, ruamel.yaml.SequenceNode):
            node.value = [self._target(value) for value in node.value]
        self.active.discard(id(node))
        self.done.add(id(node))

    def _target(self, node):
        """What a node stands for."""
        if node.tag not in REFERENCE_TAGS:
            self._walk(node)
            return node
        where = _where(node, self.name)
        match = isinstance(node.value, str) and _REFERENCE.fullmatch(node.value)
        if not match:
            raise ValueError(
                f"{where}: a reference is the name of one key, "
                f"{node.tag} <key>; write the value of "
                f"'{node.value!s:.60}' itself (nothing is computed, and "
                "attributes cannot be referred to)"
            )
        found = self.root
        for key in (match[1], *re.findall(r"\w+", match[2])):
            pairs = (
                found.value
                if isinstance(found, ruamel.yaml.MappingNode)
                else ()
            )
            found = next((v for k, v in pairs if k.value == key), None)
            if found is None:
                raise ValueError(f"{where}: there is no key {node.value}")
        found = self._target(found)
        if node.tag == "!copy":
            self.copied += _size(found, self.name)
            if self.copied > MAX_VALUES:
                raise ValueError(
                    f"{where}: more than {MAX_VALUES:,} values, copies included"
                )
            return copy.deepcopy(found)
        return found


def _size(node, name, sizes=None, depth=0):
    """Values below a node, every use of an anchor counted."""
    sizes = {} if sizes is None else sizes
    if depth > MAX_DEPTH:
        raise ValueError(
            f"{_where(node, name)}: nested more than {MAX_DEPTH} levels deep"
        )
    if id(node) not in sizes:
        parts = ()
        if isinstance(node, ruamel.yaml.MappingNode):
            parts = (part for pair in node.value for part in pair)
        elif isinstance(node, ruamel.yaml.SequenceNode):
            parts = node.value
        sizes[id(node)] = 1 + sum(
            _size(part, name, sizes, depth + 1) for part in parts
        )
    return sizes[id(node)]


def _check_size(root, name):
    """Refuse a file that holds more than a model's description."""
    size = _size(root, name)
    if size > MAX_VALUES:
        raise ValueError(
            f"{name}: {size:,} values, references included, are more than a "
            f"model's description has (at most {MAX_VALUES:,})"
        )


def _check_nodes(root, name, allowed):
    """Check tags and names, found unless ``allowed`` is None; trusted ones."""
    seen, waiting, trusted = set(), [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        path = _check_node(node, name, allowed)
        if path and allowed and path.startswith(allowed):
            trusted.add(path)
        if isinstance(node, ruamel.yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
            waiting.extend(reversed(parts))
            _check_keys(node, name)
            if _is_object(node) and not all(_is_text(k) for k, _ in node.value):
                raise ValueError(
                    f"{_where(node, name)}: names of arguments must be text"
                )
        elif isinstance(node, ruamel.yaml.SequenceNode):
            waiting.extend(reversed(node.value))
    return sorted(trusted)


def _check_keys(node, name):
    """Refuse a key that is twice in one mapping."""
    seen = set()
    for key, _ in node.value:
        if key.tag.endswith(":str") and key.value in seen:
            raise ValueError(
                f"{_where(key, name)}: '{key.value:.60}' is there twice"
            )
        seen.add(str(key.value))


def _check_node(node, name, allowed):
    """Refuse a tag that is not allowed; name of the class, if any."""
    tag, where = str(node.tag), _where(node, name)
    if tag in PLAIN_TAGS or tag == "!tuple":
        if tag.endswith(":int") and len(node.value) > 20:
            raise ValueError(f"{where}: a number of {len(node.value)} digits")
        return None
    if tag in REFERENCE_TAGS:
        if allowed is None:
            return None
        raise ValueError(f"{where}: a reference cannot be a key")
    if not tag.startswith(OBJECT_TAGS):
        raise ValueError(
            f"{where}: the tag '{tag}' is not allowed in a pretrained model; "
            "it may use !new:, !name:, !ref, !copy and !tuple only"
        )
    path = tag.split(":", 1)[1]
    if not _NAME.fullmatch(path):
        raise ValueError(f"{where}: '{path:.60}' is no name of a class")
    if allowed is not None:
        _locate(path, where, allowed)
    return path


def _locate(path, where, allowed):
    """Find a class or function by its exact name, if it may be used."""
    module, _, attribute = path.rpartition(".")
    trusted = path.startswith(allowed)
    if not trusted and not path.startswith(OWN_PACKAGES):
        package = path.split(".")[0]
        remedy = (
            f" If you trust it, allow its package (allowed=['{package}.'] in "
            f"Python, --allow {package}. on the command line): that runs code "
            "of that package"
        )
        if package in sys.stdlib_module_names or package in _GENERAL_PACKAGES:
            remedy = (
                " Get the model from somebody you trust, or write a class of "
                "your own in a package of your own that does the same"
            )
        raise ValueError(
            f"{where}: '{path}' is not on the list of what pretrained models "
            f"may use.{remedy}"
        )
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise ValueError(
            f"{where}: cannot import '{path}': {error} (a package of your own "
            "must be installed, or in the current folder)"
        ) from error
    if found is None:
        raise ValueError(f"{where}: there is no class or function '{path}'")
    if not trusted:
        if not any(found is thing for thing in LOADABLE.values()):
            raise ValueError(
                f"{where}: '{path}' is not on the list of what pretrained "
                "models may use"
            )
        return found
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        raise ValueError(f"{where}: '{path}' is no class or function")
    # A module's attributes include what it imports.
    home = f"{getattr(found, '__module__', None)}."
    if not home.startswith((*allowed, *OWN_PACKAGES)):
        raise ValueError(
            f"{where}: '{path}' is really {home}{found.__name__}, of a "
            "package that is not allowed"
        )
    return found


def _where(node, name):
    """File and line of a node."""
    return f"{name}, line {node.start_mark.line + 1}"


def _one_line(error):
    """Message of an error of a library, which may span lines."""
    return f"{' '.join(str(error).split()):.400}"


def _is_text(node):
    return (
        isinstance(node, ruamel.yaml.ScalarNode)
        and node.tag == "tag:yaml.org,2002:str"
    )


def _is_object(node):
    return str(node.tag).startswith(OBJECT_TAGS)


def _arguments(loader, node):
    """Positional and named arguments below a tag."""
    if isinstance(node, ruamel.yaml.MappingNode):
        args, kwargs = [], loader.construct_mapping(node, deep=True)
    elif isinstance(node, ruamel.yaml.SequenceNode):
        args, kwargs = loader.construct_sequence(node, deep=True), {}
    elif node.value.strip():
        raise ValueError(
            f"{_where(node, loader.file_name)}: arguments of {node.tag} must "
            f"be a list or 'name: value' lines, found '{node.value!s:.40}'"
        )
    else:
        args, kwargs = [], {}
    _check_numbers([*args, *kwargs.values()], _where(node, loader.file_name))
    return args, kwargs


def _check_numbers(values, where):
    """Refuse numbers which no argument of a network has."""
    for value in values:
        if isinstance(value, (list, tuple)):
            _check_numbers(value, where)
        elif isinstance(value, dict):
            _check_numbers(value.values(), where)
        elif isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER:
            raise ValueError(
                f"{where}: {value} is no size, rate or level of a network "
                f"(at most {MAX_NUMBER:,})"
            )


def _new(loader, path, node):
    """Build an object (``!new:``)."""
    where = _where(node, loader.file_name)
    cls = _locate(path, where, loader.allowed)
    if not inspect.isclass(cls):
        raise ValueError(f"{where}: !new:{path} is not a class")
    args, kwargs = _arguments(loader, node)
    if not path.startswith(loader.allowed):
        _check_arguments(cls, args, kwargs, f"{where}: {path}")
        _check_parameters(cls, args, kwargs, where)
    try:
        return cls(*args, **kwargs)
    # Whatever a stranger's arguments provoke is a fault of the file.
    except Exception as error:
        raise ValueError(
            f"{where}: wrong arguments for {path}: "
            f"{type(error).__name__}: {_one_line(error)}"
        ) from error


def _check_arguments(thing, args, kwargs, where):
    """Refuse arguments of another kind than the default that they replace."""
    parameters = inspect.signature(thing).parameters
    for name, value in [*zip(parameters, args, strict=False), *kwargs.items()]:
        default = getattr(parameters.get(name), "default", None)
        kinds = _KINDS.get(type(default))
        if kinds and type(value) not in kinds:
            raise ValueError(
                f"{where}: {name} must be of the kind of {default!r}, found "
                f"{str(value)[:60]!r}"
            )


def _check_parameters(cls, args, kwargs, where):
    """Refuse a network that would not fit into memory, before it is built."""
    modules = []

    def count(*_):
        modules.append(1)
        if len(modules) > MAX_MODULES:
            raise _TooManyModules

    hook = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            module = cls(*args, **kwargs)
        if not isinstance(module, torch.nn.Module):
            return
        number = sum(tensor.numel() for tensor in module.state_dict().values())
    except _TooManyModules as error:
        raise ValueError(
            f"{where}: more than {MAX_MODULES:,} layers, which no network here "
            "has"
        ) from error
    except Exception as error:
        # Construction that looks at values is left to the class itself.
        if "meta" in str(error):
            return
        raise ValueError(
            f"{where}: wrong arguments for {cls.__name__}: "
            f"{type(error).__name__}: {_one_line(error)}"
        ) from error
    finally:
        hook.remove()
    if number > MAX_PARAMETERS:
        raise ValueError(
            f"{where}: {number:,} parameters are more than a network here has "
            f"(at most {MAX_PARAMETERS:,})"
        )


def _name(loader, path, node):
    """Give a class or function, with arguments bound (``!name:``)."""
    where = _where(node, loader.file_name)
    found = _locate(path, where, loader.allowed)
    args, kwargs = _arguments(loader, node)
    if not path.startswith(loader.allowed):
        _check_arguments(found, args, kwargs, f"{where}: {path}")
    try:
        inspect.signature(found).bind_partial(*args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"{where}: wrong arguments for {path}: {error}"
        ) from error
    except ValueError:
        pass  # without a signature, written in C
    return (
        functools.partial(found, *args, **kwargs) if args or kwargs else found
    )


def _tuple(loader, node):
    """Read ``(1, 2)`` as a tuple of plain values."""
    content = loader.construct_scalar(node)
    try:
        return tuple(ast.literal_eval(content))
    except (ValueError, SyntaxError, TypeError, MemoryError) as error:
        raise ValueError(
            f"{_where(node, loader.file_name)}: '{content:.60}' is no tuple "
            "of plain values"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{loader.file_name}: nested too deeply") from error


class _TooManyModules(Exception):
    """A network would have layers without end."""


class _SafeLoader(ruamel.yaml.SafeLoader):
    """Builds plain values and the objects of the closed list."""


_SafeLoader.add_multi_constructor("!new:", _new)
_SafeLoader.add_multi_constructor("!name:", _name)
_SafeLoader.add_constructor("!tuple", _tuple)
_SafeLoader.add_implicit_resolver("!tuple", re.compile(r"^\(.*\)$"), ["("])
