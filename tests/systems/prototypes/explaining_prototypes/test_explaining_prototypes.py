import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from unsnarl.data import FactorDataset
from unsnarl.data._characteristics import CHARACTERISTICS, CharacteristicScenes
from unsnarl.data.image_operators import Brightness, Contrast, Hue, Saturation, Shape, calibrated, default_operators
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.systems.prototypes.explaining_prototypes import (
    PrototypeExplainer,
    compare_scores,
    explain_prototypes,
    local_scores,
    misleading_pairs,
    redundant_pairs,
)
from unsnarl.systems.prototypes.explaining_prototypes._known_reason import KnownReason
from unsnarl.systems.prototypes.explaining_prototypes._local import changed_similarities
from unsnarl.systems.prototypes.explaining_prototypes._text import sentence

OPERATORS = (Hue(), Shape(3.0), Contrast(), Saturation(), Brightness())
IMAGES = CharacteristicScenes(20, image_size=32, seed=0).observations.numpy()


class Cells:
    """Similarity of the mean color of cells of 8 x 8 pixels to fixed colors: quick, and any operator changes it."""

    def __init__(self, prototypes=5, seed=0):
        self.colors = np.random.default_rng(seed).uniform(0.2, 0.8, size=(prototypes, 3))

    def distances(self, x):
        x = np.asarray(x, dtype=float)
        n, c, h, w = x.shape
        cells = x.reshape(n, c, h // 8, 8, w // 8, 8).mean(axis=(3, 5))
        return ((cells[:, None] - self.colors[None, :, :, None, None]) ** 2).sum(axis=2)

    def similarity_map(self, x):
        d = self.distances(x)
        return torch.from_numpy(np.log((d + 1) / (d + 1e-4)))


def plain_scores(model, images, operators):
    """The method, step by step, one image and prototype at a time."""
    x = images.astype(float) / 255
    phi = np.zeros((len(x), len(model.colors), len(operators)))
    g = np.zeros(phi.shape[:2])
    for a, image in enumerate(x):
        d = model.distances(image[None])[0]
        for j, one in enumerate(d):
            place = np.unravel_index(one.argmin(), one.shape)
            g[a, j] = np.log((one[place] + 1) / (one[place] + 1e-4))
            for i, operator in enumerate(operators):
                changed = model.distances(operator(image[None].astype(np.float32)))[0, j][place]
                phi[a, j, i] = g[a, j] - np.log((changed + 1) / (changed + 1e-4))
    weighted = sum(phi[a] * g[a][:, None] for a in range(len(x))) / g.sum(axis=0)[:, None]
    return phi, weighted


class TestParity:
    def test_local_and_global_scores(self):
        model = Cells()
        phi, weighted = plain_scores(model, IMAGES, OPERATORS)
        explainer = PrototypeExplainer(model, OPERATORS, rows=6)
        np.testing.assert_allclose(explainer.local(IMAGES), phi, atol=1e-5)
        frame = explainer.global_(IMAGES)
        assert list(frame.columns) == ["prototype", "characteristic", "score"]
        table = frame.pivot(index="prototype", columns="characteristic", values="score")
        np.testing.assert_allclose(table[[o.name for o in OPERATORS]].to_numpy(), weighted, atol=1e-5)

    def test_the_place_is_that_of_the_original(self):
        """A model with one hot cell that brightness moves: fixed to the old place, the whole similarity is lost."""

        class Moving:
            def similarity_map(self, x):
                bright = np.asarray(x).mean(axis=(1, 2, 3)) > 0.4
                maps = np.zeros((len(bright), 1, 2, 2))
                maps[bright, 0, 0, 0] = 3.0
                maps[~bright, 0, 1, 1] = 2.5
                return maps

        x = np.full((1, 3, 24, 24), 0.45)
        changed = changed_similarities(Moving(), x, [Brightness(0.8)])
        assert changed.similarity[0, 0] == 3.0
        assert changed.there[0, 0, 0] == 0.0
        assert changed.anywhere[0, 0, 0] == 2.5
        assert PrototypeExplainer(Moving(), [Brightness(0.8)]).local(x)[0, 0, 0] == 3.0

    def test_weighting_by_similarity(self):
        """Two images, one of similarity 3 that loses 1, one of similarity 1 that loses 0: (1 x 3 + 0 x 1) / 4."""

        class Two:
            def similarity_map(self, x):
                level = np.asarray(x)[:, 0, 0, 0]
                return np.select([level > 0.9, level > 0.65, level > 0.2], [3.0, 2.0, 1.0])[:, None, None, None]

        x = np.stack([np.full((3, 22, 22), 0.95), np.full((3, 22, 22), 0.3)])
        frame = PrototypeExplainer(Two(), [Brightness(0.75)]).global_(x)
        assert frame["score"].tolist() == pytest.approx([0.75])

    def test_batches_do_not_matter(self):
        model = Cells()
        whole = PrototypeExplainer(model, OPERATORS).global_(IMAGES)
        x = torch.from_numpy(IMAGES)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.zeros(20)), batch_size=7)
        for data in (loader, [x[:3], x[3:]], FactorDataset(x), x):
            parts = PrototypeExplainer(model, OPERATORS, rows=4).global_(data)
            pd.testing.assert_frame_equal(parts, whole, atol=1e-9)

    def test_normalisation_comes_after_the_change(self):
        class Normalised(Cells):
            def similarity_map(self, x):
                assert float(x.max()) > 1 or float(x.min()) < 0
                return super().similarity_map(x * 0.25 + 0.5)

        plain = PrototypeExplainer(Cells(), OPERATORS).local(IMAGES)
        other = PrototypeExplainer(Normalised(), OPERATORS, normalise=lambda x: (x - 0.5) / 0.25).local(IMAGES)
        np.testing.assert_allclose(other, plain, atol=1e-4)


