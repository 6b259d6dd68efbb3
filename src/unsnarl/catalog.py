"""The systems: one row each, saying what it is, where it lives and which experiment it proves itself in.

Importing this module is light; a system's code is imported when its card is asked to `load()`.

Another package adds rows by an entry point in the group `unsnarl.systems` that names a `Card`, a list of them, or a
function that returns either:

    [project.entry-points."unsnarl.systems"]
    my-systems = "my_package.unsnarl_cards:cards"
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from unsnarl.errors import FileError, OptionError, UnknownNameError

GROUP = "unsnarl.systems"
FAMILIES = (
    "latents",
    "generators",
    "diffusion",
    "language",
    "prototypes",
    "multimodal",
    "dynamics",
    "relational",
    "adaptation",
    "measures",
)


@dataclass(frozen=True)
class Card:
    """What a system is and where to find it.

    Attributes:
        slug: its name in commands and file names, lower case with hyphens.
        title: its name for people.
        arxiv: number of the paper at arXiv; empty when it is not there.
        year: year of publication.
        family: the room it lives in, one of `FAMILIES`.
        extra: the optional dependencies it needs, as in `pip install 'unsnarl[extra]'`; empty for none.
        entry_point: the class or function, as "module:name".
        claim: the module of its experiment; empty when it has none.
        summary: what a user gets, in one sentence.
        further_claims: slugs of experiments beside its own, in the same system but another setting.
    """

    slug: str
    title: str
    arxiv: str
    year: int
    family: str
    extra: str
    entry_point: str
    claim: str
    summary: str
    further_claims: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug):
            raise OptionError(f"slug={self.slug!r} must be lower-case words joined by hyphens")
        if self.family not in FAMILIES:
            raise OptionError(f"family={self.family!r} of {self.slug!r} is not allowed; one of {', '.join(FAMILIES)}")
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", self.entry_point):
            raise OptionError(f"entry_point={self.entry_point!r} of {self.slug!r} must read 'module:name'")

    def load(self) -> Any:
        """The class or function itself.

        Raises:
            MissingExtraError: its optional dependencies are not installed.
        """
        module, _, name = self.entry_point.partition(":")
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
        return value


_OURS = (
    Card(
        slug="qlae",
        title="QLAE",
        arxiv="2305.18378",
        year=2023,
        family="latents",
        extra="",
        entry_point="unsnarl.systems.latents:QLAE",
        claim="unsnarl.claims.qlae",
        summary="An autoencoder whose latents each take one of a few learned values, so that single latents line up "
        "with single factors.",
        further_claims=("qlae-long",),
    ),
    Card(
        slug="active-variables",
        title="Active, mixed and passive latent variables",
        arxiv="2109.12679",
        year=2023,
        family="measures",
        extra="",
        entry_point="unsnarl.measures:classify_latents",
        claim="unsnarl.claims.active_variables",
        summary="Tells which latents of a VAE are used for all inputs, for some or for none, and prunes those that "
        "only seem to carry something.",
    ),
    Card(
        slug="dse",
        title="Diffusion spectral entropy and information (DSE, DSMI)",
        arxiv="2312.04823",
        year=2023,
        family="measures",
        extra="",
        entry_point="unsnarl.information:diffusion_spectral_entropy",
        claim="unsnarl.claims.dse",
        summary="How many modes a cloud of vectors has, and how much of that a label or another representation explains, "
        "without bins, also as curves during training.",
    ),
    Card(
        slug="lossy-compression-mi",
        title="Mutual information through lossy compression",
        arxiv="2305.08013",
        year=2024,
        family="measures",
        extra="",
        entry_point="unsnarl.measures:LossyMutualInformation",
        claim="unsnarl.claims.lossy_compression_mi",
        summary="Information between images, layers and labels by compressing each side to a few numbers first, and "
        "the information plane of a network.",
    ),
    Card(
        slug="superposition",
        title="Superposition as lossy compression",
        arxiv="2512.13568",
        year=2025,
        family="measures",
        extra="",
        entry_point="unsnarl.measures:measure_superposition",
        claim="unsnarl.claims.superposition",
        summary="How many features a layer encodes and how many share a neuron, from the entropy of a sparse autoencoder.",
    ),
    Card(
        slug="epiplexity",
        title="Epiplexity",
        arxiv="2601.03220",
        year=2026,
        family="measures",
        extra="",
        entry_point="unsnarl.measures:estimate_epiplexity",
        claim="unsnarl.claims.epiplexity",
        summary="How many bits of structure a learner of bounded compute can absorb from data, and how many stay random to it.",
    ),
    Card(
        slug="markov-categories",
        title="Markov-categorical analysis of language models",
        arxiv="2507.19247",
        year=2025,
        family="measures",
        extra="language",
        entry_point="unsnarl.measures:analyse_lm",
        claim="unsnarl.claims.markov_categories",
        summary="How random a language model's head is, how much its states know beyond the next token, and which directions "
        "of them the prediction feels.",
    ),
    Card(
        slug="pibd",
        title="Prototypical Information Bottlenecking and Disentangling (PIBD)",
        arxiv="2401.01646",
        year=2024,
        family="multimodal",
        extra="survival",
        entry_point="unsnarl.systems.multimodal:PIBD",
        claim="unsnarl.claims.pibd",
        summary="Survival curves from bags of slide patches and gene pathways, with the patches and prototypes they rest on, "
        "and what is specific to each and common to both kept apart.",
    ),
    Card(
        slug="ithp",
        title="Information-Theoretic Hierarchical Perception (ITHP)",
        arxiv="2404.09403",
        year=2024,
        family="multimodal",
        extra="language",
        entry_point="unsnarl.systems.multimodal:ITHPRegressor",
        claim="unsnarl.claims.ithp",
        summary="Two chained bottlenecks keep of one modality what tells of the others, which are needed in training only, and "
        "shift its features by that.",
    ),
    Card(
        slug="dlf",
        title="Disentangled-Language-Focused fusion (DLF)",
        arxiv="2412.12225",
        year=2025,
        family="multimodal",
        extra="language",
        entry_point="unsnarl.systems.multimodal:DLF",
        claim="unsnarl.claims.dlf",
        summary="Text, voice and face split into a shared part and a specific one each; the language asks the other two for what "
        "they add.",
    ),
    Card(
        slug="prob-psenn",
        title="Probabilistic Self-Explainable Neural Network (Prob-PSENN)",
        arxiv="2403.13740",
        year=2024,
        family="prototypes",
        extra="",
        entry_point="unsnarl.systems.prototypes:ProbPSENN",
        claim="unsnarl.claims.prob_psenn",
        summary="A classifier whose classes are distributions of decodable prototypes: it shows them, and says when none of them "
        "explains an input.",
    ),
    Card(
        slug="explaining-prototypes",
        title="Explaining Prototypes",
        arxiv="2011.02863",
        year=2021,
        family="prototypes",
        extra="images",
        entry_point="unsnarl.systems.prototypes:PrototypeExplainer",
        claim="unsnarl.claims.explaining_prototypes",
        summary="Why a patch and a prototype count as alike: how much hue, shape, texture, contrast, saturation and brightness "
        "matter to it.",
    ),
    Card(
        slug="diffusion-pid",
        title="DiffusionPID",
        arxiv="2406.05191",
        year=2024,
        family="diffusion",
        extra="diffusion",
        entry_point="unsnarl.systems.diffusion:DiffusionPID",
        claim="unsnarl.claims.diffusion_pid",
        summary="What two words of a prompt each say alone about an image, what both say, and what only their combination says, "
        "in nats, pixel by pixel.",
    ),
    Card(
        slug="disenbooth",
        title="DisenBooth",
        arxiv="2305.03374",
        year=2024,
        family="diffusion",
        extra="diffusion",
        entry_point="unsnarl.systems.diffusion:DisenBooth",
        claim="unsnarl.claims.disenbooth",
        summary="A subject learned from a few photos: who it is in the text, what else a photo shows in one vector beside it.",
    ),
)


def cards() -> list[Card]:
    """All systems: those of this package, then those of installed plug-ins."""
    return [*_OURS, *_plugins()]


def card(slug: str) -> Card:
    """The card of a system.

    Raises:
        UnknownNameError: there is no system of that slug; near ones are named.

    Examples:
        >>> card("qlae").family
        'latents'
    """
    known = {one.slug: one for one in cards()}
    if slug not in known:
        raise UnknownNameError("system", slug, list(known))
    return known[slug]


@lru_cache(maxsize=1)
def _plugins() -> tuple[Card, ...]:
    """The rows of installed plug-ins; one that cannot be used gives a warning and is left out."""
    import warnings
    from importlib.metadata import entry_points

    found: dict[str, Card] = {}
    taken = {one.slug for one in _OURS}
    for point in entry_points(group=GROUP):
        try:
            for one in _as_cards(point.load()):
                if one.slug in taken:
                    raise OptionError(f"the slug {one.slug!r} is taken")
                taken.add(one.slug)
                found[one.slug] = one
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"the plug-in {point.name!r} ({point.value}) is left out: {reason}", stacklevel=2)
    return tuple(found.values())


def _as_cards(value: Any) -> Iterator[Card]:
    if callable(value):
        value = value()
    for one in [value] if isinstance(value, Card) else list(value):
        if not isinstance(one, Card):
            raise OptionError(f"it gave a {type(one).__name__}, not an unsnarl.catalog.Card")
        yield one


def markdown_table(
    claims: str | os.PathLike[str] | None = None, *, links: str = "claims/", only: Iterable[Card] | None = None
) -> str:
    """The table of systems for the README and the documentation.

    Args:
        claims: folder of claims' records (`SLUG.json`); with it, a column gives each claim's verdict.
        links: what to put before `SLUG.html` in the links to the claims' pages.
        only: the cards to list; all when not given.

    Raises:
        FileError: a record cannot be read.
    """
    head = ["System", "What it gives", "Paper", "Family", "Install"] + (["Claim"] if claims is not None else [])
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in cards() if only is None else only:
        paper = f"[{one.year}](https://arxiv.org/abs/{one.arxiv})" if one.arxiv else str(one.year)
        install = f"`unsnarl[{one.extra}]`" if one.extra else "`unsnarl`"
        cells = [f"**{_cell(one.title)}** `{one.slug}`", _cell(one.summary), paper, one.family, install]
        if claims is not None:
            recorded = [s for s in one.further_claims if os.path.isfile(os.path.join(claims, f"{s}.json"))]
            slugs = [one.slug, *recorded]
            cells.append("; ".join(_verdict(slug, bool(one.claim), os.fspath(claims), links) for slug in slugs))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _verdict(slug: str, exists: bool, folder: str, links: str) -> str:
    """A claim's verdict with its first deciding number, linked to its page; a word when it has not been run."""
    import json

    path = os.path.join(folder, f"{slug}.json")
    if not os.path.isfile(path):
        return "not run yet" if exists else "none"
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        row = next(row for row in record["rows"] if row.get("role", "central") == "central")
        mean, low, high = (row["difference"][name] for name in ("mean", "low", "high"))
        numbers = "" if mean is None else f": {row['metric']} {mean:+.3g}"
        numbers += "" if low is None or mean is None else f" [{low:.3g}, {high:.3g}]"
        words = f"{record['verdict']}{numbers}, {len(row['seeds'])} seed{'s' if len(row['seeds']) > 1 else ''}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise FileError(f"{path} is not a claim's record: {type(error).__name__} {error}") from None
    return f"[{_cell(words)}]({links}{slug}.html)"


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    kept = " ".join(str(text).split())
    for mark in "\\|[]<>`*":
        kept = kept.replace(mark, f"\\{mark}")
    return kept
