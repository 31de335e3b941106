"""The tables of the literature as lists of rows: `alignboard ablation NAME` runs one with its controls."""

from __future__ import annotations

from harness.experiments.ablation import Ablation, Row, shuffled

_ML_CTL = (Row("info-snt"), Row("cz-snt"), Row("ml-ctl"), Row("ml-ctl-cz"))

ML_CTL = Ablation(
    title="ML-CTL: sentence or word level, InfoNCE or CZ-NCE, each beside itself on shuffled pairs",
    rows=(Row("mbert"), Row("continued-mlm"), *_ML_CTL, *shuffled(_ML_CTL)),
    reference="Chen et al. 2022, arXiv 2202.13083; the paper has no row ml-ctl (InfoNCE) and no controls",
)

ALIGN_MLM = Ablation(
    title="ALIGN-MLM: what a dictionary or parallel text adds to masked LM",
    rows=(
        Row("mbert"),
        Row("continued-mlm"),
        Row("xlm"),
        Row("dict-mlm"),
        Row("dict-mlm", {"variant": "replaced-input"}),
        Row("align-mlm"),
    ),
    reference="Tang et al. 2022, arXiv 2211.08547; the paper trains from scratch on synthetic languages",
)
