"""l2-align: do words in context find their translations, and do the pivot's sentences keep their states?"""

from __future__ import annotations

import torch

from harness.modeling.packing import pack
from validation.probes.common import train_method
from validation.probes.word_retrieval import accuracy, held_out


def probe(seed: int, steps: int = 200) -> dict[str, float]:
    """Contextual word retrieval on sentence held-out pairs: `base` before, `aligned` after training, `free` after
    training without the regulariser. `moved` and `moved_free` are the mean squared change of a unit of the pivot's
    states in both."""
    trained, free = (train_method("l2-align", seed, steps=steps, regulariser=weight) for weight in (1.0, 0.0))
    pairs = held_out(trained)
    encoders = {"base": trained.base, "aligned": trained.encoder, "free": free.encoder}
    found = {label: accuracy(encoder, pairs) for label, encoder in encoders.items()}
    sources = trained.corpora.tokenizer.encode(sorted({pair.source for pair in trained.held_out}), 48).ids
    text = pack([sources[i] for i in range(len(sources))])
    with torch.no_grad():
        base, after, loose = (encoder(text).tokens() for encoder in encoders.values())
    changes = {"moved": after - base, "moved_free": loose - base}
    return {**found, **{name: float(change.square().mean()) for name, change in changes.items()}}
