"""PIBD: prototypical information bottlenecks and disentangling for survival from two bags of instances.

Zhang, Xu, Chen, Xie and Chen, "Prototypical Information Bottlenecking and Disentangling for Multimodal Cancer Survival
Prediction", ICLR 2024 (arXiv 2401.01646). A patient is a bag of patches of a slide and a bag of gene pathways. Each bag is
reduced to the instances that resemble one of 2 C Gaussian prototypes, one for each of C time bins with the event seen there and
one for each with the patient censored there. The patient's prototypes of both modalities are multiplied into one common token;
a transformer layer lets it look at everything, while patches and pathways look at their own kind; bounds on the mutual
information keep the three embeddings apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.systems.multimodal.pibd._bottleneck import check_top
from unsnarl.systems.multimodal.pibd._explain import PatientExplanation, explain_patients, selections
from unsnarl.systems.multimodal.pibd._inputs import InputScaler, Patients, Reader
from unsnarl.systems.multimodal.pibd._network import PIBDNetwork
from unsnarl.systems.multimodal.pibd._survival_learner import BagSurvivalLearner
from unsnarl.systems.multimodal.pibd._task import PIBDTask

JOINT = ("predicted", "label")
CLUBS = ("joint", "alternating", "none")
EXPERTS = ("gaussian", "published")
DIVISIONS = ("all", "likelihood")
MODALITIES = ("histology", "genomics")


class PIBD(BagSurvivalLearner):
    """Survival curves from patches and pathways, by the instances that look like learned risk prototypes.

    `PIBD.published()` has every choice of the authors' code. The defaults differ from it where that code does something else
    than it says or than a user can want; each difference is one keyword (see `published`).

    Args:
        n_bins: time bins C, cut at quantiles of the times of events.
        z_dim: size of instances, prototypes and embeddings inside.
        topk_ratio: what is kept of the patches and of the pathways: shares (floats up to 1.0) or counts (ints).
        joint_prototype: whose prototypes make the common token in training: "predicted", those that most of a patient's
            instances resemble, as at test; or "label", those of the true time bin, which tells training the answer and is
            not to be had at test.
        club: how the bound on the information between embeddings is used. "alternating": its estimators are fitted
            `club_steps` times after each step, then held still while the bound is minimised, which is what makes it one. "joint",
            as published: bound and fit are minimised together by one optimiser, which shrinks the embeddings and draws them
            towards each other (see `CLUB`). "none": not at all.
        select: False keeps all instances instead of the top k.
        alpha: weight of the likelihood of the prototypes' own cells.
        beta: weight of their KL divergence from N(0, I).
        gamma: weight of the proxy loss, which draws instances to the label's prototype.
        lam: weight of the information between the embeddings.
        alpha_surv: how much less a censored patient counts, see `hazard_nll`.
        samples: draws of each prototype and of the common token, averaged.
        experts: "gaussian": the product of experts takes variances, and noise is multiplied by the standard deviation.
            "published": standard deviations are taken for variances, and noise is multiplied by the variance.
        duplicates: whether an instance can be kept once for each prototype it resembles, as published, or only once.
        divide: "all": the whole loss is divided by the batch size, as published; "likelihood": only the likelihood is, which
            makes all other terms `batch_size` times stronger.
        noise_at_test: draw from the prototypes at test too, with noise of `seed`, as published, or take their means.
        sub_bag: larger bags are seen as several random parts of so many instances, averaged; None for whole bags.
        max_patches: so many instances of a bag at most are drawn for a training step; None for all.
        balanced: draw patients so that every (time bin, event) cell comes up equally often, as published. The
            survival curves are then those of such a population; the order of risks hardly changes.
        bag_scaling: "standard" or, as published, "none".
        gene_scaling: "minmax" (to [-1, 1], zeros kept, as published), "standard" or "none".
        dropout: of the instance encoders.
        pathway_dropout: alpha dropout of the pathway encoders.
        layer_dropout: dropout and drop-path of the transformer layer.
        heads: its attention heads.
        club_hidden: width of the information estimators.
        club_steps: fits of the estimators a step, for `club="alternating"`.
        lr: learning rate of Adam.
        weight_decay: decoupled weight decay.
        batch_size: patients a step.
        epochs: passes over the patients.
        modalities: names of the bags and of the genes in a `SurvivalData` that has more than two modalities.
        clusters: groups of correlated genes that serve as pathways where a `SurvivalData` has none; found on the training
            patients.
        validation_fraction: share of the patients set aside to choose the best epoch; 0 keeps the last.
        monitor: what is best there: "loss" (of the hazards) or "concordance".
        seed: of everything random.
    """

    def __init__(
        self,
        n_bins: int = 4,
        z_dim: int = 256,
        *,
        topk_ratio: tuple[float, float] = (0.5, 0.8),
        joint_prototype: str = "predicted",
        club: str = "alternating",
        select: bool = True,
        alpha: float = 0.1,
        beta: float = 0.01,
        gamma: float = 1.0,
        lam: float = 0.1,
        alpha_surv: float = 0.5,
        samples: int = 50,
        experts: str = "gaussian",
        duplicates: bool = True,
        divide: str = "all",
        noise_at_test: bool = False,
        sub_bag: int | None = 512,
        max_patches: int | None = 4096,
        balanced: bool = True,
        bag_scaling: str = "standard",
        gene_scaling: str = "minmax",
        dropout: float = 0.2,
        pathway_dropout: float = 0.25,
        layer_dropout: float = 0.1,
        heads: int = 4,
        club_hidden: int = 512,
        club_steps: int = 5,
        lr: float = 5e-4,
        weight_decay: float = 0.0,
        batch_size: int = 32,
        epochs: int = 30,
        modalities: tuple[str, str] | None = None,
        clusters: int = 8,
        validation_fraction: float = 0.0,
        monitor: str = "loss",
        seed: int = 0,
    ):
        self.n_bins = n_bins
        self.z_dim = z_dim
        self.topk_ratio = topk_ratio
        self.joint_prototype = joint_prototype
        self.club = club
        self.select = select
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.lam = lam
        self.alpha_surv = alpha_surv
        self.samples = samples
        self.experts = experts
        self.duplicates = duplicates
        self.divide = divide
        self.noise_at_test = noise_at_test
        self.sub_bag = sub_bag
        self.max_patches = max_patches
        self.balanced = balanced
        self.bag_scaling = bag_scaling
        self.gene_scaling = gene_scaling
        self.dropout = dropout
        self.pathway_dropout = pathway_dropout
        self.layer_dropout = layer_dropout
        self.heads = heads
        self.club_hidden = club_hidden
        self.club_steps = club_steps
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.modalities = modalities
        self.clusters = clusters
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.seed = seed

    @classmethod
    def published(cls, **options: Any) -> PIBD:
        """The learner with every choice of the authors' code.

        The label's prototype makes the common token in training; bound and fit of the information are minimised together;
        standard deviations are taken for variances; instances are kept several times; the whole loss is divided by the batch
        size; there is noise at test; cells are drawn equally often; patch features are taken as they are and genes are
        scaled to [-1, 1].

        Args:
            options: hyperparameters that shall differ all the same.
        """
        choices: dict[str, Any] = {
            "joint_prototype": "label",
            "club": "joint",
            "experts": "published",
            "duplicates": True,
            "divide": "all",
            "noise_at_test": True,
            "balanced": True,
            "bag_scaling": "none",
            "gene_scaling": "minmax",
        }
        return cls(**{**choices, **options})

    def _make_task(self, facts: dict[str, Any]) -> PIBDTask:
        reader = Reader.from_facts(facts["reader"])
        network = PIBDNetwork(
            reader.width,
            reader.sizes,
            n_bins=self.n_bins,
            z_dim=self.z_dim,
            top=(self.topk_ratio[0], self.topk_ratio[1]),
            samples=self.samples,
            select=self.select,
            duplicates=self.duplicates,
            label_prototype=self.joint_prototype == "label",
            experts=self.experts,
            sub_bag=self.sub_bag,
            dropout=self.dropout,
            pathway_dropout=self.pathway_dropout,
            layer_dropout=self.layer_dropout,
            heads=self.heads,
            club_hidden=self.club_hidden,
            noise_at_test=self.noise_at_test,
            noise_seed=self.seed,
        )
        return PIBDTask(
            InputScaler(reader, self.bag_scaling, self.gene_scaling),
            network,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            lam=self.lam,
            alpha_surv=self.alpha_surv,
            club=self.club,
            club_steps=self.club_steps,
            divide=self.divide,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )

    def _check_options(self) -> None:
        super()._check_options()
        check_choice(self.joint_prototype, JOINT, "joint_prototype")
        check_choice(self.club, CLUBS, "club")
        check_choice(self.experts, EXPERTS, "experts")
        check_choice(self.divide, DIVISIONS, "divide")
        for name in ("alpha", "beta", "gamma", "lam", "weight_decay"):
            check_range(getattr(self, name), name, low=0)
        for name in ("samples", "heads", "club_hidden", "club_steps"):
            check_range(getattr(self, name), name, low=1, integer=True)
        if self.sub_bag is not None:
            check_range(self.sub_bag, "sub_bag", low=1, integer=True)
        if len(self.topk_ratio) != 2:
            raise OptionError(f"topk_ratio={self.topk_ratio!r} must be two: of the patches and of the pathways")
        for top in self.topk_ratio:
            check_top(top, "topk_ratio")

    def _check_patients(self, patients: Patients) -> None:
        super()._check_patients(patients)
        counts = patients.counts
        smallest = int(counts[counts > 0].min())
        if self.sub_bag is not None:
            smallest = min(smallest, self.sub_bag)
        if isinstance(self.topk_ratio[0], int) and self.topk_ratio[0] > smallest:
            raise DataError(
                f"top-k exceeds instances: topk_ratio[0]={self.topk_ratio[0]} are to be kept, but a bag has {smallest}; "
                "give a share such as 0.5"
            )

    # ---- explaining -----------------------------------------------------------------------------------------------

    def select_instances(
        self, bags: Any, pathways: Any = None, *, modality: str = "histology"
    ) -> tuple[list[Int[np.ndarray, " _"]], list[Float[np.ndarray, " _"]]]:
        """Which instances of each patient the bottleneck keeps, each once, and how much each resembles its nearest prototype.

        Bags are looked at whole, also where prediction sees sub-bags.

        Args:
            bags: as in `predict_survival`.
            pathways: as in `predict_survival`.
            modality: "histology" for patches, "genomics" for pathways (by position).

        Returns:
            Indices of the kept instances, the most similar first, and their cosines in [-1, 1], a pair of arrays a patient; empty
            for a patient without the modality.

        Raises:
            OptionError: an unknown modality.
        """
        check_choice(modality, MODALITIES, "modality")
        found = selections(self, self._patients(bags, pathways))
        return [f[modality].indices for f in found], [f[modality].scores for f in found]

    def explain(self, bags: Any, pathways: Any = None) -> list[PatientExplanation]:
        """What each prediction rests on: the prototypes a patient leaned on, how sure, and the instances that were kept.

        Args:
            bags: as in `predict_survival`.
            pathways: as in `predict_survival`.

        Returns:
            One `PatientExplanation` a patient; `print` shows it.
        """
        return explain_patients(self, self._patients(bags, pathways))
