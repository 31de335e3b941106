"""ML-CTL with InfoNCE: contrast of sentence and word together."""

from __future__ import annotations

from typing import ClassVar

from harness.records import Corpus
from methods.objectives.sentence_word import SentenceWordConfig, SentenceWordMethod


class MLCTL(SentenceWordMethod):
    r"""Multi-level contrast under InfoNCE: each pair carries one word and its translation.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
    2202.13083. Objective: as `info-snt`, on the concatenated contextual embedding
        x_c = W2 ReLU(W1 [u_snt ; u_wrd] + b1) + b2,  u = mean over tokens of h^1 + mean over tokens of h^last,
        u_snt over the sentence with its special tokens, u_wrd over the subwords of the word. L_multi1 = L_info + 0.1
        L_MLM.
    Inputs: parallel pairs of the sample with the word pair that a dictionary places in them (each word once per
    sentence). Relations: `ml-ctl-cz` changes the loss, `info-snt` leaves the word out. The paper prints no row for this
    one.
    """

    words: ClassVar[bool] = True
    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Chen et al. 2022, arXiv 2202.13083"
    objective: ClassVar[str] = "InfoNCE over [sentence; word] vectors, 2n-2 negatives, + 0.1 masked LM"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \frac{1}{2n} \sum_{i=1}^{n} \bigl( \ell(x_i) + \ell(y_i) \bigr) + \alpha \,
        \mathcal{L}_{\mathrm{MLM}} \\
    \ell(x_i) &= -\log \frac{e^{s(x_i, y_i)}}{e^{s(x_i, y_i)} + \sum_{k \in K_i} e^{s(x_i, k)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau} \\
    x_i &= W_2 \mathrm{ReLU}(W_1 [u_i^{\mathrm{snt}}; u_i^{\mathrm{wrd}}] + b_1) + b_2 \\
    u_i &= \bar{h}^{\,1}_i + \bar{h}^{\,L}_i
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "xᵢ, yᵢ: the two sides of pair i, each its sentence and one word of it, from their mean states after the "
        "first and the last layer; Kᵢ: the other 2n − 2 of the batch, but for repeats of the same sentence; by "
        "default τ = 0.07, α = 0.1."
    )

    class Config(SentenceWordConfig):
        pass
