"""Markov and hidden Markov sources: stationary laws, exact entropies, filtering and surplus against enumeration and samples."""

import itertools
import math
import pickle

import numpy as np
import pytest

from unsnarl.data.known._hidden_markov import HiddenMarkovSource, hidden_source
from unsnarl.data.known._markov import MarkovSource, prototype_source
from unsnarl.data.known._token_source import TokenSource
from unsnarl.errors import DataError, OptionError


def random_markov(seed=0, vocabulary=3, order=2):
    return MarkovSource(np.random.default_rng(seed).dirichlet(np.ones(vocabulary), size=vocabulary**order), order=order)


def random_hidden(seed=0, states=3, vocabulary=4):
    rng = np.random.default_rng(seed)
    return HiddenMarkovSource(
        rng.dirichlet(np.ones(states), size=states), rng.dirichlet(np.ones(vocabulary), size=states)
    )


def word_probability(source, word):
    """By summing over all paths of states."""
    if isinstance(source, HiddenMarkovSource):
        total = 0.0
        for path in itertools.product(range(source.states), repeat=len(word)):
            p = source.stationary[path[0]]
            for i, (state, token) in enumerate(zip(path, word, strict=True)):
                p *= source.emission[state, token] * (source.transition[path[i - 1], state] if i else 1)
            total += p
        return total
    order, v = source.order, source.vocabulary
    p = source.stationary[int(np.ravel_multi_index(word[:order], (v,) * order))]
    for i in range(order, len(word)):
        p *= source.transition[int(np.ravel_multi_index(word[i - order : i], (v,) * order)), word[i]]
    return p


@pytest.mark.parametrize("source", [random_markov(), random_hidden()], ids=["markov", "hidden"])
def test_words_against_enumeration(source):
    length = 4
    expected = [word_probability(source, w) for w in itertools.product(range(source.vocabulary), repeat=length)]
    assert source.word_probabilities(length) == pytest.approx(np.array(expected))
    for n in (0, 1, 2, 3, 5):
        words = source.word_probabilities(n)
        assert words.sum() == pytest.approx(1)
        # stationary: leaving out the first or the last token gives the same law
        shorter = source.word_probabilities(n + 1).reshape(source.vocabulary, -1)
        assert shorter.sum(axis=0) == pytest.approx(words)
        assert source.word_probabilities(n + 1).reshape(-1, source.vocabulary).sum(axis=1) == pytest.approx(words)


@pytest.mark.parametrize("source", [random_markov(1), random_hidden(1)], ids=["markov", "hidden"])
def test_predictions_are_ratios_of_words(source):
    v = source.vocabulary
    for length in (0, 1, 2, 4):
        contexts = np.array(list(itertools.product(range(v), repeat=length)), dtype=np.int64).reshape(v**length, length)
        joint = source.word_probabilities(length + 1).reshape(-1, v)
        assert source.predict(contexts) == pytest.approx(joint / joint.sum(axis=1, keepdims=True))


def test_entropies_of_a_chain_in_closed_form():
    a, b = 0.2, 0.5
    source = MarkovSource([[1 - a, a], [b, 1 - b]])
    pi = np.array([b, a]) / (a + b)
    binary = lambda x: -x * math.log(x) - (1 - x) * math.log(1 - x)  # noqa: E731
    rate = pi[0] * binary(a) + pi[1] * binary(b)
    assert source.stationary == pytest.approx(pi)
    assert source.entropy_rate() == pytest.approx(rate)
    assert source.block_entropy(7) == pytest.approx(binary(pi[0]) + 6 * rate)
    assert source.block_entropy(7) == pytest.approx(TokenSource.block_entropy(source, 7))
    assert source.surplus(2) == pytest.approx(0, abs=1e-12)  # of order 1, so W_t says it all


