"""cz-snt: CZ-NCE over parallel sentences."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordMethod


class CZSnt(SentenceWordMethod):
    """Sentence-level CZ-NCE with masked LM: the second ablation row of the ML-CTL paper.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
        2202.13083.
    Objective: as `info-snt` with l(x_i) = -log( e^{s(x_i, y_i)} / sum_{k in K_i} e^{s(x_i, k)} ): the positive is left
        out of the denominator, so that the gradient does not vanish with the loss.
    Inputs: parallel pairs of the sample; their matched words are not used.
    Relations: `info-snt` keeps the positive in the denominator, `ml-ctl-cz` adds the word. Per anchor the loss is the
        decoupled contrastive loss of Yeh et al., ECCV 2022, arXiv 2110.06848.
    Released code: Mckysse/ML-CTL has the full model; for that, see `ml-ctl-cz`.
    """

    decoupled: ClassVar[bool] = True
