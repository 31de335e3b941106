"""info-snt: InfoNCE over parallel sentences."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordConfig, SentenceWordMethod


class InfoSnt(SentenceWordMethod):
    r"""Sentence-only InfoNCE with masked LM: the first ablation row of the ML-CTL paper.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
    2202.13083. Objective: L = 1/2n sum_i (L_info(x_i) + L_info(y_i)) + 0.1 L_MLM, with
        L_info(x_i) = -log( e^{s(x_i, y_i)} / (e^{s(x_i, y_i)} + sum_{k in K_i} e^{s(x_i, k)}) ), s = cos / 0.07,
        where K_i are the other 2n - 2 sentence vectors of the batch, of both languages.
    Inputs: parallel pairs of the sample; the words placed in them are not used.
    Relations: `cz-snt` changes the loss, `ml-ctl` adds the word. The head of this row is not in the released code; the
        sizes H-H-H are our choice.
    """

    reference: ClassVar[str] = "Chen et al. 2022, arXiv 2202.13083"
    objective: ClassVar[str] = "InfoNCE over sentence means, 2n-2 negatives, + 0.1 masked LM"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \frac{1}{2n} \sum_{i=1}^{n} \bigl( \ell(x_i) + \ell(y_i) \bigr) + \alpha \,
        \mathcal{L}_{\mathrm{MLM}} \\
    \ell(x_i) &= -\log \frac{e^{s(x_i, y_i)}}{e^{s(x_i, y_i)} + \sum_{k \in K_i} e^{s(x_i, k)}} \\
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
