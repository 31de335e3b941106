"""From recipes to stages: what must be there before what, and the fingerprint of each.

    sample -> overlap
    sample -> [pretrain] -> align -> finetune(task) -> predict(task) -> score(task)
                                 \\-> embed(task)    -> score(task)

A fingerprint hashes the stage's kind, its part of the recipe, the fingerprints of its inputs, those of the data it
reads, and the source of the modules that decide its result. Where the data lie, the device and the number of threads
are not hashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from harness.data.source import Manifest, open_source
from harness.data.transforms import ShuffledPairs
from harness.errors import UserError
from harness.experiments.guard import Tests, guarded
from harness.experiments.recipe import Recipe, method_config
from harness.experiments.trials import model_inputs
from harness.files import file_digest, json_digest
from harness.method import check_layers
from harness.modeling.encoder import supported_config
from harness.provenance import module_closure, source_hash
from harness.records import Corpus
from harness.registry import METHODS, OBJECTIVES, SUITES, TASKS
from harness.task import Shape, TaskSettings, TaskSpec, TrainedSettings

PRETRAIN_OBJECTIVE = "mlm"
_ENCODING = tuple(f"harness.modeling.{name}" for name in ("encoder", "attention", "packing", "tokenizer"))
_SEARCH = ("harness.evaluation.retrieval", "harness.evaluation.strong_alignment")
_LOOP = ("harness.training.loop", "harness.training.order", "harness.training.checkpoint", *_ENCODING)


@dataclass(frozen=True)
class Stage:
    """One unit of work. `params`, `inputs` (role -> fingerprint), `data` (cell -> fingerprint) and `code` decide its
    result; `place` says where to find things (source, base, plug-ins) and is not part of the fingerprint."""

    kind: str
    task: str | None
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    data: Mapping[str, str]
    code: str
    place: Mapping[str, Any] = field(compare=False)

    @cached_property
    def fingerprint(self) -> str:
        return json_digest([self.kind, self.task, self.params, dict(self.inputs), dict(self.data), self.code])

    @property
    def title(self) -> str:
        """A short name for a progress line."""
        seed = f"seed {self.params['seed']}" if self.kind in ("align", "finetune") else None
        return " ".join(filter(None, (self.kind, self.task, self.params.get("method"), seed)))


@dataclass(frozen=True)
class RunPlan:
    """The stages of one run in an order that respects their inputs, and what its scores must cover."""

    recipe: Recipe
    align_seed: int
    finetune_seed: int
    base_fingerprint: str
    data_fingerprint: str
    stages: tuple[Stage, ...]
    expected: Mapping[str, tuple[str, ...]]
    metric: Mapping[str, str]

    @property
    def id(self) -> str:
        """Hash of the recipe, the seeds, the base and the data: the key of the run's row."""
        parts = [self.recipe.hash, self.align_seed, self.finetune_seed, self.base_fingerprint, self.data_fingerprint]
        return json_digest(parts)[:16]

    @property
    def languages(self) -> tuple[str, ...]:
        """Every view that the run is scored on, each once, in the order of the suite."""
        return tuple(dict.fromkeys(view for views in self.expected.values() for view in views))


def plan_runs(recipes: Sequence[Recipe], seeds: Sequence[int], plugins: Sequence[Path] = ()) -> list[RunPlan]:
    """The plans of every recipe under every seed, seeds outermost, so that a first full table appears early."""
    return [plan_run(recipe, seed, plugins) for seed in seeds for recipe in recipes]


def plan_run(recipe: Recipe, seed: int, plugins: Sequence[Path] = ()) -> RunPlan:
    """The plan of one run on the diagonal: `seed` is both its alignment and its fine-tuning seed.

    Reads the source's manifest alone. Raises UserError for data that the recipe asks for and the source lacks.
    """
    return _Planner(recipe, seed, plugins).plan()


