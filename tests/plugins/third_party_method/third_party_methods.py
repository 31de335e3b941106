"""A method from a package outside the repository: it imports nothing but public names."""

from alignboard import Batch, Encoder, MethodConfig, PairMethod, Term


class SquaredDistance(PairMethod):
    """Pulls the mean vectors of the two sentences of a pair together.

    Objective: L = weight / n sum_i || x_i - y_i ||^2
    """

    objective = "|| x - y ||^2"

    class Config(MethodConfig):
        """weight: of the squared distance; layer: whose states are averaged."""

        weight: float = 1.0
        layer: int = -1

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        x, y = encoder(batch["text"], layers=(self.config.layer,)).mean(self.config.layer).chunk(2)
        return {"distance": Term((x - y).square().sum(), float(len(x)), self.config.weight)}