def test_independent_and_copying_sources():
    dice = MarkovSource(np.full((6, 6), 1 / 6))
    assert dice.entropy_rate() == pytest.approx(math.log(6))
    assert dice.surplus(4) == pytest.approx(0, abs=1e-12)
    # the token two places before is repeated, after a fair start: the past tells everything, W_t nothing
    copy = np.zeros((2, 2, 2))
    for old, new in itertools.product(range(2), repeat=2):
        copy[old, new, old] = 0.9
        copy[old, new, 1 - old] = 0.1
    source = MarkovSource(copy)
    binary = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert source.entropy_rate() == pytest.approx(binary)
    # W_(t+1) copies W_(t-1), of which W_t, the other thread, knows nothing
    assert source.surplus(2) == pytest.approx(math.log(2) - binary)
    assert source.surplus(2, context=1) == pytest.approx(math.log(2) - binary)
    assert source.surplus(2, context=0) == pytest.approx(0, abs=1e-12)


def test_surplus_is_the_conditional_information_by_enumeration():
    source, K, L = random_hidden(2), 3, 2
    v = source.vocabulary
    words = source.word_probabilities(L + K).reshape(v**L, v, v ** (K - 1))  # past, W_t, later
    later = lambda p: -(p[p > 0] * np.log(p[p > 0])).sum()  # noqa: E731
    h = lambda *axes: later(words.sum(axis=axes))  # noqa: E731
    expected = (h(0) - h(0, 2)) - (h() - h(2))  # H(later | W) - H(later | past, W)
    assert source.surplus(K, context=L) == pytest.approx(expected)
    assert 0 <= source.surplus(K, context=L) <= source.block_entropy(K) - source.block_entropy(1)


def test_hidden_entropy_rate_and_its_bounds():
    source = hidden_source(3)
    bounds = [source.entropy_rate_bounds(n) for n in range(6)]
    lows, highs = np.array(bounds).T
    assert (np.diff(lows) >= -1e-12).all()
    assert (np.diff(highs) <= 1e-12).all()
    assert (lows <= highs).all()
    rate = source.entropy_rate(1e-3)
    assert lows[-1] <= rate <= highs[-1] + 1e-9
    # against the mean log-likelihood of a long sample
    text = source.sample(40, 1_000, seed=5)
    beliefs = source.filter(text)[:, :-1]
    p = (beliefs @ source.emission).reshape(-1, source.vocabulary)[np.arange(text.size), text.ravel()]
    logs = -np.log(p).reshape(text.shape)[:, 10:]
    assert rate == pytest.approx(logs.mean(), abs=4 * logs.mean(axis=1).std() / math.sqrt(40) + 1e-3)
    # an HMM whose tokens name its state is a Markov chain
    chain = random_markov(4, 3, 1)
    shown = HiddenMarkovSource(chain.transition, np.eye(3))
    assert shown.entropy_rate() == pytest.approx(chain.entropy_rate(), abs=1e-9)
    assert shown.block_entropy(5) == pytest.approx(chain.block_entropy(5))
    with pytest.raises(OptionError, match=r"tolerance=1e-12 is not reached: with \d+ tokens of context"):
        hidden_source(0, vocabulary=16).entropy_rate(1e-12)


def test_the_filter_is_bayes_rule():
    source = random_hidden(5)
    word = (1, 3, 0)
    beliefs = source.filter(np.array(word))
    assert beliefs.shape == (4, 3)
    assert beliefs[0] == pytest.approx(source.stationary)
    joint = np.zeros(3)
    for path in itertools.product(range(3), repeat=4):
        p = source.stationary[path[0]]
        for i in range(3):
            p *= source.emission[path[i], word[i]] * source.transition[path[i], path[i + 1]]
        joint[path[3]] += p
    assert beliefs[3] == pytest.approx(joint / joint.sum())