class _Planner:
    def __init__(self, recipe: Recipe, seed: int, plugins: Sequence[Path]) -> None:
        self.recipe, self.seed = recipe, seed
        of_text = recipe.transform not in ("", ShuffledPairs.name)
        uri = f"transformed:{recipe.transform},{recipe.source}" if of_text else recipe.source
        self.source = opened(uri)
        self.specs = [TASKS.get(name).spec for name in SUITES.get(recipe.suite).tasks]
        self.manifest = self.source.manifest(self.specs)
        self.place = {"source": uri, "base": recipe.base, "plugins": [str(p.absolute()) for p in plugins]}
        self.method = METHODS.get(recipe.method)

    def plan(self) -> RunPlan:
        expected = {spec.name: self._views(spec) for spec in self.specs}
        self._check_needs()
        self._check_layers()
        stages: list[Stage] = []
        base = self._base(stages)
        encoder = self._align(stages, base, expected)
        for spec in self.specs:
            stages += self._task(spec, encoder, expected[spec.name])
        cells = sorted({cell for stage in stages if stage.task for cell in stage.data.items()})
        return RunPlan(
            self.recipe,
            self.seed,
            self.seed,
            base,
            json_digest(cells),
            tuple(stages),
            expected,
            {spec.name: spec.metric for spec in self.specs},
        )

    def _views(self, spec: TaskSpec) -> tuple[str, ...]:
        """The views that the run must score: the official list, what is available, or those named."""
        have = self.manifest.views(spec.name, "test")
        chosen = self.recipe.languages
        if chosen == "available":
            wanted: tuple[str, ...] = have
        elif chosen == "official" and self.source.own_languages:
            wanted = tuple(v for v in have if "." not in v)  # XTREME scores no questions in another language
        elif chosen == "official":
            wanted = tuple(v for v in spec.languages)
        else:
            wanted = tuple(v for v in chosen if v in spec.languages or v in have)
        missing = [v for v in wanted if v not in have]
        if missing or not wanted:
            raise self._absent(spec, "test", missing, have)
        if spec.trained:
            for split in (s for s in spec.splits if s != "test"):
                if self.manifest.cell(spec.name, self.source.pivot, split) is None:
                    raise self._absent(spec, split, [self.source.pivot], self.manifest.views(spec.name, split))
        unlabelled = [v for v in wanted if not _cell(self.manifest, spec.name, v, "test").labelled]
        if unlabelled:
            raise UserError(
                f"{spec.name} cannot be scored: its test labels are withheld",
                file=self.recipe.source,
                found=f"no labels for {', '.join(unlabelled)}",
                expected="labelled test files",
                remedy="export predictions for the leaderboard instead, or give a source with labels",
            )
        return wanted

    def _absent(self, spec: TaskSpec, split: str, missing: list[str], have: tuple[str, ...]) -> UserError:
        if missing:
            try:
                self.source.task(spec, missing[0], split)
            except UserError as error:
                error.remedy = error.remedy or "give --languages available to score what is there"
                return error
        return UserError(
            f"the source has no {split} data for {spec.name}",
            file=self.recipe.source,
            found=", ".join(have) or "nothing",
            expected=", ".join(missing) or f"at least one of {', '.join(spec.languages)}",
            remedy="give --languages available to score what is there, or complete the data"
            if have
            else f"choose a suite without {spec.name}, or another source",
        )

    def _check_needs(self) -> None:
        lacking = self.manifest.lacking(self.method.needs)
        if lacking:
            raise UserError(
                f"{self.recipe.method} needs a corpus that the source does not have",
                file=self.recipe.source,
                found=", ".join(sorted({c.kind for c in self.manifest.corpora})) or "no corpus",
                expected=", ".join(lacking),
                remedy="choose another source, or add the corpus to it",
            )

    def _check_layers(self) -> None:
        """Layers that the method's settings name; a base on the hub is not read before its stage, which asks again."""
        if not self.method.trains:
            return
        settings, folder = self.recipe.pretrain, Path(self.recipe.base).expanduser()
        if settings is not None:
            check_layers(method_config(self.recipe), settings.layers)
        elif folder.is_dir():
            check_layers(method_config(self.recipe), supported_config(folder).num_hidden_layers)

    def _base(self, stages: list[Stage]) -> str:
        """The fingerprint of the base encoder; where it must be pre-trained, its stage is added."""
        settings = self.recipe.pretrain
        if settings is None:
            return base_fingerprint(self.recipe.base)
        stages.append(pretrain_stage(settings.model_dump(), self.manifest, self.place))
        return stages[-1].fingerprint

    def _align(self, stages: list[Stage], base: str, views: Mapping[str, Sequence[str]]) -> str:
        """The fingerprint of the encoder that the tasks get; a method that trains adds sample and alignment."""
        if not self.method.trains:
            return base
        assert self.recipe.sample is not None
        assert self.recipe.align is not None
        languages = self.manifest.languages(Corpus.PARALLEL)
        sample = Stage(
            "sample",
            None,
            self.recipe.sample.model_dump(mode="json"),
            {},
            self._corpora({Corpus.PARALLEL, Corpus.DICTIONARY}, languages),
            source_hash(("harness.data.sample", "harness.data.matching")),
            self.place,
        )
        cells = (self._cells(spec, [(v, "test") for v in views[spec.name]]) for spec in self.specs)
        tests = Tests(views, {name: cell for found in cells for name, cell in found.items()})
        sample, overlap = guarded(sample, tests, self.recipe.contamination)
        params = {
            "method": self.recipe.method,
            "config": method_config(self.recipe).model_dump(mode="json"),
            "seed": self.seed,
            "transform": self.recipe.transform,
            "precision": self.recipe.precision,
            "languages": languages,
            **self.recipe.align.model_dump(),
        }
        code = source_hash({*_closure(self.method.__module__, ("methods",)), "harness.pair_method", *_LOOP})
        inputs = {"encoder": base, "sample": sample.fingerprint}
        needs = self._corpora(self.method.needs - {Corpus.PARALLEL, Corpus.DICTIONARY}, languages)
        align = Stage("align", None, params, inputs, needs, code, self.place)
        stages += [sample, overlap, align]
        return align.fingerprint

    def _task(self, spec: TaskSpec, encoder: str, views: tuple[str, ...]) -> list[Stage]:
        settings = self._settings(spec)
        module = TASKS.get(spec.name).__module__
        made: list[Stage] = []
        inputs = {"encoder": encoder}
        if isinstance(settings, TrainedSettings):
            tried = settings.trials()
            made = [self._finetune(spec, trial, encoder) for trial in tried]
            inputs |= model_inputs([(trial, stage.fingerprint) for trial, stage in zip(tried, made, strict=True)])
        splits = ("dev", "test") if spec.calibrated else ("test",)
        dev_views = [v for v in views if self.manifest.cell(spec.name, v, "dev")] if spec.calibrated else []
        if spec.calibrated and len(dev_views) < len(views):
            raise self._absent(spec, "dev", [v for v in views if v not in dev_views], tuple(dev_views))
        common = {"settings": asdict(settings), "precision": self.recipe.precision, "views": list(views)}
        data = self._cells(spec, [(v, s) for v in views for s in splits])
        kind = "predict" if spec.trained else "embed"
        code = source_hash({*_closure(module, ("tasks",)), *_SEARCH, *_ENCODING})
        predict = Stage(kind, spec.name, common, inputs, data, code, self.place)
        score_code = source_hash(_closure(module, ("tasks",)))
        score = Stage("score", spec.name, common, {"predictions": predict.fingerprint}, data, score_code, self.place)
        return [*made, predict, score]

    def _settings(self, spec: TaskSpec) -> TaskSettings:
        """The task's settings; the base's configuration is read where they differ by kind of base."""
        differ = bool(spec.variants.get(self.recipe.protocol))
        return self.recipe.task_settings(spec.name, shape_of(self.recipe) if differ else None)

    def _finetune(self, spec: TaskSpec, settings: TrainedSettings, encoder: str) -> Stage:
        pivot = self.source.pivot
        every = self.manifest.views(spec.name, "dev")
        dev = [pivot] if settings.dev_languages == "english" else [v for v in every if v != pivot]
        dev = list(dict.fromkeys([pivot, *dev])) if "dev" in spec.splits else []
        params: dict[str, Any] = {
            "settings": asdict(settings),
            "seed": self.seed,
            "precision": self.recipe.precision,
            "pivot": pivot,
            "dev": dev,
        }
        modules = {*_closure(TASKS.get(spec.name).__module__, ("tasks",)), "harness.training.finetuning", *_LOOP}
        data = self._cells(spec, [(pivot, "train"), *((v, "dev") for v in dev)])
        if _has_hook(self.method):
            languages = self.manifest.languages(Corpus.PARALLEL)
            config = method_config(self.recipe).model_dump(mode="json")
            params |= {"hook": self.recipe.method, "config": config, "languages": languages}
            modules |= set(_closure(self.method.__module__, ("methods",)))
            data |= self._corpora(self.method.needs, languages)
        return Stage("finetune", spec.name, params, {"encoder": encoder}, data, source_hash(modules), self.place)

    def _cells(self, spec: TaskSpec, cells: Iterable[tuple[str, str]]) -> dict[str, str]:
        found = ((v, s, _cell(self.manifest, spec.name, v, s)) for v, s in cells)
        return {f"{spec.name}/{v}/{s}": cell.fingerprint for v, s, cell in found}

    def _corpora(self, kinds: Iterable[Corpus], languages: Sequence[str]) -> dict[str, str]:
        return corpus_data(self.manifest, kinds, (self.source.pivot, *languages))