class TestKnownReasons:
    @pytest.fixture(scope="class")
    @staticmethod
    def operators():
        return calibrated(default_operators(height=64), CharacteristicScenes(10, seed=3).observations)

    @pytest.mark.parametrize("label", [0, 3, 4, 6, 9])
    def test_the_true_reason_comes_first(self, operators, label):
        name = CHARACTERISTICS[label // 2]
        train = CharacteristicScenes(20, seed=label, classes=(label,))
        shown = CharacteristicScenes(12, seed=100 + label, classes=(label,))
        model = KnownReason(name, train.observations)
        x = shown.observations
        if name == "shape":  # an outline is alike only where it lies alike
            x = shown.intervene(
                slice(None), layout=train.table.values["layout"].to_numpy()[np.resize(model.source, 12)]
            )
            x = x.observations
        scores, similarity = local_scores(model, x, operators)
        nearest = similarity.argmax(axis=1)
        top = scores[np.arange(12), nearest].argmax(axis=1)
        assert np.mean(top == [o.name for o in operators].index(name)) >= 0.9

    def test_what_a_model_cannot_see_scores_nothing(self, operators):
        train = CharacteristicScenes(20, seed=0, classes=(0,)).observations
        scores, similarity = local_scores(KnownReason("hue", train), train[:6], operators)
        names = [o.name for o in operators]
        best = scores[np.arange(6), similarity.argmax(axis=1)]
        for other in ("shape", "contrast", "brightness"):
            assert np.abs(best[:, names.index(other)]).max() < 0.1 * best[:, names.index("hue")].min()


class TestWords:
    def test_order_and_signs(self):
        names = ["hue", "shape", "texture", "contrast"]
        text = sentence(2, 5, 3, 4.0, [0.1, 2.0, -0.5, -0.2], names, 1)
        assert text == (
            "Image 2 looks like prototype 5 of 3 (similarity 4.00) because of shape (2.00); changing texture makes "
            "them more alike (-0.50), as does changing contrast (-0.20)."
        )
        none = sentence(0, 1, None, 4.0, [0.01, 0.0, 0.0, 0.0], names, 3)
        assert none.endswith("(similarity 4.00), but none of hue, shape, texture and contrast is the reason.")

    def test_one_sentence_an_image_about_its_nearest_prototype(self):
        model = Cells()
        explainer = PrototypeExplainer(model, OPERATORS, rows=8)
        texts = explainer.explain(IMAGES)
        best = model.similarity_map(IMAGES / 255).numpy().max(axis=(2, 3)).argmax(axis=1)
        assert len(texts) == 20
        for i, (text, j) in enumerate(zip(texts, best, strict=True)):
            assert text.startswith(f"Image {i} looks like prototype {j} (")
        assert len(explainer.explain(IMAGES[:3], prototypes=2)) == 6

    def test_prototypes_of_the_predicted_class(self):
        class Classifier(Cells):
            class_of_ = np.array(["a", "a", "b", "b", "b"])

            def predict(self, x):
                return np.array(["b"] * len(x))

        texts = PrototypeExplainer(Classifier(), OPERATORS).explain(IMAGES)
        assert all(" of 'b' " in t for t in texts)


class TestPairs:
    def test_a_copy_is_flagged_and_others_are_not(self):
        rng = np.random.default_rng(0)
        vectors, scores = rng.normal(size=(12, 6)), rng.normal(size=(12, 5))
        class_of = np.repeat([0, 1, 2], 4)
        vectors[3], scores[3] = vectors[1], scores[1] + 0.001
        vectors[7], scores[7] = vectors[5], -scores[5]  # near, but for other reasons
        vectors[8], scores[8] = vectors[0], scores[0]  # near and for the same reason, but of another class
        found = redundant_pairs(vectors, scores, class_of)
        assert found[["class", "first", "second"]].to_numpy().tolist() == [[0, 1, 3]]
        assert found["distance"].tolist() == [0.0]
        assert found["correlation"].tolist() == pytest.approx([1.0])

    def test_thresholds(self):
        """At 0.25, which no rank correlation of five numbers hits exactly."""
        rng = np.random.default_rng(1)
        vectors, scores, class_of = rng.normal(size=(10, 4)), rng.normal(size=(10, 5)), np.zeros(10, dtype=int)
        found = redundant_pairs(vectors, scores, class_of, percentile=40, correlation=0.25)
        expected = []
        i, j = np.triu_indices(10, 1)
        d = np.linalg.norm(vectors[i] - vectors[j], axis=1)
        for a, b, one in zip(i, j, d, strict=True):
            if one <= np.percentile(d, 40) and stats.spearmanr(scores[a], scores[b]).statistic >= 0.25:
                expected.append((a, b))
        assert sorted(zip(found["first"], found["second"], strict=True)) == expected
        assert found["distance"].is_monotonic_increasing

    def test_misleading(self):
        rng = np.random.default_rng(2)
        names = ["hue", "shape"]
        vectors = 10 * rng.normal(size=(8, 3))
        scores = np.tile([2.0, 1.0], (8, 1))
        patches = [rng.random((3, 10, 12)) for _ in range(8)]
        patches[1] = patches[0] + 0.001  # looks the same, rests on something else
        scores[1] = [1.0, 2.0]
        vectors[3] = vectors[2] + 0.001  # one to the model, though it looks quite different
        patches[2], patches[3] = np.zeros((3, 10, 12)), np.ones((3, 9, 9))
        found = misleading_pairs(vectors, scores, patches, names)
        rows = found[["kind", "first", "second", "first_reason", "second_reason"]].to_numpy().tolist()
        assert ["alike, other reason", 0, 1, "hue", "shape"] in rows
        assert ["different, same reason", 2, 3, "hue", "hue"] in rows
        assert len(rows) <= 3

    def test_of_a_model(self):
        model = Cells()
        explainer = PrototypeExplainer(model, OPERATORS)
        with pytest.raises(NotFittedError, match="call global_"):
            PrototypeExplainer(model, OPERATORS, vectors=model.colors, class_of=np.zeros(5)).redundant()
        explainer.global_(IMAGES)
        with pytest.raises(OptionError, match="a Cells without prototype_vectors_; give vectors="):
            explainer.redundant()
        model.colors[1] = model.colors[0]
        known = PrototypeExplainer(model, OPERATORS, vectors=model.colors, class_of=np.zeros(5))
        known.global_(IMAGES)
        found = known.redundant()
        assert (found.loc[0, "first"], found.loc[0, "second"]) == (0, 1)
        patches = [np.full((3, 4, 4), c[:, None, None]) for c in model.colors]
        assert set(known.misleading(patches).columns) >= {"kind", "pixel_distance", "latent_distance"}


class TestCompare:
    def test_against_scipy(self):
        rng = np.random.default_rng(0)
        train = rng.normal(size=(12, 2))
        test = train + 0.3 * rng.normal(size=(12, 2)) + [1.0, 0.0]
        found = compare_scores(train, test, ["hue", "shape"])
        assert list(found.index) == ["hue", "shape", "all"]
        for i, name in enumerate(("hue", "shape")):
            welch = stats.ttest_ind(train[:, i], test[:, i], equal_var=False)
            assert found.loc[name, "welch_t"] == pytest.approx(welch.statistic)
            assert found.loc[name, "welch_p"] == pytest.approx(welch.pvalue)
            assert found.loc[name, "shapiro_train"] == pytest.approx(stats.shapiro(train[:, i]).pvalue)
            assert found.loc[name, "shapiro_test"] == pytest.approx(stats.shapiro(test[:, i]).pvalue)
            assert found.loc[name, "spearman"] == pytest.approx(stats.spearmanr(train[:, i], test[:, i]).statistic)
        assert found.loc["hue", "welch_p"] < 0.05 < found.loc["shape", "welch_p"]

    def test_two_halves_of_one_set_agree(self):
        more = CharacteristicScenes(400, image_size=24, seed=8).observations
        found = PrototypeExplainer(Cells(), OPERATORS).compare(more[:200], more[200:])
        assert found.loc["all", "spearman"] > 0.8

    def test_few_prototypes_and_constant_scores(self):
        found = compare_scores(np.ones((1, 2)), np.ones((1, 2)), ["a", "b"])
        assert found.loc["a", ["welch_t", "shapiro_train", "spearman"]].isna().all()
        assert found.loc["a", "mean_train"] == 1


class TestInOneCall:
    def test_explain_prototypes(self):
        model = Cells()
        model.prototype_vectors_, model.class_of_ = model.colors, np.array([0, 0, 0, 1, 1])
        found = explain_prototypes(model, IMAGES[:4], data=IMAGES, operators=OPERATORS, top=2)
        assert found.local.shape == (4, 5, 5)
        assert len(found.sentences) == 4
        assert found.redundant is not None
        ranking = found.ranking()
        table = found.scores.pivot(index="prototype", columns="characteristic", values="score")
        assert ranking[1].tolist() == table.idxmax(axis=1).tolist()

    def test_calibrated(self):
        scenes = CharacteristicScenes(6, image_size=32, seed=1).observations
        found = explain_prototypes(Cells(), scenes, operators="calibrated")
        assert found.redundant is None
        strengths = {o.name: o.strength for o in found.explainer.operators}
        assert strengths["brightness"] > 0.9
        with pytest.raises(OptionError, match="operators='equal' must be"):
            explain_prototypes(Cells(), scenes, operators="equal")


class TestBadInput:
    def test_model(self):
        with pytest.raises(OptionError, match="model is a int without similarity_map"):
            PrototypeExplainer(3)
        flat = SimpleNamespace(similarity_map=lambda x: np.zeros((len(x), 4)))
        with pytest.raises(DataError, match=r"must give \(batch, prototype, rows, columns\), got shape \(20, 4\)"):
            PrototypeExplainer(flat, OPERATORS).local(IMAGES)
        lost = SimpleNamespace(similarity_map=lambda x: np.full((len(x), 2, 2, 2), np.nan))
        with pytest.raises(DataError, match="not finite"):
            PrototypeExplainer(lost, OPERATORS).local(IMAGES)

    def test_weights(self):
        zero = SimpleNamespace(similarity_map=lambda x: np.zeros((len(x), 2, 2, 2)))
        with pytest.warns(
            UserWarning, match=r"prototype 0, 1 is similar to none of the images \(its weights sum to 0\)"
        ):
            frame = PrototypeExplainer(zero, OPERATORS).global_(IMAGES)
        assert frame["score"].isna().all()
        negative = SimpleNamespace(similarity_map=lambda x: np.full((len(x), 2, 2, 2), -0.5))
        with pytest.raises(DataError, match=r"must not be negative, found -0\.5"):
            PrototypeExplainer(negative, OPERATORS).global_(IMAGES)

    def test_push_state(self):
        model = Cells()
        for state, words in (("never", "were never pushed"), ("stale", "were trained after the last push")):
            model.push_state_ = state
            with pytest.warns(UserWarning, match=words):
                PrototypeExplainer(model, OPERATORS).local(IMAGES)
        model.push_state_ = "pushed"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            PrototypeExplainer(model, OPERATORS).local(IMAGES)

    def test_images(self):
        explainer = PrototypeExplainer(Cells(), default_operators())
        with pytest.raises(DataError, match="undo it"):
            explainer.local((IMAGES / 255 - 0.5) / 0.2)
        with pytest.raises(DataError, match="smaller than the search window"):
            explainer.local(IMAGES[:, :, :16, :16])
        with pytest.raises(DataError, match="data holds no image"):
            explainer.global_([])
        grey = np.repeat(IMAGES[:, :1], 3, axis=1)
        with pytest.warns(UserWarning, match="all images are grey; hue does nothing"):
            scores = PrototypeExplainer(Cells(), [Hue(), Contrast()]).local(grey)
        assert np.abs(scores[:, :, 0]).max() < 1e-4
        assert np.abs(scores[:, :, 1]).max() > 0.01


def test_the_page_of_an_explanation_shows_the_reasons_beside_the_prototypes(tmp_path):
    from unsnarl.report import write_explanation_page
    from unsnarl.systems.prototypes.protopnet import ProtoPNet

    scenes = CharacteristicScenes(48, image_size=24, classes=(0, 1), seed=0)
    options = {"epochs": 2, "warm_epochs": 1, "push_start": 1, "last_epochs": 1, "batch_size": 16}
    model = ProtoPNet(per_class=2, dim=8, **options).fit(scenes, scenes.labels)
    images = scenes.observations[:3]
    found = model.explain(images[1], top=2)[0]
    why = explain_prototypes(model, images, data=images, operators=OPERATORS)
    page = why.page(found, 1)
    shown = page["prototypes"][0]
    first = found.evidence[0]
    assert shown["importance"] == dict(zip(why.characteristics, why.local[1, first.prototype].tolist(), strict=True))
    assert shown["scores"]["contribution"] == first.contribution
    assert page["words"][-1] == why.sentences[1]
    html = write_explanation_page(images[1], page, tmp_path / "why.html").read_text()
    assert f"prototype {first.prototype}" in html.lower()
    assert "saturation" in html
    with pytest.raises(OptionError, match="image=3"):
        why.page(found, 3)
    bare = ProtoPNet(per_class=2, dim=8, keep_images=False, **options).fit(scenes, scenes.labels)
    with pytest.raises(DataError, match="keep_images=True"):
        bare.explain(images[0], top=1)[0].to_page()
