"""Recipes and templates: list them, copy one into a folder of your own.

A copy is complete: change its YAML, its model, its data, and start it with
``python train.py hparams/mini.yaml`` in its folder.
"""

import re
import shutil
import tempfile
from pathlib import Path

import spatial_brain
from spatial_brain.folders import find_files, find_folders
from spatial_brain.suggestions import nearest

HELP = "list recipes and templates, or copy one into a folder"
_SUFFIXES = (".py", ".yaml", ".md")
_KINDS = ("recipes", "templates")


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("action", choices=("list", "copy"))
    parser.add_argument("name", nargs="?", help="such as STARSS23")
    parser.add_argument("folder", nargs="?", help="new folder of the copy")


def run(args):
    """List the recipes, or copy one.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    found = find_recipes()
    if args.action == "list":
        if args.name is not None:
            raise ValueError(f"list takes no name such as {args.name}")
        print(_table(found))
        return
    if args.name is None or args.folder is None:
        raise ValueError("give a recipe and a new folder: recipe copy NAME DIR")
    if args.name not in found:
        likely = nearest(args.name, list(found))
        hint = f"did you mean {likely}?" if likely else "see recipe list"
        raise ValueError(f"no recipe {args.name}; {hint}")
    copy_recipe(found[args.name], args.folder)
    print(f"{args.name} -> {args.folder}")
    for line in _references(Path(args.folder)):
        print(f"names another recipe's folder: {line}")
    if (Path(args.folder) / "hparams" / "mini.yaml").is_file():
        print(f"cd {args.folder} && python train.py hparams/mini.yaml")


def find_recipes():
    """Recipes and templates of this installation.

    Returns
    -------
    dict of str to Path
        Name, such as ``STARSS23`` or ``templates/seld``, to its folder.

    Raises
    ------
    FileNotFoundError
        If the package was built without them.

    Example
    -------
    >>> {"STARSS23", "templates/seld"} <= set(find_recipes())
    True
    """
    package = Path(spatial_brain.__file__).parent
    found = {}
    for kind in _KINDS:
        # In an installed package, or in a checkout beside the package.
        places = (package / kind, package.parent / kind)
        place = next((one for one in places if one.is_dir()), None)
        if place is None:
            raise FileNotFoundError(
                f"{package}: this installation has no {kind}; install the "
                "package again, or use a checkout"
            )
        for folder in find_folders(place):
            if (folder / "train.py").is_file():
                prefix = "templates/" if kind == "templates" else ""
                found[prefix + folder.name] = folder
    return found


def copy_recipe(source, folder):
    """Copy a recipe, without what its runs have left.

    Arguments
    ---------
    source : str or Path
        Folder of the recipe.
    folder : str or Path
        New or empty; all of it is there, or nothing.

    Raises
    ------
    FileExistsError
        If there is something in ``folder``.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "mine"
    >>> copy_recipe(find_recipes()["templates/seld"], folder)
    >>> (folder / "train.py").is_file()
    True
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder}: there is something already; name a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    files = find_files(source, _SUFFIXES, skip="results")
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}."
    ) as temporary:
        whole = Path(temporary, "copy")
        for path in files:
            target = whole / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        whole.replace(folder)


def _table(found):
    """Names, YAML files and titles as text."""
    lines = []
    for name, folder in found.items():
        text = (folder / "README.md").read_text(encoding="utf-8")
        title = text.splitlines()[0].lstrip("# ")
        files = sorted(path.stem for path in folder.glob("hparams/*.yaml"))
        lines += [f"{name}: {title}"]
        lines += [f"    hparams: {', '.join(files)}"] * bool(files)
    lines += ["", "spatial-brain recipe copy NAME FOLDER copies one"]
    return "\n".join(lines)


def _references(folder):
    """Lines of the YAML files that name a folder of another recipe."""
    for path in find_files(folder, ".yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.match(r"\w+: \.\./", line):
                setting = line.split("#")[0].strip()
                yield f"{path.relative_to(folder)}: {setting}"
