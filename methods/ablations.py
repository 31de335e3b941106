"""The tables of the literature as lists of rows: `alignboard ablation NAME` runs one with its controls."""

from __future__ import annotations

from harness.experiments.ablation import Ablation, AblationRow, on_shuffled_pairs

_ML_CTL = (AblationRow("info-snt"), AblationRow("cz-snt"), AblationRow("ml-ctl"), AblationRow("ml-ctl-cz"))

ML_CTL = Ablation(
    title="ML-CTL: sentence or word level, InfoNCE or CZ-NCE, each beside itself on shuffled pairs",
    rows=(AblationRow("mbert"), AblationRow("continued-mlm"), *_ML_CTL, *on_shuffled_pairs(_ML_CTL)),
    reference="Chen et al. 2022, arXiv 2202.13083; the paper has no row ml-ctl (InfoNCE) and no controls",
)

ALIGN_MLM = Ablation(
    title="ALIGN-MLM: what a dictionary or parallel text adds to masked LM",
    rows=(
        AblationRow("mbert"),
        AblationRow("continued-mlm"),
        AblationRow("xlm"),
        AblationRow("dict-mlm"),
        AblationRow("dict-mlm", {"variant": "replaced-input"}),
        AblationRow("align-mlm"),
    ),
    reference="Tang et al. 2022, arXiv 2211.08547; the paper trains from scratch on synthetic languages",
)
