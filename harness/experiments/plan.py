"""From recipes to stages: what depends on what.

sample -> overlap
sample -> [pretrain] -> align -> finetune(task) -> predict(task) -> score(task)
                             \\-> embed(task)    -> score(task)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.code import plugin_module
from harness.data.source import Manifest, Source, TaskCell, cached_source
from harness.data.transforms import ShuffledPairs, TransformedSource
from harness.errors import UsageError, UserError
from harness.experiments.availability import cell_of, check_corpora, check_languages, missing_data, scored_views
from harness.experiments.bases import base_fingerprint, base_positions, base_shape, resolve_base
from harness.experiments.gold import check_items
from harness.experiments.method_card import method_card
from harness.experiments.recipe import Recipe, full_config
from harness.experiments.stage import Stage, StagePlace
from harness.experiments.stages.align import Align
from harness.experiments.stages.clean_sample import DrawCleanSample
from harness.experiments.stages.embed import Embed
from harness.experiments.stages.finetune import Finetune, Hook
from harness.experiments.stages.overlap import FindOverlap
from harness.experiments.stages.predict import Predict
from harness.experiments.stages.pretrain import OBJECTIVE, Pretrain, running_text
from harness.experiments.stages.project import Project
from harness.experiments.stages.sample import DrawSample
from harness.experiments.stages.score import Score
from harness.experiments.trials import model_inputs
from harness.files import json_digest
from harness.layers import check_layers, layer_marks
from harness.records import Corpus
from harness.registry import OBJECTIVES, SUITES, TASKS
from harness.task import TaskSettings, TaskSpec, TrainedSettings
from harness.training.settings import PretrainSettings


@dataclass(frozen=True)
class RunPlan:
    """The stages of one run in an order that respects their inputs, and what its scores must cover.

    `recipe` is the one that was asked for, with its base resolved. `data` has the fingerprint of every cell of the
    source that a stage reads.
    """

    recipe: Recipe
    align_seed: int
    finetune_seed: int
    base_fingerprint: str
    data: Mapping[str, str]
    stages: tuple[Stage, ...]
    expected: Mapping[str, tuple[str, ...]]
    metric: Mapping[str, str]
    notes: tuple[str, ...] = ()  # on files of the source that are not read, and on text that is cut

    @property
    def id(self) -> str:
        """Hash of the recipe, the seeds, the base and the data: the key of the run's row."""
        parts = [self.recipe.hash, self.align_seed, self.finetune_seed, self.base_fingerprint, self.data_fingerprint]
        return json_digest(parts)[:16]

    @property
    def version(self) -> str:
        """Hash of all stages: plans of one run by different code have different versions."""
        return json_digest([stage.fingerprint for stage in self.stages])[:16]

    @property
    def data_fingerprint(self) -> str:
        return json_digest(dict(self.data))

    @property
    def languages(self) -> tuple[str, ...]:
        """Every view that the run is scored on, each once, in the order of the suite."""
        return tuple(dict.fromkeys(view for views in self.expected.values() for view in views))


def plan_runs(recipes: Sequence[Recipe], seeds: Sequence[int], plugins: Sequence[Path] = ()) -> list[RunPlan]:
    """The plans of every recipe under every seed, seeds outermost, so that a first full table appears early."""
    return [plan_run(recipe, seed, plugins) for seed in seeds for recipe in recipes]


def plan_run(recipe: Recipe, seed: int, plugins: Sequence[Path] = ()) -> RunPlan:
    """The plan of one run on the diagonal: `seed` is both its alignment and its fine-tuning seed.

    Reads the source's manifest, checks every item that the run will read unless an earlier plan did, and hashes the
    files of the base. Raises UserError for data that the recipe asks for and the source lacks, for an item that cannot
    be trained on or scored, for a base that cannot be used, and for a layer that the base does not have.
    """
    return _Planner(recipe, seed, plugins).plan()