def pretrain_stage(settings: dict[str, Any], manifest: Manifest, place: Mapping[str, Any]) -> Stage:
    """The stage that trains an encoder and its tokenizer on a source's running text."""
    text = running_text(manifest)
    data = {name: f for kind, languages in text.items() for name, f in corpus_data(manifest, [kind], languages).items()}
    if not data:
        raise UserError(
            "the source has no text to pre-train on", file=place["source"], expected="a mono or a parallel corpus"
        )
    objective = OBJECTIVES.get(PRETRAIN_OBJECTIVE).__module__
    code = source_hash({*_closure(objective, ("methods",)), "harness.training.pretraining", *_LOOP})
    return Stage("pretrain", None, settings, {}, data, code, place)


def project_stage(plan: RunPlan) -> Stage:
    """The stage that measures and maps the sentences of the plan's translation search, read from its `embed` stage.

    Raises UserError for a suite without one.
    """
    searches = (s for s in plan.stages if s.kind == "embed" and not TASKS.get(str(s.task)).spec.calibrated)
    embed = next(searches, None)
    if embed is None:
        raise UserError(
            f"the suite {plan.recipe.suite} has no translation search to take sentences from",
            expected="a task such as tatoeba",
            remedy="choose a run of another suite",
        )
    tasks = _closure(TASKS.get(str(embed.task)).__module__, ("tasks",))
    measures = ("harness.evaluation.intrinsic", "harness.evaluation.projection", "harness.evaluation.retrieval")
    code = source_hash({*tasks, *measures, *_ENCODING})
    return replace(embed, kind="project", code=code)


