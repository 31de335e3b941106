"""Collectives on two processes give what one process gives on the joined batch; alone they are the identity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.training import distributed
from methods.objectives.contrastive import info_nce, nce
from tests.support.processes import run_ranks

ROWS = ((0, 3), (3, 5))  # of the joined batch, per rank
CASES = ("all anchors everywhere", "own anchors")


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    return x, y


def model() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(6, 4).double()


def own_anchors(x: Tensor, y: Tensor, start: int, stop: int) -> Tensor:
    """The losses of this process's rows against the gathered batch."""
    both = torch.cat([distributed.gather(x), distributed.gather(y)])
    n = len(both) // 2
    rows = torch.cat([torch.arange(start, stop), torch.arange(start, stop) + n])
    exclude = rows[:, None] == torch.arange(2 * n)
    return nce(torch.cat([x, y]), both, (rows + n) % (2 * n), exclude=exclude, temperature=0.1)


def step(layer: nn.Linear, case: str, start: int, stop: int) -> Tensor:
    """Backward through this process's sum over the joint count, as the training loop does; returns the joint loss."""
    x, y = (layer(side[start:stop]) for side in batch())
    if case == "own anchors":
        losses = own_anchors(x, y, start, stop)
    else:
        losses = info_nce(distributed.gather(x), distributed.gather(y), temperature=0.1, reduction="none")
    count = distributed.reduce_sum(torch.tensor(float(len(losses)), dtype=torch.float64))
    (losses.sum() / count).backward()
    distributed.reduce_gradients(layer.parameters())
    return distributed.reduce_sum(losses.sum()) / count


def contrastive_worker(rank: int, folder: str) -> None:
    start_process(rank, folder)
    results = {}
    for case in CASES:
        layer = model()
        loss = step(layer, case, *ROWS[rank])
        results[case] = [loss, *(parameter.grad for parameter in layer.parameters())]
    torch.save(results, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


def collectives_worker(rank: int, folder: str) -> None:
    start_process(rank, folder)
    distributed.BUCKET_BYTES = 20
    used = [
        nn.Parameter(torch.full((n,), 1.0, dtype=d))
        for n, d in ((2, torch.float32), (3, torch.float64), (9, torch.float64))
    ]
    partly, never, fixed = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4)), torch.ones(4)
    for place, parameter in enumerate(used):
        parameter.grad = torch.full_like(parameter, 10.0**rank * (place + 1))
    if rank == 1:
        partly.grad = torch.full_like(partly, 5.0)
    distributed.reduce_gradients([*used, partly, fixed, never])
    rows = torch.full((rank * 2, 3), rank, dtype=torch.int64)  # rank 0 has none
    turns = Path(folder, "turns")
    distributed.in_turn(lambda: turns.write_text((turns.read_text() if turns.exists() else "") + str(rank)))
    alike = torch.full((3,), float(rank))
    distributed.start_alike([alike], step=4)
    with pytest.raises(UserError, match="do not see the same checkpoint"):
        distributed.start_alike([alike], step=rank)
    with pytest.raises(UserError, match="fewer examples than processes"):
        distributed.own_part([7])
    draws = []
    for step in (0, 1, 0):
        distributed.seed_rank(5, step)
        draws.append(float(torch.rand(1)))
    result = {
        "ranks": (distributed.rank(), distributed.world_size()),
        "gathered": distributed.gather(rows),
        "sum": distributed.reduce_sum(torch.tensor([1.0, rank])),
        "total": distributed.total(rank + 1),
        "part": distributed.own_part([5, 6, 7]).tolist(),
        "alike": alike,
        "draws": draws,
        "used": [parameter.grad for parameter in used],
        "partly": partly.grad,
        "never": never.grad,
    }
    torch.save(result, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


def start_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = Path(folder, "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=len(ROWS))


@pytest.fixture(scope="module")
def contrastive(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    folder = tmp_path_factory.mktemp("contrastive")
    run_ranks(contrastive_worker, str(folder), ranks=len(ROWS))
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(ROWS))]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_loss_and_gradients_of_the_joined_batch(
    contrastive: list[dict[str, list[Tensor]]], case: str
) -> None:
    layer = model()
    loss = step(layer, case, 0, 5)
    joined = [loss, *(parameter.grad for parameter in layer.parameters())]
    for results in contrastive:
        torch.testing.assert_close(results[case], joined, atol=1e-12, rtol=1e-10)


def test_collectives(tmp_path: Path) -> None:
    run_ranks(collectives_worker, str(tmp_path), ranks=len(ROWS))
    assert (tmp_path / "turns").read_text() == "01"
    draws: list[float] = []
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        assert result["ranks"] == (rank, 2)
        assert result["gathered"].tolist() == [[1, 1, 1], [1, 1, 1]]
        assert result["sum"].tolist() == [2.0, 1.0]
        assert (result["total"], result["part"]) == (3, [[5, 6], [7]][rank])
        assert result["alike"].tolist() == [0.0] * 3
        assert result["draws"][0] == result["draws"][2] != result["draws"][1]
        draws.append(result["draws"][0])
        assert [gradient.unique().item() for gradient in result["used"]] == [11.0, 22.0, 33.0]
        assert [gradient.dtype for gradient in result["used"]] == [torch.float32, torch.float64, torch.float64]
        assert result["partly"].tolist() == [5.0] * 4
        assert result["never"] is None
    assert draws[0] != draws[1], "each rank has its own dropout"


def test_one_process_is_the_identity() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.gather(rows) is rows
    assert (distributed.total(3), distributed.own_part([4, 5]).tolist()) == (3, [4, 5])
    before = torch.get_rng_state()
    distributed.seed_rank(1, 2)
    assert torch.equal(torch.get_rng_state(), before)
    total = distributed.reduce_sum(rows)
    assert torch.equal(total, rows)
    assert not total.requires_grad
    total += 1
    assert (rows == 1).all()
    parameter = nn.Parameter(torch.ones(2))
    distributed.reduce_gradients([parameter])
    assert parameter.grad is None
