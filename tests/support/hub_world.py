"""One made-up content twice: as files in XTREME's layout, and as the hub's Parquet files with the hub's features."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

XTREME, NLI, OPUS = "datasets/google/xtreme", "datasets/nyu-mll/multi_nli", "datasets/Helsinki-NLP/opus-100"
LANGUAGES = {"en": ("English", "eng", "english"), "ar": ("Arabic", "ara", "arabic"), "sw": ("", "swh", "swahili")}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
POS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()  # noqa: SIM905
NLI_NAMES = ["entailment", "neutral", "contradiction"]  # the order of the hub's label numbers
ROWS = 7
_QUESTIONS = {"id": pa.string(), "title": pa.string(), "context": pa.string(), "question": pa.string()}
_ANSWERS = pa.struct({"answer_start": pa.list_(pa.int32()), "text": pa.list_(pa.string())})


def parquet(rows: list[dict[str, Any]], names: dict[str, list[str]] | None = None, types: Any = None) -> bytes:
    """A Parquet file as `datasets` writes it: label numbers, and their names in the metadata of the schema."""
    features: dict[str, Any] = {}
    for column, labels in (names or {}).items():
        label = {"names": labels, "_type": "ClassLabel"}
        numbers = {name: number for number, name in enumerate(labels)}
        rows = [{**row, column: _numbered(row[column], numbers)} for row in rows]
        features[column] = {"feature": label, "_type": "List"} if isinstance(rows[0][column], list) else label
    table = pa.Table.from_pylist(rows, schema=pa.schema(types) if types else None)
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=max(1, len(rows) // 3))
    return out.getvalue()


def _numbered(value: Any, numbers: dict[str, int]) -> Any:
    return [numbers[one] for one in value] if isinstance(value, list) else numbers[value]


def pair_rows(task: str, language: str, split: str) -> list[tuple[str, str, str]]:
    labels = ("0", "1") if task == "pawsx" else ("neutral", "entailment", "contradiction")
    texts = [f"{task} {language} {split} premise {row // 3} ’“ß" for row in range(ROWS)]
    return [(text, f"{language} حجة {row}", labels[row % len(labels)]) for row, text in enumerate(texts)]


def tagged_rows(task: str, language: str, split: str) -> list[tuple[list[str], list[str]]]:
    tags = NER if task == "panx" else POS
    width = 4
    words = [[f"{language}{split[0]}{row}.{i}" for i in range(width)] for row in range(ROWS)]
    words[2][1] = "1\u00a0000"  # the official code reads the first part alone
    return [(row, [tags[(n + i) % len(tags)] for i in range(width)]) for n, row in enumerate(words)]


def question_rows(task: str, language: str, split: str) -> list[dict[str, Any]]:
    rows = []
    for number in range(ROWS):
        context = f"{language} مرحبا 😀 paragraph {number // 2} of {task} {split} says word{number // 2}."
        word = f"word{number // 2}"
        start = context.index(word) if number != 3 else 0  # one answer that does not stand at its offset
        ident = f"{LANGUAGES[language][2]}-77-{number}" if task == "tydiqa" else f"{task}{number:04}"
        answers = {"answer_start": [start], "text": [word]}
        rows.append({"id": ident, "title": "t", "context": context, "question": f"{number}؟", "answers": answers})
    return rows


def tatoeba_rows(language: str) -> list[tuple[str, str]]:
    return [(f"{language} جملة {row}", f"sentence {(row * 3) % ROWS} of {language}") for row in range(ROWS)]


def folder_files() -> dict[str, str | bytes]:
    """The content in XTREME's on-disk layout."""
    files: dict[str, str | bytes] = {}
    for language in LANGUAGES:
        for split in SPLITS:
            if split == "train" and language != "en":
                continue
            for task in ("xnli", "pawsx"):
                rows = pair_rows(task, language, split)
                files[f"{task}/{split}-{language}.tsv"] = "".join("\t".join(row) + "\n" for row in rows)
            for task in ("udpos", "panx"):
                lines = (
                    "".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True))
                    for row in tagged_rows(task, language, split)
                )
                files[f"{task}/{split}-{language}.tsv"] = "\n".join(lines)
        files[f"xquad/xquad.{language}.json"] = _articles(question_rows("xquad", language, "test"))
        dev = f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json"
        files[dev] = _articles(question_rows("tydiqa", language, "test"))
        for other in LANGUAGES:
            path = f"mlqa/MLQA_V1/test/test-context-{language}-question-{other}.json"
            files[path] = _articles(question_rows("mlqa", language, "test" + other))
        if language != "en":
            for side, column in ((language, 0), ("en", 1)):
                lines = (row[column] + "\n" for row in tatoeba_rows(language))
                files[f"tatoeba/{language}-en.{side}"] = "".join(lines)
    files["squad/train-v1.1.json"] = _articles(question_rows("squad", "en", "train"))
    train = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    files[train] = _articles(question_rows("tydiqa", "en", "train"))
    return files


