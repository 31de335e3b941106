"""info-snt: InfoNCE over parallel sentences."""

from __future__ import annotations

from methods.objectives.sentence_word import SentenceWordMethod


class InfoSnt(SentenceWordMethod):
    """Sentence-level InfoNCE with masked LM: the first ablation row of the ML-CTL paper.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
        2202.13083.
    Objective: L = 1/2n sum_i (l(x_i) + l(y_i)) + 0.1 L_MLM,
        l(x_i) = -log( e^{s(x_i, y_i)} / (e^{s(x_i, y_i)} + sum_{k in K_i} e^{s(x_i, k)}) ), s = cos / 0.07,
        with K_i the other 2n - 2 sentence vectors of the batch, of both languages.
    Inputs: parallel pairs of the sample; their matched words are not used.
    Relations: `cz-snt` changes the loss, `ml-ctl` adds the word. The head of this row is not in the released code; its
        sizes H-H-H are a choice.
    Released code: Mckysse/ML-CTL has the full model. Its InfoNCE is equal on the same tensors to 1e-6 or better.
    """
