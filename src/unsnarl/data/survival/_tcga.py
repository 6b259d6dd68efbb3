"""Folders as pathology groups keep them: a feature file a slide, a clinical table, expression, and pathway signatures.

The layout is that of CLAM and SurvPath for The Cancer Genome Atlas: `<slide>.pt`, `.h5` or `.npy` with one row a patch; a clinical
.csv with one line a slide or patient, a time and a censorship column (1 = censored); an expression .csv, patients x genes; a
signature .csv that says which genes make a pathway.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.survival._feature_files import ENDINGS, read_features
from unsnarl.data.survival._survival_data import SurvivalData, encode_frame
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError
from unsnarl.files import check_readable

PathLike = str | os.PathLike[str]
MISSING = ("error", "drop", "keep")


def load_tcga(
    clinical: PathLike,
    *,
    bags: PathLike | None = None,
    expression: PathLike | None = None,
    pathways: PathLike | None = None,
    time: str = "survival_months_dss",
    censorship: str | None = "censorship_dss",
    event: str | None = None,
    patient: str = "case_id",
    slide: str = "slide_id",
    clinical_columns: Sequence[str] = (),
    missing: str = "error",
    unmeasured_pathways: str = "error",
    patches: int | None = None,
    seed: int = 0,
) -> SurvivalData:
    """Patients from a clinical table, with their slides' patches, expression and pathways.

    Args:
        clinical: .csv with one line a slide or a patient.
        bags: folder of feature files named `<slide>.pt` (a tensor, read with `torch.load(weights_only=True)`), `.h5` (data set
            "features", or the only one) or `.npy`; the patches of all slides of a patient make one bag, modality "patches". Slides
            without a file are passed over; a patient with none lacks the modality.
        expression: .csv with patients in lines (named in the first column) and genes in columns; modality "genes".
        pathways: .csv of signatures, see `read_pathways`; the genes that are measured make the pathways of "genes".
        time: column with the time.
        censorship: column that is 1 where the patient was censored.
        event: column that is 1 where the event was seen; when given, it is used in place of `censorship`.
        patient: column that names the patient.
        slide: column that names the slide; a name may end in .svs or another ending.
        clinical_columns: columns of `clinical` that become the modality "clinical".
        missing: what to do about patients without a slide's file or a line of expression: "error", "drop" them with a warning,
            or "keep" them with an empty bag or a row of NaN.
        unmeasured_pathways: "error" or "drop" (with a warning) where none of a pathway's genes is measured.
        patches: at most so many patches a patient, drawn at random by `seed` and the patient's name; all when None.
        seed: of that draw.

    Raises:
        FileError: a file is missing, damaged or not of its kind.
        DataError: unusable values: NaN genes, an empty bag, features of different widths, a patient with two outcomes, a
            pathway with no measured gene, or no patient left.
        UnknownNameError: a column that is not in its table.
        OptionError: an option out of range.

    Warns:
        UserWarning: more than 95% of the patients had the event (a swapped flag), or something was dropped.

    Cost: reads every file once; holds the chosen patches in memory, 4 bytes a number.
    """
    check_choice(missing, MISSING, "missing")
    check_choice(unmeasured_pathways, ("error", "drop"), "unmeasured_pathways")
    if patches is not None:
        check_range(patches, "patches", low=1, integer=True)
    if pathways is not None and expression is None:
        raise OptionError("pathways= needs expression=, the table with the genes")
    flag = event or censorship
    if not flag:
        raise OptionError("name the column of the outcome: censorship= or event=")
    frame = _read_table(clinical)
    _known(frame, [patient, time, flag, *clinical_columns, *([slide] if bags is not None else [])], clinical)
    frame[patient] = frame[patient].astype(str)
    outcome = frame.groupby(patient, sort=False)[[time, flag, *clinical_columns]]
    varied = (outcome.nunique(dropna=False) > 1).any(axis=1)
    if varied.any():
        raise DataError(f"patient {varied.idxmax()!r} has lines that disagree in {clinical}")
    people = outcome.first()
    unknown = people[[time, flag]].isna().any(axis=1)
    if unknown.any():
        raise DataError(f"patient {unknown.idxmax()!r} has no {time} or {flag} in {os.fspath(clinical)}")

    modalities: dict[str, Any] = {}
    columns: dict[str, list[str]] = {}
    categories: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    if bags is not None:
        slides = frame.groupby(patient, sort=False)[slide].agg(lambda s: list(dict.fromkeys(map(str, s))))
        modalities["patches"] = _read_bags(Path(bags), dict(slides.items()), patches, seed)
    if expression is not None:
        genes = _read_table(expression, index=True)
        modalities["genes"] = genes.reindex(people.index).to_numpy(np.float64)
        columns["genes"] = list(map(str, genes.columns))
        if pathways is not None:
            groups["genes"] = _measured(read_pathways(pathways), columns["genes"], unmeasured_pathways)
    if clinical_columns:
        table = people[list(clinical_columns)]
        modalities["clinical"], categories["clinical"] = encode_frame(table, "clinical")
        columns["clinical"] = list(clinical_columns)
    if not modalities:
        raise OptionError("nothing to load: give bags=, expression= or clinical_columns=")

    has = _present(modalities, people.index, expression)
    lacking = ~np.all(list(has.values()), axis=0)
    if lacking.any() and missing == "error":
        name = next(m for m, found in has.items() if not found.all())
        who = people.index[~has[name]]
        raise DataError(
            f"{len(who)} of {len(people)} patients lack the modality {name!r} (first: {who[0]!r}); "
            "pass missing='drop' or 'keep'"
        )
    keep = np.flatnonzero(~lacking) if missing == "drop" else np.arange(len(people))
    if len(keep) < len(people):
        warnings.warn(
            f"{len(people) - len(keep)} of {len(people)} patients lack a modality and are left out",
            UserWarning,
            stacklevel=2,
        )
    if not len(keep):
        raise DataError("no patient has all modalities; do the names in the tables and the folder agree?")
    flags = people[flag].to_numpy()[keep]
    _check_flag(flags, flag)
    return SurvivalData(
        {m: [v[i] for i in keep] if isinstance(v, list) else v[keep] for m, v in modalities.items()},
        time=people[time].to_numpy(np.float64)[keep],
        event=flags == (1 if event else 0),
        names=people.index[keep].tolist(),
        columns=columns,
        categories=categories,
        pathways=groups,
        may_be_missing=tuple(m for m in modalities if m == "clinical" or not has[m][keep].all()),
    )


def read_pathways(path: PathLike) -> dict[str, list[str]]:
    """Pathway -> its genes, from a signature .csv in either of two forms.

    *Wide*: one column a pathway, the gene names below it, short columns padded with blanks (SurvPath's signatures). *Long*: two
    columns named "gene" and "pathway", one line a pair.

    Raises:
        FileError: the file cannot be read.
        DataError: a pathway without genes, or no pathway at all.
    """
    frame = _read_table(path)
    named = {str(c).lower(): c for c in frame.columns}
    if {"gene", "pathway"} <= set(named):
        pairs = frame[[named["pathway"], named["gene"]]].dropna().astype(str)
        found = {str(p): list(dict.fromkeys(g)) for p, g in pairs.groupby(named["pathway"], sort=False)[named["gene"]]}
    else:
        found = {
            str(c): list(dict.fromkeys(frame[c].dropna().astype(str)))
            for c in frame.columns
            if not str(c).startswith("Unnamed")
        }
    if not found:
        raise DataError(f"{os.fspath(path)} names no pathway")
    for name, genes in found.items():
        if not genes:
            raise DataError(f"the pathway {name!r} of {os.fspath(path)} has no gene")
    return found


def _read_table(path: PathLike, *, index: bool = False) -> pd.DataFrame:
    shown, where = os.fspath(path), check_readable(path)
    try:
        frame = pd.read_csv(where, index_col=0 if index else None, low_memory=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise FileError(f"{shown} is not a table of comma-separated values ({' '.join(str(error).split())})") from None
    if not index:
        return frame
    frame.index = frame.index.astype(str)
    if frame.index.has_duplicates:
        raise DataError(f"patient {frame.index[frame.index.duplicated()][0]!r} has two lines in {shown}")
    text = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    if text:
        raise DataError(f"column {str(text[0])!r} of {shown} must hold numbers")
    return frame


def _known(frame: pd.DataFrame, names: Sequence[str], path: PathLike) -> None:
    for name in names:
        if name not in frame.columns:
            raise UnknownNameError(f"column of {os.fspath(path)}", name, list(map(str, frame.columns)))


def _check_flag(flags: np.ndarray, column: str) -> None:
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise DataError(f"column {column!r} must hold 0 and 1, got {', '.join(np.unique(flags.astype(str))[:4])}")


def _read_bags(folder: Path, slides: Mapping[Any, Sequence[str]], patches: int | None, seed: int) -> list[np.ndarray]:
    if not folder.is_dir():
        raise FileError(f"there is no folder {folder} with feature files")
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in ENDINGS}
    if not files:
        raise FileError(f"{folder} holds no feature file ({', '.join(ENDINGS)})")
    bags: list[np.ndarray] = []
    width: tuple[int, Path] | None = None
    for name, of in slides.items():
        parts = []
        for slide in of:
            file = files.get(slide) or files.get(os.path.splitext(slide)[0])
            if file is None:
                continue
            part = read_features(file)
            width = width or (part.shape[1], file)
            if part.shape[1] != width[0]:
                raise DataError(f"{file} has {part.shape[1]} features, but {width[1]} has {width[0]}")
            parts.append(part)
        bag = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        if patches is not None and len(bag) > patches:
            rng = np.random.default_rng(
                [seed, zlib.crc32(str(name).encode())]
            )  # one draw a patient, whoever else is there
            bag = bag[np.sort(rng.choice(len(bag), patches, replace=False))]
        bags.append(bag)
    columns = width[0] if width else 0
    return [bag if len(bag) else np.zeros((0, columns), np.float32) for bag in bags]


def _present(modalities: Mapping[str, Any], people: pd.Index, expression: PathLike | None) -> dict[str, np.ndarray]:
    """Who has each modality; a row of the expression table with a single gap counts, and is refused later."""
    found = {}
    for name, values in modalities.items():
        if isinstance(values, list):
            found[name] = np.array([len(bag) > 0 for bag in values])
        else:
            found[name] = ~np.isnan(values).all(axis=1)
    partly = np.isnan(modalities["genes"]).any(axis=1) & found["genes"] if expression is not None else np.zeros(1, bool)
    if partly.any():
        raise DataError(
            f"{int(partly.sum())} patients have NaN among their genes (first: {people[int(partly.argmax())]!r}); fill them, or "
            "leave out the genes"
        )
    return found


def _measured(groups: Mapping[str, Sequence[str]], columns: Sequence[str], unmeasured: str) -> dict[str, list[str]]:
    known = set(columns)
    kept = {name: [g for g in genes if g in known] for name, genes in groups.items()}
    empty = [name for name, genes in kept.items() if not genes]
    if empty and (unmeasured == "error" or len(empty) == len(kept)):
        raise DataError(
            f"{len(empty)} of {len(kept)} pathways have no measured gene (first: {empty[0]!r}); do the gene names agree with the "
            "columns of the expression table? Else pass unmeasured_pathways='drop'"
        )
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(kept)} pathways have no measured gene and are left out (first: {empty[0]!r})",
            UserWarning,
            stacklevel=3,
        )
    return {name: genes for name, genes in kept.items() if genes}
