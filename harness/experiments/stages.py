"""What each kind of stage does: inputs and data in, one folder out. The same code runs under every executor."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness import provenance
from harness.data.corpora import SourceCorpora
from harness.data.sample import load_sample, save_sample
from harness.data.source import Source
from harness.data.transforms import transform_of
from harness.evaluation import item_statistics as evidence
from harness.evaluation.item_statistics import Scored
from harness.evaluation.projection import project
from harness.experiments.guard import draw, judge, save
from harness.experiments.logs import logged
from harness.experiments.plan import PRETRAIN_OBJECTIVE, Stage, opened, running_text
from harness.experiments.recipe import PretrainSettings
from harness.experiments.trials import CHOICE, choose, trials
from harness.files import PROJECTION
from harness.method import Method, check_layers
from harness.modeling.encoder import Encoder
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, Record
from harness.registry import METHODS, OBJECTIVES, TASKS, load_plugin
from harness.storage.artifacts import Artifacts
from harness.task import ENGLISH, Prepare, Task, TaskSettings, TrainedSettings, cap
from harness.training.checkpoint import load_tensors, unique_tensors
from harness.training.loop import Step, Trace, TrainSettings, Watch, train
from harness.training.pretraining import pretrain

COST = "cost.json"
CURVE = "fit.json"


@dataclass(frozen=True)
class Workbench:
    """Where a stage is worked on: its artifacts, its device, who watches, and which precision was asked for."""

    artifacts: Artifacts
    device: torch.device
    watch: Watch

    def input(self, fingerprint: str) -> Path:
        artifact = self.artifacts.find(fingerprint)
        assert artifact is not None, f"the input {fingerprint[:12]} is gone"
        return artifact.path

    @property
    def tokens(self) -> Path:
        """Tokenised texts, shared by all runs."""
        return self.artifacts.root / "tokens"


@dataclass(frozen=True)
class Done:
    """How a stage ended: whether it was there already, and what it cost."""

    fingerprint: str
    hit: bool
    cost: Mapping[str, Any]


def found(stage: Stage, artifacts: Artifacts) -> Done | None:
    """A stage that is there already."""
    artifact = artifacts.find(stage.fingerprint)
    return None if artifact is None else Done(stage.fingerprint, True, json.loads((artifact.path / COST).read_text()))


def work(stage: Stage, bench: Workbench) -> Done:
    """Does a stage unless its artifact is there; what it cost is kept in the artifact."""
    fingerprint = stage.fingerprint
    with bench.artifacts.lock(fingerprint):
        known = found(stage, bench.artifacts)
        if known is not None:
            return known
        for plugin in stage.place["plugins"]:
            load_plugin(Path(plugin))
        begun = f"{stage.title}: {bench.device}, {torch.get_num_threads()} threads, process {os.getpid()}"
        with (
            logged(bench.artifacts.work(fingerprint), begun, bench.watch) as log,
            bench.artifacts.create(fingerprint, stage.kind, {"title": stage.title}) as folder,
        ):
            _measured(stage, replace(bench, watch=log), folder)
            log.leave(folder)
        return Done(fingerprint, False, json.loads((bench.input(fingerprint) / COST).read_text()))


def _measured(stage: Stage, bench: Workbench, folder: Path) -> None:
    started, clock = time.time(), _device_clock(bench.device)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
    trace = KINDS[stage.kind](stage, bench, folder)
    cost = {
        "started": started,
        "finished": time.time(),
        "device_seconds": _device_clock(bench.device) - clock,
        "peak_memory_bytes": _peak_memory(bench.device),
        "tokens": trace.tokens if trace else None,
        "examples": trace.examples if trace else None,
        "device": torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu",
        "precision": str(stage.params.get("precision", "fp32")),
        "threads": torch.get_num_threads(),
        "host": provenance.host(),
        "code_version": provenance.code_version().commit,
    }
    _write(folder / COST, cost)


def _device_clock(device: torch.device) -> float:
    """Seconds that the device has worked for this process.

    A GPU is taken to be ours alone, so its seconds are the wall's. CPU cores are shared by whatever else runs: theirs
    are the process's CPU seconds over its threads.
    """
    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device where it is a GPU, else the process's largest resident set so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def do_pretrain(stage: Stage, bench: Workbench, folder: Path) -> Trace:
    texts = _all_text(opened(stage.place["source"]))
    encoder, trace = pretrain(
        texts,
        PretrainSettings(**stage.params),
        OBJECTIVES.get(PRETRAIN_OBJECTIVE),
        bench.device,
        checkpoint=bench.artifacts.work(stage.fingerprint) / "state",
        watch=bench.watch,
    )
    encoder.save(folder)
    _write(folder / "trace.json", asdict(trace))
    return trace


def _all_text(source: Source) -> list[str]:
    """Every distinct line of the source's running text, in its order."""
    wanted = running_text(source.manifest([]))
    read = {kind: source.corpus(kind, languages) if languages else () for kind, languages in wanted.items()}
    mono: Any = read[Corpus.MONO]
    pairs: Any = read[Corpus.PARALLEL]
    texts = [record.text for record in mono] + [text for pair in pairs for text in (pair.source, pair.target)]
    return list(dict.fromkeys(texts))