def _articles(rows: list[dict[str, Any]]) -> str:
    paragraphs: dict[str, list[Any]] = {}
    for row in rows:
        answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        listed = [{"text": text, "answer_start": start} for text, start in answers]
        paragraphs.setdefault(row["context"], []).append(
            {"id": row["id"], "question": row["question"], "answers": listed}
        )
    shown = [{"context": context, "qas": qas} for context, qas in paragraphs.items()]
    return json.dumps({"data": [{"title": "t", "paragraphs": shown}]})


def hub_files() -> dict[str, dict[str, bytes]]:
    """The content as `google/xtreme`, `nyu-mll/multi_nli` and `Helsinki-NLP/opus-100` hold it."""
    names = ("premise", "hypothesis", "label")
    nli = [dict(zip(names, row, strict=True)) for row in pair_rows("xnli", "en", "train")]
    return {
        XTREME: with_card({**_classification(), **_tagging(), **_questions(), **_bitext()}),
        NLI: {
            "README.md": _card("default", "train", "data/train-*", ROWS),
            "data/train-00000-of-00001.parquet": parquet(nli, {"label": NLI_NAMES}),
        },
        OPUS: with_card({"ar-en/train-00000-of-00001.parquet": parquet(translations("ar"))}),
    }


def translations(language: str) -> list[dict[str, Any]]:
    """Nine pairs of OPUS, the second of which has an empty side."""
    return [{"translation": {language: f"{language} {i}" * (i != 1), "en": f"line {i}"}} for i in range(9)]


def _card(config: str, split: str, path: str, rows: int) -> bytes:
    return (
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {path}\n"
        f"dataset_info:\n  config_name: {config}\n  splits:\n  - name: {split}\n    num_examples: {rows}\n---\n# Set\n"
    ).encode()


def with_card(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files and the card that lists their configs and counts, which `datasets` goes by."""
    configs: dict[str, list[dict[str, str]]] = {}
    splits: dict[str, list[dict[str, Any]]] = {}
    for path, content in files.items():
        config, _, name = path.partition("/")
        split = name.partition("-")[0]
        configs.setdefault(config, []).append({"split": split, "path": f"{config}/{split}-*"})
        count = pq.read_metadata(io.BytesIO(content)).num_rows
        splits.setdefault(config, []).append({"name": split, "num_examples": count})
    listed = [{"config_name": config, "data_files": parts} for config, parts in configs.items()]
    infos = [{"config_name": config, "splits": parts} for config, parts in splits.items()]
    card = f"---\nconfigs: {json.dumps(listed)}\ndataset_info: {json.dumps(infos)}\n---\n# XTREME\n"
    return {**files, "README.md": card.encode()}


def _classification() -> dict[str, bytes]:
    files = {}
    for split, name in SPLITS.items():
        if split != "train":
            columns = ("sentence1", "sentence2", "gold_label")
            rows = [
                {"language": language, **dict(zip(columns, row, strict=True))}
                for language in LANGUAGES
                for row in pair_rows("xnli", language, split)
            ]
            files[f"XNLI/{name}-00000-of-00001.parquet"] = parquet(rows)
        for language in LANGUAGES:
            columns = ("sentence1", "sentence2", "label")
            rows = [dict(zip(columns, row, strict=True)) for row in pair_rows("pawsx", language, split)]
            files[f"PAWS-X.{language}/{name}-00000-of-00001.parquet"] = parquet(rows)
    return files


def _tagging() -> dict[str, bytes]:
    files = {}
    for split, name in SPLITS.items():
        for language, (english, _, _) in LANGUAGES.items():
            for task, config, column, tags in (
                ("panx", f"PAN-X.{language}", "ner_tags", NER),
                ("udpos", f"udpos.{english}", "pos_tags", POS),
            ):
                rows = [{"tokens": w, column: t} for w, t in tagged_rows(task, language, split)]
                if config != "udpos.":
                    files[f"{config}/{name}-00000-of-00001.parquet"] = parquet(rows, {column: tags})
    return files


def _questions() -> dict[str, bytes]:
    types = [*_QUESTIONS.items(), ("answers", _ANSWERS)]
    tydiqa = {split: [r for c in LANGUAGES for r in question_rows("tydiqa", c, split)] for split in ("train", "test")}
    files = {
        "SQuAD/train-00000-of-00001.parquet": parquet(question_rows("squad", "en", "train"), types=types),
        "tydiqa/train-00000-of-00001.parquet": parquet(tydiqa["train"], types=types),
        "tydiqa/validation-00000-of-00001.parquet": parquet(tydiqa["test"], types=types),
    }
    for language in LANGUAGES:
        rows = question_rows("xquad", language, "test")
        files[f"XQuAD.{language}/validation-00000-of-00001.parquet"] = parquet(rows, types=types)
        for other in LANGUAGES:
            rows = question_rows("mlqa", language, "test" + other)
            files[f"MLQA.{language}.{other}/test-00000-of-00001.parquet"] = parquet(rows, types=types)
    return files


def _bitext() -> dict[str, bytes]:
    files = {}
    for language, (_, code, _) in LANGUAGES.items():
        rows = [{"source_sentence": s + "\n", "target_sentence": t + "\n"} for s, t in tatoeba_rows(language)]
        if language != "en":
            files[f"tatoeba.{code}/validation-00000-of-00001.parquet"] = parquet(rows)
    return files
