"""ml-ctl: InfoNCE over sentence and word together."""

from __future__ import annotations

from typing import ClassVar

from methods.objectives.sentence_word import SentenceWordMethod


class MLCTL(SentenceWordMethod):
    """Multi-level InfoNCE with masked LM: each pair is a sentence with one of its words, and their translations.

    Reference: Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv
        2202.13083.
    Objective: as `info-snt` on the concatenated vectors x = W2 ReLU(W1 [u_snt; u_wrd] + b1) + b2, u_snt over the
        sentence with its special tokens, u_wrd over the subwords of the word.
    Inputs: parallel pairs of the sample with the word pair that the dictionary matches in them; a sentence is repeated
        once per matched word.
    Relations: `ml-ctl-cz` changes the loss, `info-snt` leaves the word out. The paper has no row for this method.
    Released code: Mckysse/ML-CTL. Its InfoNCE is equal on the same tensors to 1e-6 or better.
    """

    words: ClassVar[bool] = True
