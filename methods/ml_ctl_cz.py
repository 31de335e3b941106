"""ML-CTL-CZ: contrast of sentence and word together under CZ-NCE, the paper's method."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordConfig, SentenceWordMethod


class MLCTLCZ(SentenceWordMethod):
    r"""Multi-level contrast under CZ-NCE: the ML-CTL paper's full method.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
    2202.13083. Objective: as `cz-snt`, on the concatenated contextual embedding
        x_c = W2 ReLU(W1 [u_snt ; u_wrd] + b1) + b2,  u = mean over tokens of h^1 + mean over tokens of h^last,
        u_snt over the sentence with its special tokens, u_wrd over the subwords of the word. L_multi2 = L_CZ + 0.1
        L_MLM.
    Inputs: parallel pairs of the sample with the word pair that a dictionary places in them (each word once per
    sentence). Relations: `ml-ctl` is the InfoNCE variant, `cz-snt` leaves the word out. `code_exact` follows the
    released script.
    """

    words: ClassVar[bool] = True
    decoupled: ClassVar[bool] = True
    reference: ClassVar[str] = "Chen et al. 2022, arXiv 2202.13083"
    objective: ClassVar[str] = "CZ-NCE over [sentence; word] vectors, 2n-2 negatives, + 0.1 masked LM"

    class Config(SentenceWordConfig):
        pass
