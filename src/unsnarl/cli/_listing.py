"""What there is: systems, data, measures, claims."""

from __future__ import annotations

from typing import Annotated

import typer

from unsnarl.errors import UnknownNameError


def list_(
    what: Annotated[str, typer.Argument(help="systems, data, measures or claims; all when left out.")] = "all",
) -> None:
    """List the systems, data sets, measures and claims there are."""
    kinds = ("systems", "data", "measures", "claims")
    if what not in (*kinds, "all"):
        raise UnknownNameError("list", what, [*kinds, "all"])
    for kind in kinds if what == "all" else (what,):
        rows = _listing(kind)
        width = max(len(name) for name, _ in rows)
        typer.echo(f"{kind.capitalize()}")
        for name, text in rows:
            typer.echo(f"  {name:<{width}}  {text}")


def _listing(kind: str) -> list[tuple[str, str]]:
    from unsnarl import catalog

    if kind == "systems":
        learners = list(LEARNERS.items())
        return [(c.slug, f"{c.title} ({c.year})") for c in catalog.cards()] + learners
    if kind == "data":
        from unsnarl.data import data_sets

        return list(data_sets().items())
    if kind == "measures":
        return list(MEASURES.items())
    return [(slug, c.title) for c in catalog.cards() if c.claim for slug in (c.slug, *c.further_claims)]


LEARNERS = {
    "ae": "autoencoder",
    "vae": "variational autoencoder",
    "betavae": "beta-VAE",
    "betatcvae": "beta-TCVAE",
    "factorvae": "FactorVAE",
    "bioae": "biologically constrained autoencoder",
    "vqvae": "vector-quantized autoencoder",
    "infowgangp": "InfoWGAN-GP",
    "quantizedinfowgangp": "InfoWGAN-GP with quantized latents",
}
MEASURES = {
    "infomec": "modularity, explicitness, compactness from mutual information (Hsu et al. 2023)",
    "dci": "disentanglement, completeness, informativeness (Eastwood & Williams 2018)",
    "mutual_information_gap": "MIG (Chen et al. 2018)",
    "sap": "separated attribute predictability (Kumar et al. 2018)",
    "modularity_explicitness": "Ridgeway & Mozer 2018",
    "beta_vae_score": "Higgins et al. 2017",
    "factor_vae_score": "Kim & Mnih 2018",
    "irs": "interventional robustness (Suter et al. 2019)",
    "dimensionality": "effective rank and participation ratio of the covariance (Roy & Vetterli 2007)",
    "diffusion_spectral": "diffusion spectral entropy and information, in bits (Liao et al. 2023)",
    "lossy_information": "information of all latents together, through compression (Butakov et al. 2024)",
    "active_variables": "active, mixed and passive latents (Bonheme & Grzes 2023); needs --logvar",
}


def show(name: Annotated[str, typer.Argument(help="A system's slug, as `unsnarl list systems` prints it.")]) -> None:
    """Show one system: paper, idea, where it is, what was claimed and how that came out."""
    from unsnarl import catalog

    card = catalog.card(name)
    for label, value in (
        ("System", f"{card.title} ({card.slug})"),
        ("Paper", f"arXiv {card.arxiv}, {card.year}"),
        ("Family", card.family),
        ("Install", f"pip install 'unsnarl[{card.extra}]'" if card.extra else "part of the core"),
        ("In code", card.entry_point),
        ("Idea", card.summary),
        ("Claim", "; ".join(f"unsnarl claim {s}" for s in (card.slug, *card.further_claims)) if card.claim else "none"),
    ):
        typer.echo(f"{label + ':':<10}{value}")
