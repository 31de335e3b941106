"""DICT-MLM: masked LM whose labels may be dictionary translations of the masked words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import nn

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.pair_method import PairExample, PairMethod
from harness.records import Corpus
from methods.objectives.dictionary import continues_word, subword_entries
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.settings import Rate, Share


class Exchange(NamedTuple):
    """One exchanged word: its row among the masked positions, and the language and the token of the translation."""

    row: int
    language: int
    piece: int


class DictMLM(PairMethod):
    """Masked LM on both sides; half of the masked dictionary words are to be predicted in another language.

    Reference: Chaudhary, Raman, Srinivasan and Chen, "DICT-MLM: Improved Multilingual Pre-Training using Bilingual
        Dictionaries", 2020, arXiv 2010.12566; the variant: Tang et al. 2022, arXiv 2211.08547, under the same name.
    Objective: L = -1/|M| sum_{t in M} log P(y_t | x without M, l_t), M 15% of the subwords (80/10/10). With probability
        1 - p, y_t = x_t and l_t is its language. Otherwise l_t is drawn from the languages that have translations of
        x_t, and y_t from these translations, uniformly. A vector of l_t, initially 0 and dropped for the tasks, is
        added to the last state before the masked-LM head. "replaced-input" exchanges the input and keeps the label.
    Inputs: parallel pairs of the sample, each side read alone; the dictionary in both directions. Only words of one
        subword with translations of one subword are exchanged, as in the paper, whose text is not parallel and whose
        dictionaries have over 30 languages.
    Relations: p = 0 is `continued-mlm` except for the vectors. Sentences need not be paired. `align-mlm` ties the same
        entries in the embeddings. The paper trains from scratch and conditions its output on l_t by a transform that is
        not known to us; adding a vector is a choice. Of its values only p is known: `--recipe paper` takes the training
        of Tang et al., who train from scratch too
        (`--base init:8x512 --set pretrain.steps=0 --set pretrain.dropout=0.1`).
    Released code: that of the paper was not to be had. princeton-nlp/align-mlm was read for the variant; no loss was
        compared.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL, Corpus.DICTIONARY})
    reference: ClassVar[str] = "Chaudhary et al. 2020, arXiv 2010.12566"
    objective: ClassVar[str] = "masked LM whose label may be a dictionary translation, given its language"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= -\frac{1}{|M|} \sum_{t \in M} \log P(y_t \mid x_{\setminus M}, l_t) \\
    (y_t, l_t) &= \begin{cases}
        (x_t, l_x) & \text{with probability } 1 - p \\
        (w, l) & \text{with probability } p
    \end{cases}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "M: the masked subwords; w: a translation of xₜ into language l, both uniform; words that the dictionary "
        "lacks keep their label; by default p = 0.5."
    )

    paper: ClassVar[dict[str, Any]] = {  # of Tang et al.
        "steps": 500_000,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "warmup_steps": 10_000,
        "max_length": 512,
    }

    class Config(MethodConfig):
        """mask_rate: share of masked subwords (a choice); exchange_rate: p, 0.5 in the paper's DICT-MLM-50; variant:
        "translated-label" is the original, "replaced-input" that of Tang et al.: with probability p the input at a
        masked position is a translation (the word itself where the dictionary lacks it), otherwise it is masked as
        usual; the label is the original word, and the vector of each token's language, that of the translation where
        there is one, is added to the embeddings."""

        mask_rate: Rate = 0.15
        exchange_rate: Share = 0.5
        variant: Literal["translated-label", "replaced-input"] = "translated-label"

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.numbers = {code: i for i, code in enumerate(dict.fromkeys((corpora.pivot, *corpora.languages)))}
        self.languages = nn.Parameter(torch.zeros(len(self.numbers), encoder.width))
        self.continues_word = continues_word(corpora.tokenizer)
        self.translations: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for entry in subword_entries(corpora, single=True):
            (source,), (target,), number = entry.source, entry.target, self.numbers[entry.language]
            self.translations[0, source][number].append(target)
            self.translations[number, target][0].append(source)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        sides = np.array([0] * len(examples) + [self.numbers[e.language] for e in examples])
        languages = np.repeat(sides, text.lengths)
        masked = masked_batch(text, self.tokenizer, rng, self.config.mask_rate)
        positions, ids = masked["positions"].numpy(), text.ids.numpy()
        chosen = rng.random(len(positions)) < self.config.exchange_rate
        exchanges = self.draw_exchanges(ids, languages, np.where(chosen, positions, -1), rng)
        if self.config.variant == "translated-label":
            return self.relabel(masked, languages[positions], exchanges)
        return self.replace_input(masked, languages, exchanges, positions[chosen], ids)

    def draw_exchanges(
        self, ids: NDArray[Any], languages: NDArray[Any], positions: NDArray[Any], rng: Generator
    ) -> list[Exchange]:
        """A random translation for each of the `positions` (-1: skip) that holds a whole word with translations."""
        whole = ~self.continues_word[ids] & ~self.continues_word[np.roll(ids, -1)]
        exchanges = []
        for row, place in enumerate(positions.tolist()):
            options = self.translations.get((int(languages[place]), int(ids[place])))
            if place >= 0 and whole[place] and options:
                language = list(options)[rng.integers(len(options))]
                exchanges.append(Exchange(row, language, options[language][rng.integers(len(options[language]))]))
        return exchanges

    def relabel(self, masked: Batch, languages: NDArray[Any], exchanges: list[Exchange]) -> Batch:
        labels = masked["labels"].clone()
        for row, language, piece in exchanges:
            labels[row], languages[row] = piece, language
        return {**masked, "labels": labels, "languages": torch.from_numpy(languages)}

    def replace_input(
        self,
        masked: Batch,
        languages: NDArray[Any],
        exchanges: list[Exchange],
        shown: NDArray[Any],
        original: NDArray[Any],
    ) -> Batch:
        ids, positions = masked["text"].ids.numpy().copy(), masked["positions"].tolist()
        ids[shown] = original[shown]
        for row, language, piece in exchanges:
            ids[positions[row]], languages[positions[row]] = piece, language
        text = masked["text"].with_ids(torch.from_numpy(ids))
        return {**masked, "text": text, "languages": torch.from_numpy(languages)}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"mlm": float(len(batch["labels"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        vectors, places = self.languages[batch["languages"]], batch["positions"]
        if self.config.variant == "replaced-input":
            return {"mlm": masked_lm(encoder, encoder(batch["text"], added=vectors).tokens(), places, batch["labels"])}
        hidden = encoder(batch["text"]).tokens()[places] + vectors
        return {"mlm": masked_lm(encoder, hidden, torch.arange(len(places), device=places.device), batch["labels"])}
