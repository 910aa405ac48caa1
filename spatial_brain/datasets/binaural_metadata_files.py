"""Files of the published lists of Binaural-WSJ0Mix, and how to get them.

They lie in the folder ``metadata`` of
https://github.com/huangzj421/Binaural-WSJ0Mix.
"""

import hashlib
from pathlib import Path

from spatial_brain.dataio.download import download

SPLITS = {"train": "tr", "valid": "cv", "test": "tt"}
# Published mixtures of each split.
COUNTS = {"tr": 20000, "cv": 5000, "tt": 3000}
VARIANTS = ("clean2", "clean3", "noise", "reverb")
# Folder of each variant below the data folder.
VARIANT_FOLDERS = {
    "clean2": "2speakers",
    "clean3": "3speakers",
    "noise": "noise",
    "reverb": "reverb",
}
COMMIT = "aea05b615f9fe0a1ae2187fa08cecd7dc2997c98"
SERVER = (
    "https://raw.githubusercontent.com/huangzj421/Binaural-WSJ0Mix/"
    f"{COMMIT}/metadata"
)
CHECKSUMS = {
    "file_splits.csv": (
        "7e0689d1f47d8837aeba4ba9ac6ac8ae0ae8a8b9998a8d920f59443855dd936c"
    ),
    "hrtf_meta_cv.csv": (
        "040975bf27e2a07eef59bc77d40aa50766ef3d7032b4855369ee4170277cacfd"
    ),
    "hrtf_meta_cv3.csv": (
        "a05cf8902f3c5585015bcb1d3574910b9c3c575dded2b258e674ff44e55b7073"
    ),
    "hrtf_meta_tr.csv": (
        "2e4f84f395a663f7a98e5aabce83c3e0ebb73b71765957ab6959b7ef5ce8e72a"
    ),
    "hrtf_meta_tr3.csv": (
        "bc3ea7bac19e8fa36b51c35034139de7f345547ccffe9510a53b99eff717f585"
    ),
    "hrtf_meta_tt.csv": (
        "099624a98c65d112e47ec1aa4e883f423db948c29fa5ef455e157f7716c89271"
    ),
    "hrtf_meta_tt3.csv": (
        "cca3be30ec57ad17a3c2f688aec86d6f3a96c1d906356b1f6420ac6662d5ba71"
    ),
    "hrtf_reverb_meta_cv.csv": (
        "f7356220dd595c2a4f9306847ac989536173190ebf23b8eb4531abd6ead3ac46"
    ),
    "hrtf_reverb_meta_tr.csv": (
        "8697c751d39365bacc16f0a599fef02261dd86d0bbea19b2d5869534894bdc35"
    ),
    "hrtf_reverb_meta_tt.csv": (
        "f525fcc4865d50d44a63cc754794f2b03186dfa52e12e862924c6e86c71ddc34"
    ),
    "mix_2_spk_filenames_cv.csv": (
        "1261da81cca5e6e571135f146ac79929c1c710d5dd7d32cde38822dbb00972ed"
    ),
    "mix_2_spk_filenames_tr.csv": (
        "dd66eb3c2e4886598a8567a7f8269b3a8c8ce5a59651528f4712046c3ca6bbe8"
    ),
    "mix_2_spk_filenames_tt.csv": (
        "a93b9837cc8d657f7fccfd849d64921e679de89f3f3361b9458fa415d413ea2b"
    ),
    "mix_3_spk_filenames_cv.csv": (
        "295e89a793deb4cf6aee080083e2e7437413ecfbae1ccf37c898c21004686d86"
    ),
    "mix_3_spk_filenames_tr.csv": (
        "c8e24e8da449e74beafef957f7de7f383b7c834758f85f2108566efa9d4e5453"
    ),
    "mix_3_spk_filenames_tt.csv": (
        "cf89767e589cd3bd64e064350f77288c48e230999cf9afede517cb6added1c0f"
    ),
    "scaling_cv.npz": (
        "1539f0de51ef838d82ebd33583aa1aa3942753482121dd8d327a1e071d73ddee"
    ),
    "scaling_cv3.npz": (
        "97846c28c7d719bd87ea5a20c296dc3327f96847bae652116b542d9491caafea"
    ),
    "scaling_tr.npz": (
        "c4b10eaa32b79ce71f794da66cc8106dc592921e0dcf90c66b1baeb6ae6c9cc1"
    ),
    "scaling_tt.npz": (
        "00c61a1014fd40560bf00371d645f2c8eb69dcaf7d614a196592a8ff7650824c"
    ),
    "scaling_tt3.npz": (
        "be9e72bc6c1dd1c5e6264dec0d99a47c17464d0e3d88ad5a75574bbdd37558e8"
    ),
}
# Of these only the name that Git gives to their content is known.
GIT_BLOBS = {"scaling_tr3.npz": "4c6ef0b660986a7a8adafc3b09102bc616afce86"}


