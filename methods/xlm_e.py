"""XLM-E: detection of replaced tokens in single sentences and in translation pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional

from harness.layers import LayerOf
from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText
from harness.pair_method import PairExample, PairMethod
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.masking import ELECTRA, masked_batch
from methods.objectives.settings import Rate, Weight

STREAMS = {"": ("tlm", "trtd"), "alone_": ("mlm", "mrtd")}  # prefix of the batch's keys: names of the two terms


class ReplacedText(NamedTuple):
    """The masked-LM term of the generator, the text with its sampled tokens, and (T,) which tokens differ from the
    original ones."""

    term: Term
    text: PackedText
    replaced: Tensor


class XLME(PairMethod):
    """Replaced token detection by the encoder, on text whose masked tokens are sampled from a smaller masked LM.

    Reference: Chi et al., "XLM-E: Cross-lingual Language Model Pre-training via ELECTRA", ACL 2022, arXiv 2106.16138.
    Objective: L = L_MLM(G) + L_TLM(G) + w ( L_MRTD(D) + L_TRTD(D) ), L_RTD = -1/T sum_t log P_D(r_t | z~), r_t whether
        token t of z~ was replaced; z~ is z with each selected subword sampled from G. G reads z with 85% of the
        selected subwords masked; the others keep their token. MRTD reads the sides alone, TRTD both joined. D and G
        share their word embeddings, as in ELECTRA; no other gradient passes from D to G.
    Inputs: parallel pairs of the sample; the order of the two sides is random.
    Relations: G alone is `xlm`. The discriminator D is the encoder and is exported; G is dropped. In the paper both
        start from random weights; here D starts from the base and G from its first layers.
    Released code: google-research/electra, on which the method is built. The detection head is equal on the same
        tensors to 1e-6 or better.
    """

    reference: ClassVar[str] = "Chi et al. 2022, arXiv 2106.16138"
    objective: ClassVar[str] = "replaced token detection on the sides alone and on both joined"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}}(G) + \mathcal{L}_{\mathrm{TLM}}(G) \\
        &\quad + \lambda \bigl( \mathcal{L}_{\mathrm{MRTD}}(D) + \mathcal{L}_{\mathrm{TRTD}}(D) \bigr) \\
    \mathcal{L}_{\mathrm{RTD}} &= -\frac{1}{T} \sum_{t=1}^{T} \log P_D(r_t \mid \tilde{z}) \\
    r_t &= \mathbf{1}[\tilde{z}_t \neq z_t] \\
    \tilde{z}_t &\sim P_G(z_t \mid z_{\setminus M}) \text{ for } t \in M
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "z: a side alone (MRTD) or both joined (TRTD), of T tokens; M: the selected ones, which are sampled from G; "
        "G: the generator; D: the encoder; by default λ = 50."
    )

    paper: ClassVar[dict[str, Any]] = {"steps": 125_000}

    class Config(MethodConfig):
        """mask_rate: share of selected subwords; detection_weight: of both detection terms, 50 in the paper;
        generator_layers: number of the base's layers that the generator starts from (none: a third, 4 of 12 as in the
        paper)."""

        mask_rate: Rate = 0.15
        detection_weight: Weight = 50.0
        generator_layers: Annotated[int | None, LayerOf(1)] = None

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.max_side_length = max_side_length(encoder, corpora)
        depth = encoder.layer(self.config.generator_layers or max(1, encoder.depth // 3))
        self.generator = encoder.clone(layers=depth)
        self.generator.share_embeddings(encoder)
        self.head = nn.Sequential(nn.Linear(encoder.width, encoder.width), nn.GELU(), nn.Linear(encoder.width, 1))

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        sides, _ = random_order(examples, rng)
        both = join_sides(sides, self.max_side_length, special_ids=self.tokenizer.special_ids)
        batch: Batch = {}
        for prefix, text in (("", both), ("alone_", super().collate(examples, rng)["text"])):
            batch |= masked_batch(text, self.tokenizer, rng, self.config.mask_rate, ELECTRA, prefix=prefix)
            batch[f"{prefix}draws"] = torch.from_numpy(rng.random(len(batch[f"{prefix}labels"])))
        return batch

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        counts = {}
        for prefix, (generating, detecting) in STREAMS.items():
            counts[generating] = float(len(batch[f"{prefix}labels"]))
            counts[detecting] = float(batch[f"{prefix}text"].tokens)
        return counts

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        terms = {}
        for prefix, (generating, detecting) in STREAMS.items():
            sampled = self.replace_tokens(batch, prefix)
            scores = self.scores(encoder, sampled.text)
            losses = functional.binary_cross_entropy_with_logits(
                scores, sampled.replaced.to(scores.dtype), reduction="sum"
            )
            terms[generating] = sampled.term
            terms[detecting] = Term(losses, float(len(scores)), self.config.detection_weight)
        return terms

    def replace_tokens(self, batch: Batch, prefix: str = "") -> ReplacedText:
        """The generator's masked LM on one stream of the batch, and the text with its samples."""
        text, positions, labels = (batch[f"{prefix}{name}"] for name in ("text", "positions", "labels"))
        logits = self.generator.mlm_logits(self.generator(text).tokens()[positions]).float()
        term = Term(functional.cross_entropy(logits, labels, reduction="sum"), float(len(labels)))
        tokens = sample_tokens(logits.detach(), batch[f"{prefix}draws"])
        replaced = torch.zeros_like(text.special).index_put((positions,), tokens != labels)
        return ReplacedText(term, text.with_ids(text.ids.index_put((positions,), tokens)), replaced)

    def scores(self, encoder: Encoder, text: PackedText) -> Tensor:
        """(T,) the discriminator's logits that a token was replaced, in float32 or wider."""
        logits: Tensor = self.head(encoder(text).tokens()).squeeze(1)
        return logits if logits.dtype == torch.float64 else logits.float()


def sample_tokens(logits: Tensor, draws: Tensor) -> Tensor:
    """(M,) one token per row of logits (M, V): the first whose cumulative probability exceeds the draw (M,)."""
    cumulative = logits.softmax(1).cumsum(1)
    below = cumulative <= draws.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
    return below.sum(1).clamp(max=logits.shape[1] - 1)
