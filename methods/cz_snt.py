"""CZ-snt: CZ-NCE over parallel sentences."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordConfig, SentenceWordMethod


class CZSnt(SentenceWordMethod):
    r"""Sentence-only CZ-NCE with masked LM: the second ablation row of the ML-CTL paper.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
    2202.13083. Objective: L = 1/2n sum_i (L_CZ(x_i) + L_CZ(y_i)) + 0.1 L_MLM, with
        L_CZ(x_i) = -log( e^{s(x_i, y_i)} / sum_{k in K_i} e^{s(x_i, k)} ), s = cos / 0.07:
        the positive is left out of the denominator, so the gradient does not vanish with the loss.
    Inputs: parallel pairs of the sample; the words placed in them are not used.
    Relations: `info-snt` keeps the positive in the denominator, `ml-ctl-cz` adds the word. Per anchor the loss is the
        decoupled contrastive loss of Yeh et al., ECCV 2022, arXiv 2110.06848.
    """

    decoupled: ClassVar[bool] = True
    reference: ClassVar[str] = "Chen et al. 2022, arXiv 2202.13083"
    objective: ClassVar[str] = "CZ-NCE over sentence means, 2n-2 negatives, + 0.1 masked LM"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \frac{1}{2n} \sum_{i=1}^{n} \bigl( \ell(x_i) + \ell(y_i) \bigr) + \alpha \,
        \mathcal{L}_{\mathrm{MLM}} \\
    \ell(x_i) &= -\log \frac{e^{s(x_i, y_i)}}{\sum_{k \in K_i} e^{s(x_i, k)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau} \\
    x_i &= W_2 \, \mathrm{ReLU}(W_1 u_i + b_1) + b_2 \\
    u_i &= \bar{h}^{\,1}_i + \bar{h}^{\,L}_i
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "xᵢ, yᵢ: the two sides of pair i, from their mean states after the first and the last layer; Kᵢ: the other 2n "
        "− 2 sentences of the batch, but for repeats of the same; by default τ = 0.07, α = 0.1."
    )

    class Config(SentenceWordConfig):
        pass
