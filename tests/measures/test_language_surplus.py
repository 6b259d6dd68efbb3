"""The information surplus: exact values, and draft heads that find them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.data.known._hidden_markov import HiddenMarkovSource, hidden_source
from unsnarl.data.known._markov import MarkovSource
from unsnarl.errors import DataError, OptionError
from unsnarl.measures.language import information_surplus
from unsnarl.measures.language._draft_heads import Training, standardised, token_vectors
from unsnarl.measures.language._surplus import as_sequences, neural_surplus

QUICK = Training(steps=200, batch=256, lr=1e-2, width=32, every=50, patience=3)


class Believer(nn.Module):
    """A language model whose hidden state is the exact belief of a hidden Markov source, so its surplus is the source's."""

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.head = nn.Linear(source.states, source.vocabulary, bias=False)
        self.stretch = nn.Identity()

    def forward(self, tokens):
        beliefs = torch.from_numpy(self.source.filter(tokens.numpy())[:, 1:]).float()
        return self.head(self.stretch(beliefs))


def test_exact():
    source = hidden_source(4)
    exact = information_surplus(source, K=3, method="exact", context=5)
    assert float(exact) == pytest.approx(source.surplus(3, 5))
    assert exact.name == "surplus_3"
    assert 0 < exact < exact.upper < exact.ceiling
    assert exact.ceiling == pytest.approx(2 * math.log(4))
    chain = MarkovSource(np.random.default_rng(0).dirichlet(np.ones(4), size=4))
    assert float(information_surplus(chain, None, 4, "exact")) == pytest.approx(0, abs=1e-12)


def test_draft_heads_find_the_exact_surplus():
    source = hidden_source(4)
    corpus = source.sample(700, 30, seed=1)
    found = information_surplus(Believer(source), corpus, 2, min_context=8, training=QUICK, seed=0)
    exact = float(information_surplus(source, K=2, method="exact", context=7))
    assert exact > 0.2
    assert float(found) == pytest.approx(exact, abs=0.05)
    assert found.low < float(found) < found.high
    assert found.high - found.low < 0.1
    assert found.method == "neural"
    assert float(found) == pytest.approx(found.ce_without - found.ce_with)
    # what the tokens alone cost is the conditional entropy of a pair
    assert found.ce_without == pytest.approx(source.conditional_entropy(1), abs=0.03)


def test_nothing_is_found_where_nothing_is():
    chain = MarkovSource(np.random.default_rng(0).dirichlet(np.ones(4), size=4))
    shown = HiddenMarkovSource(chain.transition, np.eye(4))  # the belief after W_t names W_t alone
    corpus = shown.sample(300, 30, seed=1)
    found, again = (information_surplus(Believer(shown), corpus, 2, training=QUICK) for _ in range(2))
    assert abs(float(found)) < 0.03
    assert float(again) == float(found)  # the same seed, the same number


def test_several_k_share_their_heads_and_grow():
    source = hidden_source(4)
    corpus = torch.from_numpy(source.sample(400, 24, seed=1))
    beliefs = torch.from_numpy(source.filter(corpus.numpy())[:, 1:]).float()
    two, three = neural_surplus(list(corpus), list(beliefs), (2, 3), min_context=6, training=QUICK)
    assert three.steps[0] == pytest.approx(float(two))
    assert float(three) == pytest.approx(three.steps.sum())
    assert float(three) > float(two) > 0.2
    assert float(three) == pytest.approx(source.surplus(3, 7), abs=0.08)


def test_the_two_heads_have_equal_size_and_start_from_the_shares():
    from unsnarl.measures.language._draft_heads import DraftHead

    targets = torch.tensor([0, 0, 1, 2])
    vectors = token_vectors(3, targets)
    head = DraftHead(vectors, before=2, dimension=5, width=7)
    logits = head(torch.zeros(4, 2, dtype=torch.long), torch.randn(4, 5))
    assert logits[0].softmax(-1).tolist() == pytest.approx([3 / 7, 2 / 7, 2 / 7])  # one more of each than was seen
    assert torch.equal(logits[0], logits[3])


def test_large_vocabularies_are_read_and_written_with_the_models_vectors():
    count = 2_000
    inputs, outputs = torch.randn(count, 24), torch.randn(count, 200) * 5 + 3
    vectors = token_vectors(count, torch.arange(count), inputs, outputs)
    assert vectors.inputs.shape == (count, 24)
    assert vectors.outputs.shape == (count, 128)  # principal components
    assert float(vectors.outputs.std()) == pytest.approx(1, rel=1e-3)
    gram = vectors.outputs.T @ vectors.outputs
    assert float((gram - torch.diag(gram.diagonal())).abs().max()) < 1e-2 * float(gram.diagonal().max())
    learned = token_vectors(count, torch.arange(count))
    assert learned.inputs is None


def test_standardising():
    h = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert standardised(h, h).numpy() == pytest.approx(np.array([[-1, 0], [1, 0]]) / math.sqrt(2))


def test_corpora():
    rows = as_sequences(np.arange(10), 4)
    assert [r.tolist() for r in rows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(as_sequences(np.zeros((3, 8), int), 8)) == 3
    assert [len(r) for r in as_sequences([[1, 2, 3], [4]], 2)] == [2, 1, 1]
    assert len(as_sequences(torch.zeros(2, 5, dtype=torch.int32), 8)) == 2


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        (None, "corpus is missing"),
        (np.zeros((30, 12)), "integers"),
        (np.zeros((5, 12), int), "5 sequences of at least 3 tokens; 10 are needed"),
        (np.zeros((40, 2), int), "0 sequences"),
        ([], "no tokens"),
        (np.full((40, 12), 7), "tokens from 7 to 7; the model has 0 to 3"),
    ],
)
def test_bad_corpora(corpus, words):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(8, 3), nn.Linear(3, 4)

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    with pytest.raises(DataError, match=words):
        information_surplus(Plain(), corpus, 2)


def test_bad_options():
    source = hidden_source(0)
    with pytest.raises(OptionError, match="method='exact' needs a source"):
        information_surplus(nn.Linear(2, 2), None, 2, "exact")
    with pytest.raises(OptionError, match="a source of known probabilities takes method='exact'"):
        information_surplus(source, np.zeros((20, 8), int), 2)
    with pytest.raises(OptionError, match="K=1"):
        information_surplus(source, None, 1, "exact")
    with pytest.raises(OptionError, match="method='guess'"):
        information_surplus(source, None, 2, "guess")
    with pytest.raises(OptionError, match="min_context=0"):
        information_surplus(Believer(source), source.sample(20, 10), 2, min_context=0)