@pytest.mark.parametrize("source", [random_markov(6), random_hidden(6)], ids=["markov", "hidden"])
def test_samples_follow_the_law(source):
    text = source.sample(4_000, 6, seed=1)
    assert text.shape == (4_000, 6)
    v = source.vocabulary
    for start in (0, 3):  # stationary from the first token on
        index = text[:, start] * v * v + text[:, start + 1] * v + text[:, start + 2]
        found = np.bincount(index, minlength=v**3) / len(text)
        expected = source.word_probabilities(3)
        assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max() / len(text))
    assert (source.sample(5, 6, seed=1) == source.sample(5, 6, seed=1)).all()
    assert (source.sample(50, 6, seed=1) != source.sample(50, 6, seed=2)).any()
    assert source.sample(3, 1).shape == (3, 1)


def test_prototype_source_predicts_in_groups():
    source = prototype_source(7)
    assert source.transition.shape == (256, 16)
    assert source.stationary.sum() == pytest.approx(1)
    near = np.sort(np.abs(source.transition[:, None] - source.transition[None]).sum(-1), axis=1)[:, 1]
    alone = prototype_source(7, prototypes=None)
    far = np.sort(np.abs(alone.transition[:, None] - alone.transition[None]).sum(-1), axis=1)[:, 1]
    assert np.median(near) < 0.2 < 0.6 < np.median(far)
    assert prototype_source(0, noise=0.0, prototypes=1).entropy_rate() == pytest.approx(
        prototype_source(0, noise=0.0, prototypes=1).block_entropy(1)
    )


def test_transient_contexts_are_left_for_good():
    source = MarkovSource([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    assert source.stationary == pytest.approx([0, 0.5, 0.5])
    periodic = MarkovSource([[0.0, 1.0], [1.0, 0.0]])
    assert periodic.stationary == pytest.approx([0.5, 0.5])
    assert periodic.entropy_rate() == 0
    absorbing = MarkovSource([[1.0, 0.0], [0.5, 0.5]])
    assert absorbing.stationary == pytest.approx([1, 0])
    with pytest.raises(DataError, match="a word that this source never gives"):
        MarkovSource(np.tile(np.array([[1.0, 0.0]]), (4, 1)), order=2).predict([[1]])


def test_it_survives_pickling():
    source = pickle.loads(pickle.dumps(random_hidden(8)))
    assert source.block_entropy(3) == pytest.approx(random_hidden(8).block_entropy(3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: MarkovSource([[0.5, 0.6], [0.5, 0.5]]), DataError, "row 0 sums to 1.1"),
        (lambda: MarkovSource([[1.5, -0.5], [0.5, 0.5]]), DataError, "negative probability"),
        (lambda: MarkovSource(np.full((3, 2), 0.5)), DataError, r"shape \(3, 2\)"),
        (lambda: MarkovSource([0.5, 0.5]), DataError, r"shape \(2,\)"),
        (lambda: MarkovSource([[np.nan, 1.0], [0.5, 0.5]]), DataError, "not finite"),
        (lambda: MarkovSource(np.eye(2)), DataError, "split into 2 classes"),
        (lambda: MarkovSource(np.full((2, 2), 0.5), order=0), OptionError, "order=0"),
        (lambda: HiddenMarkovSource(np.full((2, 3), 1 / 3), np.eye(2)), DataError, r"\(states, states\)"),
        (lambda: HiddenMarkovSource(np.full((2, 2), 0.5), np.eye(3)), DataError, r"emission must be \(2, vocabulary\)"),
        (lambda: HiddenMarkovSource(np.eye(2), np.full((2, 2), 0.5)), DataError, "split into 2 classes"),
        (lambda: random_markov().predict([[5]]), DataError, "tokens from 5 to 5; the source has 0 to 2"),
        (lambda: random_hidden().filter([[0.5]]), DataError, "integer tokens"),
        (lambda: random_hidden().word_probabilities(13), OptionError, "more than can be enumerated"),
        (lambda: random_hidden().surplus(1), OptionError, "K=1"),
        (lambda: random_hidden().surplus(2, context=-1), OptionError, "context=-1"),
        (lambda: random_hidden().sample(0, 5), OptionError, "sequences=0"),
        (lambda: prototype_source(noise=2), OptionError, "noise=2"),
        (lambda: hidden_source(moves="jump"), OptionError, "moves='jump'"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
