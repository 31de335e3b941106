"""ml-ctl-cz: CZ-NCE over sentence and word together, the method of the ML-CTL paper."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordMethod


class MLCTLCZ(SentenceWordMethod):
    """Multi-level CZ-NCE with masked LM: the full method of the ML-CTL paper.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
        2202.13083.
    Objective: as `cz-snt` on the concatenated vectors x = W2 ReLU(W1 [u_snt; u_wrd] + b1) + b2, u_snt over the
        sentence with its special tokens, u_wrd over the subwords of the word.
    Inputs: parallel pairs of the sample with the word pair that the dictionary matches in them; a sentence is repeated
        once per matched word.
    Relations: `ml-ctl` is the InfoNCE variant, `cz-snt` leaves the word out. `code_exact` follows the released script.
    Released code: Mckysse/ML-CTL. With `code_exact` the loss is equal on the same tensors to 1e-6 or better.
    """

    words: ClassVar[bool] = True
    decoupled: ClassVar[bool] = True
