"""Spans are whole graphemes, whatever the tokenizer's normalisation makes of the text."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer
from transformers import PreTrainedTokenizerFast

from harness.modeling.graphemes import boundaries, whole_graphemes
from harness.modeling.tokenizer import Tokenizer
from harness.pair_method import word_tokens
from harness.records import Answer, Question, Span
from tasks.families.question_answering import AnswerSettings
from tasks.families.windows import AnswerSpan
from tasks.xquad import XQuAD
from tests.support.tiny_encoder import SPECIAL

NORMALIZERS = {
    "none": normalizers.Sequence([]),
    "NFC": normalizers.NFC(),
    "NFD": normalizers.NFD(),
    "NFKC": normalizers.NFKC(),
    "without accents": normalizers.BertNormalizer(lowercase=True, strip_accents=True),
}
SETTINGS = AnswerSettings(max_length=2000)
LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "ru", "sw", "tr", "zh")
OTHERS = (  # scripts that the real data lack
    *("กำลังจะไปน้ำตก ครับ", "대한민국 서울", "தமிழ் மொழி", "বাংলা ভাষা", "မြန်မာ ဘာသာ", "עִבְרִית טובה", "ភាសាខ្មែរ ល្អ"),
    *("かがみ ゆう", "👩‍👩‍👧 🇩🇪 👍🏽", "Việt Nam", "q\u0307\u0323 x", "\u0627\u0653 \u0621"),
)


def character_tokenizer(normalizer: str) -> Tokenizer:
    """Every character of the normalised text is a token, and an unknown one."""
    fast = FastTokenizer(models.WordLevel({token: i for i, token in enumerate(SPECIAL)}, unk_token="[UNK]"))
    fast.normalizer = NORMALIZERS[normalizer]
    splits = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("."), "isolated")]
    fast.pre_tokenizer = pre_tokenizers.Sequence(splits)
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, **names))


def returned_answers(tokenizer: Tokenizer, questions: list[Question]) -> list[str]:
    """The texts of the subwords that the answers are trained on."""
    examples = XQuAD().encode(tokenizer, questions, SETTINGS, gold=True)
    assert len(examples) == len(questions)
    texts = []
    for window, (start, end) in zip(examples.rows, examples.answers.tolist(), strict=True):
        shift = window.first - window.offset
        texts.append(examples.text(window.question, AnswerSpan(0.0, start + shift, end + shift)))
    return texts


def ask(context: str, word: str) -> Question:
    return Question("q", "what?", context, (Answer(word, context.index(word)),))


def questions_of(text: str) -> list[Question]:
    """One question for each word of a text, in composed and in decomposed characters."""
    forms = dict.fromkeys(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return [ask(form, word) for form in forms for word in dict.fromkeys(form.split())]


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_answers_come_back_whole_in_every_script(shared: Path, normalizer: str) -> None:
    texts = list(OTHERS)
    for language in LANGUAGES:
        with (shared / "data/open/mono" / f"{language}.txt").open(encoding="utf-8") as lines:
            texts += [next(lines).strip() for _ in range(12)]
    questions = [question for text in texts for question in questions_of(text)]
    kept = [q for q in questions if any(c.isalnum() for c in q.answers[0].text)]
    for question, found in zip(kept, returned_answers(character_tokenizer(normalizer), kept), strict=True):
        expected = question.answers[0]
        assert (
            found
            == question.context[whole_graphemes(question.context, expected.start, expected.start + len(expected.text))]
        )


@given(st.text(st.sampled_from("ae \u0301\u0e33\u200d\u1112\u1161\u11ab\r\n👩🇩"), max_size=12), st.data())
def test_a_widened_span_is_the_smallest_that_cuts_no_grapheme(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = whole_graphemes(text, start, end)
    if start == end:
        assert text[found] == ""
        return
    touched = [(a, b) for a, b in pairwise(boundaries(text)) if a < end and b > start]
    assert (found.start, found.stop) == (touched[0][0], touched[-1][1])


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_a_word_that_ends_the_sentence_in_a_mark_is_not_taken_for_cut(normalizer: str) -> None:
    tokenizer, text = character_tokenizer(normalizer), "un cafe\u0301"
    tokens = word_tokens(tokenizer.encode_offsets([text], 64), 0, Span(3, 8))
    assert tokens is not None
    assert tokens[0] == 3
    assert word_tokens(tokenizer.encode_offsets([text], 6), 0, Span(3, 8)) is None