def metadata_files(variant):
    """Names of the published files of a variant.

    Arguments
    ---------
    variant : str
        One of ``VARIANTS``.

    Returns
    -------
    list of str
        In no particular order.

    Raises
    ------
    ValueError
        If the variant is unknown.

    Example
    -------
    >>> metadata_files("reverb")[:3]
    ['mix_2_spk_filenames_tr.csv', 'hrtf_reverb_meta_tr.csv', 'scaling_tr.npz']
    """
    check_variant(variant)
    files = [
        name
        for split in SPLITS.values()
        for name in files_of(variant, split).values()
    ]
    return [*files, "file_splits.csv"] if variant == "noise" else files


def check_variant(variant):
    """Raise ValueError for a variant that is not published.

    Arguments
    ---------
    variant : str
        Should be one of ``VARIANTS``.

    Raises
    ------
    ValueError
        If it is not.

    Example
    -------
    >>> check_variant("clean4")
    Traceback (most recent call last):
    ValueError: variant must be one of ('clean2', ...), got 'clean4'
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")


def files_of(variant, split):
    """Files of one split of a variant, by what they hold.

    Arguments
    ---------
    variant : str
        One of ``VARIANTS``.
    split : str
        "tr", "cv" or "tt".

    Returns
    -------
    dict
        "utterances", "places" and "gains" to the names of the files.

    Example
    -------
    >>> files_of("clean3", "tt")["gains"]
    'scaling_tt3.npz'
    """
    three = variant == "clean3"
    head = "hrtf_reverb_meta" if variant == "reverb" else "hrtf_meta"
    return {
        "utterances": f"mix_{3 if three else 2}_spk_filenames_{split}.csv",
        "places": f"{head}_{split}{'3' if three else ''}.csv",
        "gains": f"scaling_{split}{'3' if three else ''}.npz",
    }


def download_metadata(folder, variant, *, server=SERVER, **options):
    """Fetch the published files of a variant that are missing.

    Arguments
    ---------
    folder : str or Path
        Where they are put.
    variant : str
        One of ``VARIANTS``.
    server : str
        Address of the folder of the files.
    **options
        Those of ``spatial_brain.dataio.download.download``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DownloadError
        (an OSError) If a download fails; the same call continues it.
    ValueError
        If a file has another content than the published one.

    Example
    -------
    >>> download_metadata(getfixture("tmp_path"), "mono")
    Traceback (most recent call last):
    ValueError: variant must be one of ('clean2', ...), got 'mono'
    """
    folder = Path(folder)
    for name in metadata_files(variant):
        path, checksum = folder / name, CHECKSUMS.get(name)
        if checksum is not None:
            download(f"{server}/{name}", path, f"sha256:{checksum}", **options)
            continue
        download(f"{server}/{name}", path, **options)
        found = _git_blob(path)
        if found != GIT_BLOBS[name]:
            path.unlink()
            raise ValueError(
                f"{server}/{name}: its content is {found} to Git, the "
                f"published one {GIT_BLOBS[name]}; it was removed. Try again"
            )
    return folder


def _git_blob(path):
    """Name that Git gives to the content of a file."""
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
