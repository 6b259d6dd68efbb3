"""Every measure on 10,000 x 64 codes and 8 factors: total time and memory, and each against its peers in one process.

The peers see the same arrays: codes and factors, transposed as they want them, and the same split into training and test rows.
scikit-learn's gradient boosting would take many minutes for DCI at this size, so it is timed on `--dci-factors` factors and
scaled by the number of trees; the values are compared on those factors.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import sys
import time
import types
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import unsnarl
from unsnarl.information import equal_width_bins
from unsnarl.measures._modularity import _split


def codes_and_factors(n: int, latents: int, factors: int, levels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each factor is carried by a few latents, with noise; the rest are noise."""
    rng = np.random.default_rng(seed)
    s = rng.integers(levels, size=(n, factors))
    weights = rng.normal(size=(factors, latents)) * (rng.random((factors, latents)) < 0.15)
    return (s - s.mean(0)) @ weights + 0.5 * rng.normal(size=(n, latents)), s


def timed(function, repeats: int = 1):
    """Best time of some repeats, and the value."""
    best, value = np.inf, None
    for _ in range(repeats):
        began = time.perf_counter()
        value = function()
        best = min(best, time.perf_counter() - began)
    return best, value


def load_disentanglement_lib():
    """Its metric functions without TensorFlow: there, `gin.tf` only decorates them and sets 20 bins."""
    gin, gin_tf = types.ModuleType("gin"), types.ModuleType("gin.tf")
    gin.tf, gin.REQUIRED = gin_tf, None
    gin.configurable = lambda *args, **options: args[0] if args and callable(args[0]) else lambda function: function
    sys.modules |= {"gin": gin, "gin.tf": gin_tf}
    from disentanglement_lib.evaluation.metrics import dci, irs, mig, modularity_explicitness, sap_score, utils

    utils.make_discretizer = lambda target: utils._histogram_discretize(target, 20)
    return types.SimpleNamespace(
        dci=dci, irs=irs, mig=mig, modularity=modularity_explicitness, sap=sap_score, utils=utils
    )


def load_disent():
    """Its metric functions without its data sets, which want torchvision."""
    import disent

    data, metrics = types.ModuleType("disent.dataset"), types.ModuleType("disent.metrics")
    data.DisentDataset = object
    metrics.__path__ = [str(Path(disent.__file__).parent / "metrics")]
    sys.modules |= {"disent.dataset": data, "disent.metrics": metrics}
    from disent.metrics import _dci, _mig, _sap

    return types.SimpleNamespace(dci=_dci, mig=_mig, sap=_sap)


def load_infomec(path: str):
    """The authors' stand-alone file, less an argument that scikit-learn has removed since."""
    text = Path(path).read_text(encoding="utf-8").replace("        multi_class='multinomial',\n", "")
    module = types.ModuleType("published_infomec")
    exec(compile(text, path, "exec"), module.__dict__)
    return module


class Table:
    """Rows of the comparison, printed as they come."""

    def __init__(self) -> None:
        print(f"{'what':<34}{'ours':>10}{'peer':>12}{'ratio':>9}   largest difference of values")
        self.ours = self.theirs = 0.0

    def add(self, what: str, ours: float, theirs: float, difference: float, note: str = "") -> None:
        self.ours += ours
        self.theirs += theirs
        print(f"{what:<34}{ours:>9.2f}s{theirs:>11.1f}s{theirs / ours:>8.0f}x   {difference:.1e} {note}", flush=True)