def running_text(manifest: Manifest) -> dict[Corpus, tuple[str, ...]]:
    """The corpora that a new encoder reads: mono text, and for languages without any the sides of parallel text."""
    mono = manifest.languages(Corpus.MONO)
    others = tuple(n for n in manifest.languages(Corpus.PARALLEL) if n not in mono)
    return {Corpus.MONO: mono, Corpus.PARALLEL: others}


def corpus_data(manifest: Manifest, kinds: Iterable[Corpus], languages: Sequence[str]) -> dict[str, str]:
    """The fingerprints of a manifest's corpora of these kinds, by cell."""
    cells = (cell for kind in kinds for cell in manifest.corpus_cells(kind, languages))
    return {f"{cell.kind}/{cell.language}": cell.fingerprint for cell in cells}


def base_fingerprint(base: str) -> str:
    """The fingerprint of a base: the contents of a folder's checkpoint files, or the name of one on the hub."""
    folder = Path(base).expanduser()
    if not folder.is_dir():
        if base.startswith((".", "/", "~")):
            raise UserError(
                "the base folder is missing",
                file=base,
                remedy="give a checkpoint folder, a hub name, or init:LAYERSxHIDDEN",
            )
        return json_digest(["hub", base])
    supported_config(folder)
    names = ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt")
    found = {f.name: _file_hash(f, f.stat().st_mtime_ns) for n in names if (f := folder / n).is_file()}
    return json_digest(["folder", found])


def shape_of(recipe: Recipe) -> Shape:
    """The shape of a recipe's base, from its configuration; a new encoder is a BERT."""
    if recipe.pretrain is not None:
        return Shape("bert", recipe.pretrain.layers)
    config = supported_config(recipe.base)
    return Shape(config.model_type, config.num_hidden_layers)


opened = cache(open_source)


@cache
def _file_hash(file: Path, _: int) -> str:
    return file_digest(file)


@cache
def _closure(module: str, within: tuple[str, ...]) -> tuple[str, ...]:
    """The module of a method or task and what it imports of its room; a loose plug-in is its own file."""
    import sys

    file = getattr(sys.modules.get(module), "__file__", None)
    start = str(file) if module.startswith("alignboard_plugin_") and file else module
    return tuple(module_closure(start, (*within, module.partition(".")[0])))


def _cell(manifest: Manifest, task: str, view: str, split: str) -> Any:
    cell = manifest.cell(task, view, split)
    assert cell is not None, (task, view, split)
    return cell


def _has_hook(method: Any) -> bool:
    from harness.method import Method

    return method.finetune_example is not Method.finetune_example
