"""word-contrast: do words in context find their translations?"""

from __future__ import annotations

from validation.probes.common import train_method
from validation.probes.word_retrieval import accuracy, held_out


def probe(seed: int, steps: int = 200) -> dict[str, float]:
    """Contextual word retrieval on held-out sentence pairs: `base` before training, `aligned` after it, and `continued`
    after as many steps of masked LM."""
    trained, control = (
        train_method("word-contrast", seed, steps=steps),
        train_method("continued-mlm", seed, steps=steps),
    )
    pairs = held_out(trained)
    encoders = {"base": trained.base, "continued": control.encoder, "aligned": trained.encoder}
    found = {label: accuracy(encoder, pairs) for label, encoder in encoders.items()}
    return {**found, "words": float(sum(len(words.sizes) // 2 for _, _, words in pairs))}