def compare(codes: np.ndarray, factors: np.ndarray, infomec_path: str | None, dci_factors: int) -> None:
    """Each shared part, ours against the fastest peer that has it."""
    table = Table()
    cut = int(0.75 * len(codes))
    train, test = (codes[:cut], factors[:cut]), (codes[cut:], factors[cut:])
    split = {"test_codes": test[0], "test_factors": test[1]}
    unsnarl.measure(codes[:600], factors[:600])  # compile

    peers: dict[str, object] = {}
    if importlib.util.find_spec("disentanglement_lib"):
        peers["disentanglement_lib"] = load_disentanglement_lib()
    if importlib.util.find_spec("disent"):
        peers["disent"] = load_disent()
    print(f"peers: {', '.join(peers) or 'none installed'}\n")

    lib = peers.get("disentanglement_lib")
    if lib is not None:
        ours, value = timed(lambda: unsnarl.mutual_information_gap(codes, factors), 3)
        peer, their = timed(lambda: lib.mig._compute_mig(codes.T, factors.T)["discrete_mig"])
        table.add("MIG / disentanglement_lib", ours, peer, abs(value - their))

        ours, value = timed(lambda: unsnarl.irs(codes, factors), 3)
        peer, their = timed(lambda: lib.irs.scalable_disentanglement_score(equal_width_bins(factors), codes))
        table.add("IRS / disentanglement_lib", ours, peer, abs(value - their["avg_score"]))

        ours, value = timed(lambda: unsnarl.modularity_explicitness(codes, factors), 2)

        rows, held_out = _split(len(codes), 2 / 3, 0)

        def published():
            m = lib.utils.discrete_mutual_info(lib.utils.make_discretizer(codes.T), factors.T)
            a, mean, sd = lib.utils.normalize_data(codes[rows].T)
            b, _, _ = lib.utils.normalize_data(codes[held_out].T, mean, sd)
            per = lib.modularity.explicitness_per_factor
            e = [per(a, factors[rows, i], b, factors[held_out, i])[1] for i in range(factors.shape[1])]
            return lib.modularity.modularity(m), float(np.mean(e))

        peer, their = timed(published)
        difference = max(abs(value.modularity - their[0]), abs(value.explicitness - their[1]))
        table.add("modularity, explicitness / d_lib", ours, peer, difference)

        ours, value = timed(lambda: unsnarl.sap(*train, **split), 3)
        peer, their = timed(lambda: lib.sap._compute_sap(train[0].T, train[1].T, test[0].T, test[1].T, False))
        table.add("SAP / disentanglement_lib", ours, peer, abs(value - their["SAP_score"]), "(its solver stops early)")

        few = slice(0, dci_factors)
        ours, _ = timed(lambda: unsnarl.dci(*train, **split))
        _, value = timed(
            lambda: unsnarl.dci(train[0], train[1][:, few], test_codes=test[0], test_factors=test[1][:, few])
        )
        peer, their = timed(lambda: lib.dci._compute_dci(train[0].T, train[1][:, few].T, test[0].T, test[1][:, few].T))
        scale = factors.shape[1] / dci_factors
        difference = abs(value.completeness - their["completeness"])
        table.add("DCI / disentanglement_lib", ours, peer * scale, difference, f"({dci_factors} factors, scaled; ties)")

    if "disent" in peers:
        disent = peers["disent"]
        ours, value = timed(lambda: unsnarl.mutual_information_gap(codes, factors), 3)
        peer, their = timed(lambda: disent.mig._compute_mig(codes.T, factors.T))
        table.add("MIG / disent", ours, peer, abs(value - next(iter(their.values()))))
        ours, value = timed(lambda: unsnarl.sap(*train, **split), 3)
        peer, their = timed(lambda: disent.sap._compute_sap(train[0].T, train[1].T, test[0].T, test[1].T, False))
        table.add("SAP / disent", ours, peer, abs(value - next(iter(their.values()))), "(its solver stops early)")

    if infomec_path:
        published = load_infomec(infomec_path)
        ours, value = timed(lambda: unsnarl.infomec(codes, factors))
        peer, their = timed(lambda: published.compute_infomec(factors, codes, False))
        names = {"modularity": "infom", "explicitness": "infoe", "compactness": "infoc"}
        difference = np.nanmax([abs(float(value[a]) - float(their[b])) for a, b in names.items()])
        table.add("InfoMEC, continuous / published", ours, peer, difference, "(its noise is not seeded)")
        nmi = np.abs(value.nmi - their["nmi"]).max()
        ours, _ = timed(
            lambda: unsnarl.information.pairwise_mutual_information(codes, factors, estimator="ross", n_neighbors=10)
        )
        peer, _ = timed(lambda: published.compute_nmi(factors, codes, False))
        table.add("  its information matrix alone", ours, peer, nmi)
        ints = equal_width_bins(codes, bins=10)
        ours, value = timed(lambda: unsnarl.infomec(ints, factors))
        peer, their = timed(lambda: published.compute_infomec(factors, ints.astype(float), True))
        difference = np.nanmax([abs(float(value[a]) - float(their[b])) for a, b in names.items()])
        table.add("InfoMEC, discrete / published", ours, peer, difference)
    if table.theirs:
        print(f"{'all shared parts':<34}{table.ours:>9.2f}s{table.theirs:>11.1f}s{table.theirs / table.ours:>8.0f}x")


def main() -> None:
    """Print the whole-run time and memory, then the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--latents", type=int, default=64)
    parser.add_argument("--factors", type=int, default=8)
    parser.add_argument("--levels", type=int, default=10)
    parser.add_argument("--dci-factors", type=int, default=2, help="factors for which the peer's DCI is run")
    parser.add_argument("--infomec", help="the published infomec.py")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # solvers that stop early, on both sides
    codes, factors = codes_and_factors(options.n, options.latents, options.factors, options.levels)
    began = time.perf_counter()
    report = unsnarl.measure(codes, factors)
    first = time.perf_counter() - began
    seconds, report = timed(lambda: unsnarl.measure(codes, factors))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"all measures, {options.n:,} x {options.latents} codes, {options.factors} factors of {options.levels} values:"
    )
    print(
        f"  {seconds:.1f} s ({first:.1f} s the first time, with compilation), peak memory {memory:.2f} GiB, {os.cpu_count()} cores"
    )
    for name, spent in sorted(report.timings.items(), key=lambda item: -item[1]):
        print(f"  {name:<26}{spent:>7.2f} s")
    print()
    compare(codes, factors, options.infomec, options.dci_factors)


if __name__ == "__main__":
    main()