class _Planner:
    def __init__(self, recipe: Recipe, seed: int, plugins: Sequence[Path]) -> None:
        if recipe.pretrain is None:
            recipe = recipe.model_copy(update={"base": resolve_base(recipe.base)})
        self.recipe, self.seed = recipe, seed
        uri = source_uri(recipe.source, recipe.transform)
        self.source = cached_source(uri)
        self.source_modules = source_modules(self.source)
        self.specs: list[TaskSpec] = [TASKS.get(name).spec for name in SUITES.get(recipe.suite).tasks]
        self.manifest = self.source.manifest(self.specs)
        self.place = StagePlace(uri, recipe.base, tuple(str(p.absolute()) for p in plugins))
        self.method = method_card(recipe.method)
        self.read: dict[TaskCell, TaskSpec] = {}  # the sets of items that the stages read

    def plan(self) -> RunPlan:
        check_languages(self.recipe, self.source, self.manifest, self.specs)
        expected = {spec.name: scored_views(self.recipe, self.source, self.manifest, spec) for spec in self.specs}
        check_corpora(self.recipe, self.manifest)
        if self.method.trains:
            check_layers(full_config(self.recipe), self.method.lowest_layers, base_shape(self.recipe).depth)
            self._check_negatives()
        stages: list[Stage] = []
        base = self._base(stages)
        encoder = self._align(stages, base, expected)
        for spec in self.specs:
            stages += self._task(spec, encoder, expected[spec.name])
        check_items(self.source, self.read, self.source_modules)
        return RunPlan(
            self.recipe,
            self.seed,
            self.seed,
            base,
            {cell: fingerprint for stage in stages for cell, fingerprint in stage.data.items()},
            tuple(stages),
            expected,
            {spec.name: spec.metric for spec in self.specs},
            (*self.manifest.unread, *self._cut_text()),
        )

    def _check_negatives(self) -> None:
        """Raises UsageError for a batch of one pair where the batch is where negatives come from: there would be no
        contrast, and nothing would say so."""
        align = self.recipe.align
        if self.method.in_batch and align is not None and align.batch_size < 2:
            raise UsageError(
                f"a batch of one pair has no negatives for {self.recipe.method}",
                found=f"align.batch_size={align.batch_size}, align.accumulation={align.accumulation}",
                expected="a batch of two pairs or more",
                remedy="raise align.batch_size: accumulation adds no negatives, align.recompute_tokens saves memory",
            )

    def _cut_text(self) -> Iterator[str]:
        align = self.recipe.align
        if align is None or self.recipe.pretrain is not None:
            return
        if (positions := base_positions(self.recipe.base)) < align.max_length:
            yield f"align.max_length={align.max_length} is cut to {positions}, all the positions that the base has"

    def _base(self, stages: list[Stage]) -> str:
        """The fingerprint of the base encoder; where it is trained from scratch, its stage is added."""
        if self.recipe.pretrain is None:
            return base_fingerprint(self.recipe.base)
        stages.append(pretrain_stage(self.recipe.pretrain, self.source, self.place))
        return stages[-1].fingerprint

    def _encoder_role(self, is_aligned: bool = False) -> str:
        """The role of an encoder among a stage's inputs: an artifact of this run, or the base itself."""
        return "encoder" if is_aligned or self.recipe.pretrain is not None else "base"

    def _align(self, stages: list[Stage], base: str, views: Mapping[str, tuple[str, ...]]) -> str:
        """The fingerprint of the encoder that the tasks get; a method that trains adds sample and alignment."""
        if not self.method.trains:
            return base
        assert self.recipe.align is not None
        languages = self.manifest.languages(Corpus.PARALLEL)
        tests = {name: cell for s in self.specs for name, cell in self._cells(s, [(v, "test") for v in views[s.name]])}
        sample = self._sample(views, tests, languages)
        task_modules = (plugin_module(TASKS.get(name)) for name in views)
        overlap = FindOverlap(
            inputs={"sample": sample.fingerprint},
            data=tests,
            modules=(*self.source_modules, *task_modules),
            place=self.place,
            tests=views,
        )
        align = Align(
            inputs={self._encoder_role(): base, "sample": sample.fingerprint},
            data=self._corpora(self.method.corpora - {Corpus.PARALLEL, Corpus.DICTIONARY}, languages),
            modules=(*self.source_modules, self.method.module),
            place=self.place,
            method=self.recipe.method,
            config=full_config(self.recipe),
            seed=self.seed,
            transform=self.recipe.transform,
            precision=self.recipe.precision,
            languages=languages,
            settings=self.recipe.align,
        )
        stages += [sample, overlap, align]
        return align.fingerprint

    def _sample(
        self, views: Mapping[str, tuple[str, ...]], tests: Mapping[str, str], languages: Sequence[str]
    ) -> DrawSample:
        assert self.recipe.sample is not None
        data = self._corpora({Corpus.PARALLEL, Corpus.DICTIONARY}, languages)
        settings, modules = self.recipe.sample, self.source_modules
        if self.recipe.contamination == "report":
            return DrawSample(data=data, modules=modules, place=self.place, settings=settings)
        modules = (*modules, *(plugin_module(TASKS.get(name)) for name in views))
        return DrawCleanSample(
            data={**data, **tests}, modules=modules, place=self.place, settings=settings, tests=views
        )

    def _task(self, spec: TaskSpec, encoder: str, views: tuple[str, ...]) -> list[Stage]:
        settings = self._settings(spec)
        inputs = {self._encoder_role(self.method.trains): encoder}
        models: list[Finetune] = []
        if isinstance(settings, TrainedSettings):
            trials = settings.trials()
            models = [self._finetune(spec, trial, encoder, len(trials) > 1) for trial in trials]
            inputs |= model_inputs([(trial, model.fingerprint) for trial, model in zip(trials, models, strict=True)])
        splits = ("dev", "test") if spec.calibrated else ("test",)
        dev_views = [v for v in views if self.manifest.cell(spec.name, v, "dev")] if spec.calibrated else []
        if spec.calibrated and len(dev_views) < len(views):
            missing = [v for v in views if v not in dev_views]
            raise missing_data(self.recipe, self.source, spec, "dev", missing, dev_views)
        common: dict[str, Any] = {
            "task": spec.name,
            "data": dict(self._cells(spec, [(v, s) for v in views for s in splits])),
            "modules": (*self.source_modules, plugin_module(TASKS.get(spec.name))),
            "place": self.place,
            "settings": settings,
            "views": views,
        }
        kind = Predict if models else Embed
        predict = kind(inputs=inputs, precision=self.recipe.precision, **common)
        score = Score(inputs={"predictions": predict.fingerprint}, **common)
        return [*models, predict, score]

    def _settings(self, spec: TaskSpec) -> TaskSettings:
        """The task's settings for this base. Raises UsageError for a layer that the base does not have."""
        shape = base_shape(self.recipe)
        settings = self.recipe.task_settings(spec.name, shape)
        check_layers(asdict(settings), layer_marks(type(settings)), shape.depth, f"tasks.{spec.name}")
        return settings

    def _finetune(self, spec: TaskSpec, settings: TrainedSettings, encoder: str, is_trial: bool) -> Finetune:
        pivot = self.source.pivot
        others = [] if settings.dev_languages == "english" else self.manifest.views(spec.name, "dev")
        dev = tuple(dict.fromkeys([pivot, *others])) if "dev" in spec.splits else ()
        modules = [*self.source_modules, plugin_module(TASKS.get(spec.name))]
        data = dict(self._cells(spec, [(pivot, "train"), *((v, "dev") for v in dev)]))
        hook = None
        if any(kind.__name__ in self.method.finetunes for kind in spec.family.record.__mro__):
            languages = self.manifest.languages(Corpus.PARALLEL)
            hook = Hook(self.recipe.method, full_config(self.recipe), languages)
            modules.append(self.method.module)
            data |= self._corpora(self.method.corpora, languages)
        return Finetune(
            task=spec.name,
            inputs={self._encoder_role(self.method.trains): encoder},
            data=data,
            modules=tuple(modules),
            place=self.place,
            settings=settings,
            seed=self.seed,
            precision=self.recipe.precision,
            pivot=pivot,
            dev=dev,
            hook=hook,
            is_trial=is_trial,
        )

    def _cells(self, spec: TaskSpec, cells: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        for view, split in cells:
            cell = cell_of(self.manifest, spec.name, view, split)
            self.read[cell] = spec
            yield cell.name, cell.fingerprint

    def _corpora(self, kinds: Iterable[Corpus], languages: Sequence[str]) -> dict[str, str]:
        return corpus_fingerprints(self.manifest, kinds, (self.source.pivot, *languages))


def source_uri(source: str, transform: str) -> str:
    """The URI of what a run reads: its source, or that source with its text transformed."""
    return source if transform in ("", ShuffledPairs.name) else f"transformed:{transform},{source}"


def pretrain_stage(settings: PretrainSettings, source: Source, place: StagePlace) -> Pretrain:
    """The stage that trains an encoder and its tokenizer on a source's running text.

    Raises UserError for a source without text.
    """
    manifest = source.manifest([])
    data: dict[str, str] = {}
    for kind, languages in running_text(manifest).items():
        data |= corpus_fingerprints(manifest, [kind], languages)
    if not data:
        raise UserError(
            "the source has no text to pre-train on", file=place.source, expected="a mono or a parallel corpus"
        )
    modules = (*source_modules(source), method_card(OBJECTIVE, OBJECTIVES).module)
    return Pretrain(data=data, modules=modules, place=place, settings=settings)


def project_stage(plan: RunPlan) -> Project:
    """The stage that measures and maps the sentences of the plan's translation search, read from its `embed` stage.

    Raises UserError for a suite without one.
    """
    for stage in plan.stages:
        if stage.kind == Embed.kind and TASKS.get(str(stage.task)).spec.family.embedded:
            assert isinstance(stage, Embed)
            return Project(**{field.name: getattr(stage, field.name) for field in fields(stage)})
    raise UserError(
        f"the suite {plan.recipe.suite} has no translation search to take sentences from",
        expected="a task such as tatoeba",
        remedy="choose a run of another suite",
    )


def source_modules(source: Source) -> tuple[str, ...]:
    """The modules that read a source: its own, and that of the source that it transforms."""
    inner = source_modules(source.inner) if isinstance(source, TransformedSource) else ()
    return (plugin_module(type(source)), *inner)


def corpus_fingerprints(manifest: Manifest, kinds: Iterable[Corpus], languages: Sequence[str]) -> dict[str, str]:
    """The fingerprints of a manifest's corpora of these kinds, by cell."""
    cells = (cell for kind in kinds for cell in manifest.corpus_cells(kind, languages))
    return {cell.name: cell.fingerprint for cell in cells}