def do_sample(stage: Stage, bench: Workbench, folder: Path) -> None:
    save_sample(draw(opened(stage.place["source"]), stage.params), folder)


def do_overlap(stage: Stage, bench: Workbench, folder: Path) -> None:
    pairs = load_sample(bench.input(stage.inputs["sample"])).pairs
    save(judge(pairs, opened(stage.place["source"]), stage.params["tests"]), folder)


def do_align(stage: Stage, bench: Workbench, folder: Path) -> Trace:
    params = stage.params
    encoder = _encoder(stage, bench).to(bench.device)
    pairs = load_sample(bench.input(stage.inputs["sample"])).pairs
    if params["transform"]:
        pairs = transform_of(params["transform"]).sample(pairs, params["seed"])
    cls = METHODS.get(params["method"])
    corpora = SourceCorpora(
        pairs,
        encoder.tokenizer,
        opened(stage.place["source"]),
        tuple(params["languages"]),
        min(params["max_length"], encoder.max_length),
        cls.needs,
    )
    torch.manual_seed(params["seed"])
    config = cls.Config(**params["config"])
    check_layers(config, encoder.depth)
    method = cls(config)
    method.build(encoder, corpora)
    trace = train(
        Step(encoder, method.to(bench.device)),
        method.examples(corpora),
        method.collate,
        _align_settings(params),
        checkpoint=bench.artifacts.work(stage.fingerprint) / "state",
        watch=bench.watch,
    )
    method.export(encoder).save(folder)
    _write(folder / "trace.json", asdict(trace))
    return trace


def _align_settings(params: Mapping[str, Any]) -> TrainSettings:
    return TrainSettings(
        steps=params["steps"],
        learning_rate=params["learning_rate"],
        batch=params["batch_size"],
        accumulation=params["accumulation"],
        schedule=params["schedule"],
        warmup_steps=params["warmup_steps"],
        weight_decay=params["weight_decay"],
        clip=params["clip"],
        adam_betas=tuple(params["adam_betas"]),
        adam_epsilon=params["adam_epsilon"],
        precision=params["precision"],
        seed=params["seed"],
    )


def do_finetune(stage: Stage, bench: Workbench, folder: Path) -> Trace:
    task, params = _task(stage), stage.params
    settings = task.Settings(**params["settings"])
    source, pivot = stage.place["source"], params["pivot"]
    torch.manual_seed(params["seed"])
    encoder = _encoder(stage, bench)
    model = task.build(encoder, settings).to(bench.device)
    dev = _records(task, stage, params["dev"], "dev", settings)
    fit = task.fit(
        model,
        _cell(source, task.spec.name, pivot, "train"),
        dev,
        settings,
        bench.watch,
        pivot=pivot,
        seed=params["seed"],
        checkpoint=bench.artifacts.work(stage.fingerprint) / "state",
        precision=params["precision"],
        prepare=_hook(stage, encoder.tokenizer, settings),
    )
    for step, state in fit.states.items():
        save_file(unique_tensors(state), folder / f"step-{step}.safetensors")
    curve = [point._asdict() for point in fit.curve]
    sizes = {view: len(records) for view, records in dev.items()}
    found = {"kept": fit.kept, "pivot": pivot, "curve": curve, "sizes": sizes, "trace": asdict(fit.trace)}
    _write(folder / CURVE, found)
    return fit.trace


def _hook(stage: Stage, tokenizer: Tokenizer, settings: TaskSettings) -> Prepare | None:
    """What the method does to the training records, where it has a say in fine-tuning."""
    params = stage.params
    if "hook" not in params:
        return None
    cls = METHODS.get(params["hook"])
    method: Method = cls(cls.Config(**params["config"]))
    source, languages = opened(stage.place["source"]), tuple(params["languages"])
    method.prepare_finetuning(SourceCorpora((), tokenizer, source, languages, settings.max_length, cls.needs))
    return method.finetune_example


def do_predict(stage: Stage, bench: Workbench, folder: Path) -> None:
    """Final predictions of every selection and view; for a calibrated task, tuned on each view's dev predictions."""
    task = _task(stage)
    settings = task.Settings(**stage.params["settings"])
    model = task.build(_encoder(stage, bench), settings).to(bench.device).eval()
    if not trials(stage.inputs):
        _write(folder / "predictions.json", {"": _decided(task, model, stage, stage.params["views"], settings)})
        return
    assert isinstance(settings, TrainedSettings)
    fitted = bench.input(_chosen(stage, bench, folder, task.spec.metric))
    kept = json.loads((fitted / CURVE).read_text())["kept"]
    out: dict[str, Any] = {}
    for step in sorted(set(kept.values())):
        load_tensors(model, load_file(fitted / f"step-{step}.safetensors", device=str(bench.device)))
        oracle = [view for view in stage.params["views"] if kept.get(view) == step]
        views = stage.params["views"] if kept[ENGLISH] == step else oracle
        made = _decided(task, model, stage, views, settings)
        if kept[ENGLISH] == step:
            out[_headline(task, settings)] = made
        if oracle:
            out.setdefault("oracle", {}).update({view: made[view] for view in oracle})
    _write(folder / "predictions.json", out)


