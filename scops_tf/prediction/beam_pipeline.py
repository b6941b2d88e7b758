"""The stream of photos as a pipeline of Apache Beam, for Dataflow, Flink, Spark or this machine.

Windows of photos are read, cut into batches, go through the export by `RunInference`, and are
written, all by the functions that `stream` has too. So the files are those of `predict`. A worker
writes the files of a photo in a folder of its own first, from where they go to their place, which
may be of any file system that Beam knows. What is about all photos is written by one worker, from
the pieces of all photos.
"""
from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.ml.inference import base
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from scops_tf import command, files
from scops_tf.labels import pieces
from scops_tf.labels.annotation import AnnotationError
from scops_tf.labels.part_names import PartNames
from scops_tf.prediction import beam_files, reading, stream
from scops_tf.prediction.output import Output
from scops_tf.prediction.part_finder import Found, PartFinder, Settings
from scops_tf.prediction.photos import Photo
from scops_tf.prediction.reading import Read

FAILED_FILE = 'failed.txt'
# Tag and counter of what failed.
_FAILED = 'failed'
_RUNNER = 'apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner'


class Plan(NamedTuple):
    """What a pipeline does.

    Attributes:
      arguments: Paths of photos and folders, of this machine or of a file system of Beam.
      export_dir: Folder of the export, likewise.
      out: Folder of the results, likewise.
      parts: Names and colours of the parts.
      settings: Settings that the parts are found with.
      formats: Names of the formats of labels.
      tolerance: Of polygons.
    """

    arguments: Tuple[str, ...]
    export_dir: str
    out: str
    parts: PartNames
    settings: Settings
    formats: Tuple[str, ...]
    tolerance: float

    def output(self, folder: str) -> Output:
        """What writes the results into a folder of this machine."""
        return Output(folder, self.parts, self.settings, formats=self.formats,
                      tolerance=self.tolerance)


class _Handler(base.ModelHandler[List[Read], List[Found], PartFinder]):
    """Runs the export on batches of photos of one size."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def load_model(self) -> PartFinder:
        """The export, once for each process."""
        from scops_tf.serving import predictor as predictor_lib  # Only where it is used.
        with beam_files.local(self._plan.export_dir) as folder:
            return PartFinder(predictor_lib.Predictor(folder), self._plan.settings)

    def run_inference(self, batch: Sequence[List[Read]], model: PartFinder,
                      inference_args: Any = None) -> Iterable[List[Found]]:
        """The parts of each batch."""
        return [model(one) for one in batch]

    def batch_elements_kwargs(self) -> Dict[str, int]:
        """Elements are batches already; see `reading.of_one_size`."""
        return {'max_batch_size': 1}


class _ReadWindow(beam.DoFn):
    """From a window of photos to batches, and sentences about what cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(self, window: Sequence[Photo]) -> Iterator[Any]:
        """Reads the window."""
        failed: List[str] = []
        yield from reading.of_one_size(self._readable(window, failed),
                                       most=self._settings.batch_size)
        yield from map(_failed, failed)

    def _readable(self, window: Sequence[Photo], failed: List[str]) -> Iterator[Read]:
        for photo in window:
            content = beam_files.read(photo.path) if beam_files.is_remote(photo.path) else None
            found = reading.read(Read(photo), max_side=self._settings.max_side, content=content)
            if found.image is None:
                failed.append(found.error)
            else:
                yield found


def _failed(sentence: str) -> beam.pvalue.TaggedOutput:
    Metrics.counter(_FAILED, _FAILED).inc()
    return beam.pvalue.TaggedOutput(_FAILED, sentence)


class _Write(beam.DoFn):
    """Writes the files of photos; gives their names and pieces."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def setup(self) -> None:
        """Makes the folder where the files are written first."""
        self._folder = tempfile.mkdtemp()
        self._output = self._plan.output(self._folder)

    def process(self, batch: Sequence[Found]) -> Iterator[Any]:
        """Writes a batch."""
        for found in batch:
            # Labels may name the photo by its path from their own, which must fit their last place.
            path = os.path.join(self._folder, os.path.relpath(found.result.path, self._plan.out))
            try:
                self._output.add(found._replace(
                    result=dataclasses.replace(found.result, path=path)))
                written = dict(_taken(self._folder))
                own = {name: content for name, content in written.items()
                       if pieces.FOLDER in name.split(os.sep)}
                for name in set(written) - set(own):
                    beam_files.put(os.path.join(self._plan.out, name), written[name])
            except (OSError, AnnotationError) as error:
                dict(_taken(self._folder))  # What was written of this photo before the error.
                yield _failed(command.sentence(error))
            else:
                yield found.result.name, own

    def teardown(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder)


class _Close(beam.DoFn):
    """Writes what is about all photos, and the list of what failed, which may be empty."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def process(self, _: Any, written: Iterable[Tuple[str, Dict[str, bytes]]],
                failed: Iterable[str], photos: List[Photo]) -> None:
        """Puts the pieces of all photos together."""
        with tempfile.TemporaryDirectory() as folder:
            output = self._plan.output(folder)
            done = set()
            for photo, own in written:
                done.add(photo)
                for name, content in own.items():
                    files.write(os.path.join(folder, name), content)
            output.close([photo.name for photo in photos if photo.name in done])
            output.finish()
            for name, content in _taken(folder):
                beam_files.put(os.path.join(self._plan.out, name), content)
        # Also an empty one, since that of an earlier call may lie there.
        beam_files.put(os.path.join(self._plan.out, FAILED_FILE), files.encoded(
            ''.join(f'{sentence}\n' for sentence in sorted(failed))))


def _taken(folder: str) -> Iterator[Tuple[str, bytes]]:
    """Files below a folder, by their paths from there; each is removed."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            yield os.path.relpath(path, folder), files.read(path)
            os.remove(path)


def run(plan: Plan, options: Sequence[str]) -> int:
    """Runs the pipeline to its end.

    Args:
      plan: What it does.
      options: Options of Beam, such as '--runner=FlinkRunner'. Without a runner it is the one of
        Beam that runs in this process.

    Returns:
      Number of photos that failed; `FAILED_FILE` in the folder of the results says why.
    """
    parsed = PipelineOptions(list(options))
    if parsed.view_as(StandardOptions).runner is None:
        # Beam's own default would fetch a program from the network.
        parsed.view_as(StandardOptions).runner = _RUNNER
    pipeline = beam.Pipeline(options=parsed)
    listed = (pipeline | 'Name the arguments' >> beam.Create([plan.arguments])
              | 'Find photos' >> beam.Map(beam_files.find, but=plan.out))
    batches = (listed | 'Cut into windows' >> beam.FlatMap(stream.windows)
               | 'Share the work' >> beam.Reshuffle()
               | 'Read' >> beam.ParDo(_ReadWindow(plan.settings)).with_outputs(
                   _FAILED, main='read'))
    written = (batches.read | 'Find parts' >> base.RunInference(_Handler(plan))
               | 'Write' >> beam.ParDo(_Write(plan)).with_outputs(_FAILED, main='written'))
    failed = ((batches[_FAILED], written[_FAILED]) | 'List what failed' >> beam.Flatten())
    _ = (pipeline | 'Begin the end' >> beam.Create([None])
         | 'Put together' >> beam.ParDo(
             _Close(plan), beam.pvalue.AsIter(written.written), beam.pvalue.AsIter(failed),
             beam.pvalue.AsSingleton(listed)))
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_name(_FAILED))['counters']
    return sum(counter.result for counter in counters)
