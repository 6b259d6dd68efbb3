import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures._active import KINDS, SUBSETS, LatentTypes, classify_latents, prune
from unsnarl.measures._downstream import split_rows
from unsnarl.measures._mean_and_sampled import representation_report, sample_codes, tc_gap
from unsnarl.measures._passive_tracker import PassiveTracker, gaussian_posterior


def logvar_of(*s2, n=200):
    """Constant posterior variances a latent."""
    return np.log(np.full((n, len(s2)), s2))


def two_valued(mean, var, n=1000):
    """Variances that take two values with this mean and population variance, as log-variances."""
    half = math.sqrt(var)
    return np.log(np.repeat([[mean - half], [mean + half]], n // 2, axis=0))


def posterior(n=4000, seed=0):
    """Three active latents and six passive ones whose tiny means echo the same two features."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 4, size=(n, 3))
    active = (factors - 1.5) / 1.1 + 0.1 * rng.normal(size=(n, 3))
    features = np.stack([np.sin(active @ [1.0, 2.0, 0.5]), np.cos(active @ [0.3, -1.0, 1.5])], axis=1)
    echo = 0.03 * features @ rng.normal(size=(2, 6)) + 0.002 * rng.normal(size=(n, 6))
    mu = np.hstack([active, echo])
    return mu, logvar_of(*[0.01] * 3, *[0.99] * 6, n=n), factors


def independent_tc(cov):
    return 0.5 * (np.log(np.diag(cov)).sum() - np.linalg.slogdet(cov)[1])


class TestClassify:
    @pytest.mark.parametrize(
        ("s2", "kind"),
        [
            (0.001, "active"),
            (0.0999, "active"),
            (0.1001, "mixed"),
            (0.5, "mixed"),
            (0.8999, "mixed"),
            (0.9001, "passive"),
            (1.0, "passive"),
            (1.0999, "passive"),
            (1.1001, "mixed"),
            (5.0, "mixed"),
        ],
    )
    def test_constant_variances_are_classified_by_their_mean(self, s2, kind):
        assert classify_latents(logvar_of(s2, n=50), is_logvar=True).kinds.tolist() == [kind]

    def test_the_bounds_belong_to_the_classes(self):
        """1/8 and 1 +- 1/4 are exact in binary, as is their mean."""
        types = classify_latents(logvar_of(0.25, 0.75, 1.25), mean_tol=0.25, is_logvar=True)
        exp = np.exp(np.log([0.25, 0.75, 1.25]))
        expected = ["active" if m <= 0.25 else "passive" if 0.75 <= m <= 1.25 else "mixed" for m in exp]
        assert types.kinds.tolist() == expected
        zero = classify_latents(np.zeros((10, 1)), mean_tol=0.0, is_logvar=True)
        assert zero.kinds.tolist() == ["passive"]

    @pytest.mark.parametrize(("var", "kind"), [(0.0999, "passive"), (0.1001, "mixed")])
    def test_a_varying_variance_with_mean_one_is_mixed_from_the_tolerance_on(self, var, kind):
        types = classify_latents(two_valued(1.0, var))
        assert types.kinds.tolist() == [kind]
        assert types.mean[0] == pytest.approx(1.0)
        assert types.var[0] == pytest.approx(var)

    def test_the_variance_is_that_of_the_population_and_the_bound_is_excluded(self):
        logvar = np.log([[0.5], [1.5]])  # population variance 0.25, sample variance 0.5
        assert classify_latents(logvar, var_tol=0.26).kinds.tolist() == ["passive"]
        assert classify_latents(logvar, var_tol=float(np.exp(logvar).var())).kinds.tolist() == ["mixed"]

    def test_low_mean_with_a_high_variance_is_mixed(self):
        """Active needs a steady variance: 0.005 mostly, 9 for one input in a hundred."""
        s2 = np.full((1000, 1), 0.005)
        s2[::100] = 9.0
        assert s2.mean() <= 0.1
        assert classify_latents(np.log(s2)).kinds.tolist() == ["mixed"]

    @given(st.lists(st.lists(st.floats(-8, 3), min_size=3, max_size=3), min_size=2, max_size=30), st.floats(0, 0.49))
    @settings(max_examples=60, deadline=None)
    def test_every_latent_has_exactly_one_class_and_the_rule_holds(self, rows, mean_tol):
        logvar = np.array(rows)
        types = classify_latents(logvar, mean_tol=mean_tol, is_logvar=True)
        s2 = np.exp(logvar)
        m, v = s2.mean(axis=0), s2.var(axis=0)
        for j in range(3):
            if v[j] < 0.1 and 1 - mean_tol <= m[j] <= 1 + mean_tol:
                kind = "passive"
            elif v[j] < 0.1 and m[j] <= mean_tol:
                kind = "active"
            else:
                kind = "mixed"
            assert types.kinds[j] == kind
        joined = np.sort(np.concatenate([types.active, types.mixed, types.passive]))
        assert joined.tolist() == [0, 1, 2]

    def test_order_of_inputs_does_not_matter(self):
        rng = np.random.default_rng(0)
        logvar = rng.normal(size=(100, 5))
        one, other = classify_latents(logvar), classify_latents(logvar[rng.permutation(100)])
        assert (one.kinds == other.kinds).all()

    def test_subsets(self):
        types = classify_latents(logvar_of(1.0, 0.01, 0.5, 1.0))
        assert types.of("full").tolist() == [0, 1, 2, 3]
        assert types.of("active+passive").tolist() == [0, 1, 3]
        assert repr(types) == "LatentTypes(1 active, 1 mixed, 2 passive of 4)"
        with pytest.raises(OptionError, match=r"subset='all' is not allowed; choose one of 'full'"):
            types.of("all")

    def test_tensors_and_single_precision(self):
        assert classify_latents(torch.tensor([[0.0, -5.0], [0.01, -5.0]])).kinds.tolist() == ["passive", "active"]

    @pytest.mark.parametrize("wrong", [np.full((50, 2), 0.3), np.exp(logvar_of(0.01, 0.99))])
    def test_variances_are_noticed(self, wrong):
        with pytest.raises(DataError, match=r"all values of logvar lie in \[0, 1\].*pass 2 \* log\(sigma\) or"):
            classify_latents(wrong)
        assert len(classify_latents(wrong, is_logvar=True)) == 2

    def test_values_that_are_never_negative_warn(self):
        with pytest.warns(UserWarning, match=r"no value of logvar is negative \(from 0.01 to 1.05\)"):
            classify_latents(np.array([[0.01, 1.05], [0.01, 1.02]]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classify_latents(np.array([[0.01, 1.05], [0.01, 1.02]]), is_logvar=True)

    def test_bad_input(self):
        with pytest.raises(DataError, match=r"logvar has 1 value that is not finite \(first: NaN at row 3, column 1\)"):
            classify_latents(np.where(np.arange(20).reshape(10, 2) == 7, np.nan, -1.0))
        with pytest.raises(DataError, match="logvar must be 2-D"):
            classify_latents(np.zeros(5))
        with pytest.raises(DataError, match="the variance of latent 1 overflows: logvar reaches 800"):
            classify_latents(np.array([[0.0, 800.0], [0.0, -1.0]]))
        with pytest.raises(OptionError, match="var_tol=0 must be a number above 0"):
            classify_latents(logvar_of(0.5), var_tol=0)
        with pytest.raises(OptionError, match=r"mean_tol=0.5 must be below 0.5"):
            classify_latents(logvar_of(0.5), mean_tol=0.5)


class TestPrune:
    types = classify_latents(logvar_of(1.0, 0.01, 0.5, 1.0))

    def test_arrays_tensors_frames_and_lists(self):
        codes = np.arange(8).reshape(2, 4)
        assert prune(codes, self.types).tolist() == [[1, 2], [5, 6]]
        assert prune(codes.tolist(), self.types, keep="passive").tolist() == [[0, 3], [4, 7]]
        tensor = torch.arange(8.0).reshape(2, 4).requires_grad_()
        pruned = prune(tensor, self.types, keep=["active"])
        pruned.sum().backward()
        assert tensor.grad is not None
        assert tensor.grad.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0]]
        frame = pd.DataFrame(codes, columns=list("abcd"))
        assert prune(frame, self.types).columns.tolist() == ["b", "c"]
        assert prune(np.zeros((2, 4, 5, 5)), self.types).shape == (2, 2, 5, 5)

    def test_bad_input(self):
        with pytest.raises(DataError, match=r"codes of shape \(2, 3\) do not have the 4 latents"):
            prune(np.zeros((2, 3)), self.types)
        with pytest.raises(OptionError, match="keep='lazy' is not allowed"):
            prune(np.zeros((2, 4)), self.types, keep="lazy")
        only_passive = classify_latents(logvar_of(1.0, 0.99))
        with pytest.raises(DataError, match="no latent is left: none is active or mixed"):
            prune(np.zeros((2, 2)), only_passive)


class TestGap:
    def test_passive_echoes_make_the_whole_gap(self):
        """As in the paper: a large TC of means, none of samples, none of either without the passive latents."""
        mu, logvar, _ = posterior()
        gap = tc_gap(mu, logvar)
        assert gap.tc_mean > 2
        assert gap.tc_sampled < 0.05
        assert gap.tc_mean_without_passive < 0.01
        assert gap.tc_sampled_without_passive < 0.01
        assert gap.share_removed > 0.99
        assert gap.share_removed_random < 0.9
        assert gap.types.passive.tolist() == [3, 4, 5, 6, 7, 8]
        assert gap.low_variance.tolist() == [3, 4, 5, 6, 7, 8]
        assert gap.share_removed_low_variance == gap.share_removed

    def test_agrees_with_plain_numpy(self):
        rng = np.random.default_rng(1)
        mu = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5))
        logvar = np.log(np.array([0.01, 1.0, 1.0, 0.5, 0.02])) + 0.01 * rng.normal(size=(500, 5))
        gap = tc_gap(mu, logvar, seed=3)
        z = mu + np.exp(logvar / 2) * np.random.default_rng(3).standard_normal(mu.shape)
        full = independent_tc(np.cov(mu.T)) - independent_tc(np.cov(z.T))
        keep = [0, 3, 4]
        kept = independent_tc(np.cov(mu[:, keep].T)) - independent_tc(np.cov(z[:, keep].T))
        assert gap.gap == pytest.approx(full)
        assert gap.gap_without_passive == pytest.approx(kept)
        assert gap.share_removed == pytest.approx(1 - abs(kept) / full)
        drop = np.argsort(mu.var(axis=0))[:2]
        rest = np.setdiff1d(range(5), drop)
        other = independent_tc(np.cov(mu[:, rest].T)) - independent_tc(np.cov(z[:, rest].T))
        assert gap.share_removed_low_variance == pytest.approx(1 - abs(other) / full)

    def test_random_baseline_is_the_mean_over_choices(self):
        mu, logvar, _ = posterior(n=1000)
        gap = tc_gap(mu, logvar, draws=800)
        z = sample_codes(mu, logvar)
        covs = np.cov(mu.T), np.cov(z.T)
        from itertools import combinations

        exact = []
        for left in combinations(range(9), 3):
            gaps = independent_tc(covs[0][np.ix_(left, left)]) - independent_tc(covs[1][np.ix_(left, left)])
            exact.append(1 - abs(gaps) / gap.gap)
        assert gap.share_removed_random == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / math.sqrt(800))
        assert len(gap.random_shares) == 800

    def test_intervals_hold_the_values(self):
        mu, logvar, _ = posterior(n=600)
        gap = tc_gap(mu, logvar, bootstrap=40)
        assert gap.intervals["gap"][0] < gap.gap < gap.intervals["gap"][1]
        assert "share_removed" in gap.intervals
        assert "share_removed_random" not in gap.intervals

    def test_without_passive_latents_the_share_is_undefined(self):
        mu, _, _ = posterior(n=400)
        with pytest.warns(
            UserWarning, match="share of the gap that passive latents explain is nan: no latent is passive"
        ):
            gap = tc_gap(mu, logvar_of(*[0.01] * 9, n=400))
        assert math.isnan(gap.share_removed)
        assert math.isnan(gap.gap_without_passive)
        assert gap.tc_mean > 2

    def test_with_passive_latents_only_the_share_is_undefined(self):
        mu, _, _ = posterior(n=400)
        with pytest.warns(UserWarning, match="0 of 9 latents would be left"):
            gap = tc_gap(mu, logvar_of(*[0.99] * 9, n=400))
        assert math.isnan(gap.share_removed)

    def test_a_constant_mean_is_named_and_the_share_undefined(self):
        mu, logvar, _ = posterior(n=400)
        mu[:, 4] = 0.1
        with (
            pytest.warns(UserWarning, match="the mean representation is constant in latent 4"),
            pytest.warns(UserWarning, match="the gap of all latents is inf nats"),
        ):
            gap = tc_gap(mu, logvar)
        assert gap.tc_mean == math.inf
        assert math.isfinite(gap.gap_without_passive)
        assert math.isnan(gap.share_removed)

    def test_a_perfect_echo_is_infinite(self):
        mu, logvar, _ = posterior(n=400)
        mu[:, 4] = 2 * mu[:, 3]
        with pytest.warns(UserWarning, match="gap of all latents is inf"):
            assert tc_gap(mu, logvar).tc_mean == math.inf

    def test_bad_input(self):
        mu, logvar, _ = posterior(n=400)
        with pytest.raises(DataError, match=r"mu and logvar must have one shape, got \(400, 8\) and \(400, 9\)"):
            tc_gap(mu[:, :8], logvar)
        with pytest.raises(DataError, match="types describes 2 latents, but logvar has 9"):
            tc_gap(mu, logvar, types=classify_latents(logvar_of(0.5, 1.0)))
        with pytest.raises(OptionError, match="draws=0 must be an integer at least 1"):
            tc_gap(mu, logvar, draws=0)
        with pytest.warns(EstimatorWarning, match="100 observations are few for the covariance of 9 latents"):
            tc_gap(mu[:100], logvar[:100])


class TestReport:
    def value(self, report, subset, representation, metric):
        chosen = report[
            (report.subset == subset) & (report.representation == representation) & (report.metric == metric)
        ]
        return chosen.value.item()

    def test_metrics_agree_with_plain_numpy(self):
        from scipy.linalg import sqrtm
        from sklearn.metrics import mutual_info_score

        mu, logvar, _ = posterior(n=1500)
        report = representation_report(mu, logvar, seed=5)
        z = sample_codes(mu, logvar, 5)
        for name, codes in (("mean", mu), ("sampled", z)):
            for subset, chosen in (("full", range(9)), ("active", [0, 1, 2]), ("passive", range(3, 9))):
                part = codes[:, list(chosen)]
                cov = np.cov(part.T)
                assert self.value(report, subset, name, "total_correlation") == pytest.approx(independent_tc(cov))
                w = 2 * np.trace(cov) - 2 * np.trace(sqrtm(np.diag(np.diag(cov)) @ cov).real)
                assert self.value(report, subset, name, "wasserstein_correlation") == pytest.approx(w, abs=1e-9)
                normalized = self.value(report, subset, name, "wasserstein_correlation_normalized")
                assert normalized == pytest.approx(w / np.trace(cov), abs=1e-9)
                share = np.linalg.svd(cov, compute_uv=False) / np.trace(cov)
                rank = np.exp(-(share * np.log(share)).sum())
                assert self.value(report, subset, name, "effective_rank") == pytest.approx(rank)
                assert self.value(report, subset, name, "condition_number") == pytest.approx(np.linalg.cond(cov))
                corr = np.corrcoef(part.T)
                conditioning = self.value(report, subset, name, "condition_number_correlation")
                assert conditioning == pytest.approx(np.linalg.cond(corr))
        bins = [np.digitize(c, np.histogram(c, 20)[1][:-1]) for c in mu[:, :3].T]
        pairs = [mutual_info_score(bins[i], bins[j]) for i in range(3) for j in range(3) if i != j]
        assert self.value(report, "active", "mean", "mutual_information") == pytest.approx(np.mean(pairs))

    def test_shape_of_the_table(self):
        mu, logvar, _ = posterior(n=400)
        report = representation_report(mu, logvar)
        assert report.columns.tolist() == ["subset", "representation", "metric", "value"]
        sizes = report[(report.metric == "latents") & (report.representation == "mean")].set_index("subset").value
        assert sizes.to_dict() == {
            "full": 9, "active": 3, "mixed": 0, "passive": 6, "active+mixed": 3, "active+passive": 9, "mixed+passive": 6,
        }  # fmt: skip
        assert set(report.subset) == set(SUBSETS)
        assert "total_correlation" not in set(report[report.subset == "mixed"].metric)
        assert report.attrs == {"n": 400, "active": [0, 1, 2], "mixed": [], "passive": [3, 4, 5, 6, 7, 8]}
        assert not report.duplicated(["subset", "representation", "metric"]).any()

    def test_a_subset_of_one_latent_has_no_correlation(self):
        mu, _, _ = posterior(n=400)
        report = representation_report(mu[:, :3], logvar_of(0.01, 0.5, 1.0, n=400))
        counts = report[report.metric == "total_correlation"].subset.value_counts().to_dict()
        assert counts == dict.fromkeys(["full", "active+mixed", "active+passive", "mixed+passive"], 2)

    def test_accuracy_agrees_with_the_classifier_itself_and_rows_are_shared(self):
        mu, logvar, factors = posterior(n=400)
        mu, logvar = mu[:, [0, 1, 3, 4]], logvar[:, [0, 1, 3, 4]]
        table = pd.DataFrame(factors[:, :2], columns=["hue", "size"])
        report = representation_report(mu, logvar, table, train_size=200, test_size=150, seed=2)
        train, test = split_rows(400, 200, 150, 2)
        assert report.attrs["train_rows"] == 200
        assert len(np.intersect1d(train, test)) == 0
        found = {}
        for subset, chosen in (("full", [0, 1, 2, 3]), ("passive", [2, 3])):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = LogisticRegressionCV(Cs=10, cv=StratifiedKFold(5), scoring="accuracy")
                model.fit(mu[train][:, chosen], factors[train, 0])
            accuracy = np.mean(model.predict(mu[test][:, chosen]) == factors[test, 0])
            found[subset] = self.value(report, subset, "mean", "logistic_accuracy:hue")
            assert found[subset] == pytest.approx(accuracy)
        assert found["full"] > 0.9 > found["passive"]
        both = [self.value(report, "full", "mean", f"logistic_accuracy:{name}") for name in ("hue", "size")]
        assert self.value(report, "full", "mean", "logistic_accuracy_mean") == pytest.approx(np.mean(both))
        assert self.value(report, "full", "mean", "logistic_accuracy_min") == min(both)
        same = self.value(report, "active+mixed", "mean", "logistic_accuracy_mean")
        assert same == self.value(report, "active", "mean", "logistic_accuracy_mean")
        chance = self.value(report, "random", "none", "uniform_accuracy:hue")
        assert chance == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 150))

    def test_boosting_and_progress(self):
        mu, logvar, factors = posterior(n=300)
        told = []
        report = representation_report(
            mu[:, :4], logvar[:, :4], factors[:, :1], predictors="boosting", progress=lambda *a: told.append(a)
        )
        assert self.value(report, "full", "sampled", "boosting_accuracy_mean") > 0.8
        assert report.attrs["train_rows"] == 200
        distinct = 3  # full, active, passive
        assert told == [(i + 1, 2 * distinct) for i in range(2 * distinct)]

    def test_a_constant_latent_is_named(self):
        mu, logvar, _ = posterior(n=400)
        mu[:, 7] = 0
        with pytest.warns(UserWarning, match="the mean representation is constant in latent 7"):
            report = representation_report(mu, logvar)
        assert self.value(report, "full", "mean", "total_correlation") == math.inf
        assert self.value(report, "full", "mean", "condition_number") == math.inf
        assert math.isfinite(self.value(report, "active", "mean", "total_correlation"))
        assert math.isfinite(self.value(report, "full", "sampled", "total_correlation"))

    def test_same_seed_same_numbers(self):
        mu, logvar, _ = posterior(n=300)
        assert representation_report(mu, logvar).equals(representation_report(mu, logvar))
        assert not representation_report(mu, logvar).equals(representation_report(mu, logvar, seed=1))

    def test_bad_input(self):
        mu, logvar, factors = posterior(n=200)
        with pytest.raises(DataError, match="mu has 1 value that is not finite"):
            representation_report(np.where(np.arange(1800).reshape(200, 9) == 5, np.inf, mu), logvar)
        with pytest.raises(DataError, match=r"all values of logvar lie in \[0, 1\]"):
            representation_report(mu, np.exp(logvar))
        with pytest.raises(DataError, match="accuracy of a classifier is defined for discrete factors only"):
            representation_report(mu, logvar, mu[:, :1])
        with pytest.raises(DataError, match="all inputs must have one row an observation"):
            representation_report(mu, logvar, factors[:10])
        with pytest.raises(OptionError, match="predictors='forest' is not allowed"):
            representation_report(mu, logvar, predictors=["forest"])
        with pytest.raises(DataError, match="a classifier needs at least 20 rows, got 10"):
            split_rows(10, 5, 5, 0)


class Encoder(torch.nn.Module):
    """Maps x of 3 numbers to one active and two passive latents."""

    def __init__(self, scale=0.01):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))
        self.dropout = torch.nn.Dropout(0.5)

    def encode(self, x):
        torch.rand(1)  # an encoder that samples
        echo = self.scale * self.dropout(x[:, 1:2])
        mu = torch.cat([x[:, :1], echo, -2 * echo], dim=1)
        return mu, torch.log(torch.tensor([0.01, 1.0, 1.0])).expand(len(x), 3)


class Dist:
    def __init__(self, mean, logvar):
        self.mean, self.logvar = mean, logvar


class Output:
    def __init__(self, dist):
        self.latent_dist = dist


class KL(torch.nn.Module):
    """The interface of diffusers' AutoencoderKL."""

    def encode(self, x):
        mean = torch.stack([x.mean(1), x.amax(1), x.amin(1), 0 * x[:, 0]], dim=1)[:, :, ::2, ::2]
        return Output(Dist(mean, mean - 3))


class TestPosterior:
    def test_module_in_batches_leaves_everything_as_it_was(self):
        model = Encoder()
        model.dropout.eval()  # frozen by the user
        x = np.random.default_rng(0).normal(size=(10, 3))
        before = torch.random.get_rng_state()
        mu, logvar = gaussian_posterior(model, x, batch_size=4)
        assert torch.equal(before, torch.random.get_rng_state())
        assert model.training
        assert not model.dropout.training
        np.testing.assert_allclose(mu[:, 2], -0.02 * x[:, 1], rtol=1e-5)
        np.testing.assert_allclose(logvar[:, 0], math.log(0.01), rtol=1e-5)
        assert not isinstance(mu, torch.Tensor)

    def test_autoencoder_kl_places_are_rows_or_latents(self):
        x = torch.randn(5, 3, 8, 6)
        mu, logvar = gaussian_posterior(KL(), x, batch_size=2)
        assert mu.shape == (5 * 4 * 3, 4)
        expected = x.mean(1)[:, ::2, ::2]
        np.testing.assert_allclose(mu[:, 0], expected.flatten().numpy(), rtol=1e-6)
        np.testing.assert_allclose(logvar, mu - 3, rtol=1e-6)
        flat, _ = gaussian_posterior(KL(), x, spatial="latents")
        assert flat.shape == (5, 4 * 4 * 3)
        np.testing.assert_allclose(flat[:, :12], expected.flatten(1).numpy(), rtol=1e-6)

    def test_other_objects_get_arrays_and_tuples_of_one_are_opened(self):
        class Plain:
            def encode(self, x):
                assert isinstance(x, np.ndarray)
                return (Dist(x, -x),)

        mu, logvar = gaussian_posterior(Plain(), np.ones((4, 2)))
        assert (mu == 1).all()
        assert (logvar == -1).all()

    def test_bad_input(self):
        class Wrong:
            def __init__(self, output):
                self.output = output

            def encode(self, x):
                return self.output

        x = np.ones((4, 2))
        with pytest.raises(DataError, match=r"model \(object\) has no method encode"):
            gaussian_posterior(object(), x)
        with pytest.raises(DataError, match="got ndarray"):
            gaussian_posterior(Wrong(x), x)
        with pytest.raises(DataError, match="got tuple of length 3"):
            gaussian_posterior(Wrong((x, x, x)), x)
        with pytest.raises(DataError, match=r"mu of shape \(4, 2\) and logvar of shape \(4, 1\)"):
            gaussian_posterior(Wrong((x, x[:, :1])), x)
        with pytest.raises(DataError, match=r"one row an input, got shape \(4,\)"):
            gaussian_posterior(Wrong((x[:, 0], x[:, 0])), x)
        with pytest.raises(DataError, match="x has no inputs"):
            gaussian_posterior(Wrong((x, x)), x[:0])
        with pytest.raises(OptionError, match="spatial='columns' is not allowed"):
            gaussian_posterior(Wrong((x, x)), x, spatial="columns")


class TestTracker:
    def test_follows_the_passive_block(self):
        x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        model = Encoder().eval()
        tracker = PassiveTracker(x, every=5)
        with pytest.raises(DataError, match="nothing has been recorded yet"):
            _ = tracker.types
        for step in range(1, 16):
            with torch.no_grad():
                model.scale.fill_(0.01 * step)
            tracker(step, model)
        table = tracker.table()
        assert table.step.tolist() == [5, 10, 15]
        assert table.latents.tolist() == [2, 2, 2]
        np.testing.assert_allclose(table.correlation, 1.0, rtol=1e-5)
        variance = float(x[:, 1].var())
        scale = 0.01 * np.array([5, 10, 15])
        np.testing.assert_allclose(table.covariance, 2 * scale**2 * variance, rtol=1e-4)
        noisy = 2 * scale**2 * variance / np.sqrt((1 + scale**2 * variance) * (1 + 4 * scale**2 * variance))
        np.testing.assert_allclose(table.sampled_correlation, noisy, rtol=1e-4)
        assert tracker.types.passive.tolist() == [1, 2]
        mixed_block = tracker.table([0, 1])
        np.testing.assert_allclose(mixed_block.correlation, abs(np.corrcoef(x[:, :2].T.numpy())[0, 1]), rtol=1e-3)
        assert tracker.table("last").equals(table)

    def test_blocks_that_are_too_small_and_constant_means(self):
        class Still:
            def encode(self, x):
                return np.zeros((len(x), 2)), np.tile([0.0, -6.0], (len(x), 1))

        tracker = PassiveTracker(np.ones((10, 1)), every=1)
        tracker(0, Still())
        assert np.isnan(tracker.table().correlation.item())
        assert tracker.table([0, 1]).correlation.item() == 0
        with pytest.raises(OptionError, match="must be indices from 0 to 1"):
            tracker.table([2])
        with pytest.raises(OptionError, match="latents='now' is not allowed"):
            tracker.table("now")
        with pytest.raises(OptionError, match="every=0 must be an integer at least 1"):
            PassiveTracker(np.ones((10, 1)), every=0)

    def test_an_empty_tracker_has_an_empty_table(self):
        assert PassiveTracker(np.ones((10, 1))).table().empty


def test_kinds_cover_the_subsets():
    assert {k for s in SUBSETS if s != "full" for k in s.split("+")} == set(KINDS)
    assert LatentTypes.__dataclass_params__.frozen