def _headline(task: Task, settings: TrainedSettings) -> str:
    """The selection of the headline; none where an oracle is asked for and no dev set could tell it from the rest."""
    return ENGLISH if "dev" in task.spec.splits or settings.dev_languages == ENGLISH else ""


def _chosen(stage: Stage, bench: Workbench, folder: Path, metric: str) -> str:
    """The fine-tuning whose model predicts: the only one, or the best on the pivot's dev set, which is noted."""
    tried = trials(stage.inputs)
    if len(tried) == 1:
        return next(iter(tried.values()))
    fits = {rate: json.loads((bench.input(name) / CURVE).read_text()) for rate, name in tried.items()}
    choice = choose(fits, tried, metric)
    _write(folder / CHOICE, choice)
    return choice[0].fingerprint


def _decided(
    task: Task, model: torch.nn.Module, stage: Stage, views: Sequence[str], settings: TaskSettings
) -> dict[str, Any]:
    precision = stage.params["precision"]
    calibration: dict[str, dict[str, float]] = {view: {} for view in views}
    if task.spec.calibrated:
        dev = _records(task, stage, views, "dev", settings)
        tuned = task.predict(model, dev, settings, precision=precision)
        calibration = {view: task.calibrate(tuned[view], dev[view]) for view in views}
    test = task.predict(model, _records(task, stage, views, "test", settings), settings, precision=precision)
    return {v: {"final": task.decide(test[v], calibration[v]), "calibration": calibration[v]} for v in views}


def do_score(stage: Stage, bench: Workbench, folder: Path) -> None:
    """Statistics of every item, and the scores that are their sums put through the metric."""
    task = _task(stage)
    settings = task.Settings(**stage.params["settings"])
    predictions = json.loads((bench.input(stage.inputs["predictions"]) / "predictions.json").read_text())
    records = _records(task, stage, stage.params["views"], "test", settings)
    parts = [
        Scored(selection, view, made["final"], records[view], task.statistics(made["final"], records[view]))
        for selection, views in predictions.items()
        for view, made in views.items()
    ]
    evidence.write(folder, task, parts, evidence.scores_of(task, parts))


def do_project(stage: Stage, bench: Workbench, folder: Path) -> None:
    """Intrinsic measures and a map of the retrieval task's sentences. The task embeds them as it does for its score."""
    task: Any = _task(stage)
    settings = task.Settings(**stage.params["settings"])
    encoder = _encoder(stage, bench).to(bench.device).eval()

    def encode(texts: Sequence[str]) -> torch.Tensor:
        vectors: torch.Tensor = task.vectors(encoder, texts, settings, precision=stage.params["precision"])
        return vectors

    _write(folder / PROJECTION, project(encode, gold_records(stage)))


def gold_records(stage: Stage) -> dict[str, Sequence[Record]]:
    """The test records by view that a predicting or scoring stage reads."""
    task = _task(stage)
    settings = task.Settings(**stage.params["settings"])
    return _records(task, stage, stage.params["views"], "test", settings)


def _records(
    task: Task, stage: Stage, views: Sequence[str], split: str, settings: TaskSettings
) -> dict[str, Sequence[Record]]:
    limit = settings.max_test if split == "test" else settings.max_dev
    return {view: cap(_cell(stage.place["source"], task.spec.name, view, split), limit) for view in views}


@cache
def _cell(source: str, task: str, view: str, split: str) -> Sequence[Record]:
    """One cell's records, read once by each process."""
    return opened(source).task(TASKS.get(task).spec, view, split)


def _task(stage: Stage) -> Task:
    assert stage.task is not None
    task: Task = TASKS.get(stage.task)()
    return task


def _encoder(stage: Stage, bench: Workbench) -> Encoder:
    """The encoder a stage starts from: an artifact's, or the base itself."""
    artifact = bench.artifacts.find(stage.inputs["encoder"])
    path = artifact.path if artifact is not None else stage.place["base"]
    return Encoder.load(path, bench.tokens)


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


KINDS: dict[str, Callable[[Stage, Workbench, Path], Trace | None]] = {
    "pretrain": do_pretrain,
    "sample": do_sample,
    "overlap": do_overlap,
    "align": do_align,
    "finetune": do_finetune,
    "predict": do_predict,
    "embed": do_predict,
    "score": do_score,
    "project": do_project,
}
