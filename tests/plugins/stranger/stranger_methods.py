"""A method from a package outside the repository."""

from harness import Corpus, Method


class SquaredDistance(Method):
    """Pulls the mean vectors of the two sentences of a pair together."""

    objective = "|| x - y ||^2"
    needs = frozenset({Corpus.PARALLEL})
