"""One training over several ranks: how network, prototypes and batch are spread, and put together again.

Every rank has its rows of the batch. The network's outputs are gathered, so that the objective sees the whole batch on
every rank, with the very code of one process: its statistics, means and emphases are of all faces.
"""

import copy
import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from vlrface.losses.objective import MethodObjective
from vlrface.losses.spread import ClassSpread, spread_classes
from vlrface.models.recognizer import Output, Recognizer
from vlrface.models.together import work_together
from vlrface.ranks import current, gathered_outputs, joined, total
from vlrface.train.options import TrainingOptions
from vlrface.types import VlrfaceError


class WholeBatch(NamedTuple):
    """What the objective takes: the rows of all ranks, in the order of the batch.

    Attributes:
        output: of the network.
        labels: (b,).
        teacher: (b, e), or None.
        taught: (b,) bool, or None.
    """

    output: Output
    labels: Tensor
    teacher: Tensor | None
    taught: Tensor | None


class Spreading:
    """How a run is spread over its ranks; made before anything is copied or optimised. Alone, it changes nothing.

    Args:
        recognizer: the network; its batch norms and dropouts are exchanged for ones that see the whole batch.
        objective: its head keeps this rank's share of the classes.
        options: how.
        seed: of sampled classes.

    Raises:
        VlrfaceError: fewer faces in a batch, or classes, than ranks.
    """

    def __init__(
        self, recognizer: Recognizer, objective: MethodObjective, options: TrainingOptions, seed: int = 0
    ) -> None:
        self.share = current()
        self._recognizer = recognizer
        self._objective = objective
        self._options = options
        self._plain: Recognizer | None = None
        if options.batch_size < self.share.size:
            raise VlrfaceError(
                f"training.batch_size is {options.batch_size}, of all {self.share.size} processes together: give each "
                "one face at least"
            )
        if (
            self.share.size > 1
            and options.batch_size % (self.share.size * options.accumulate)
            and options.accumulate > 1
        ):
            raise VlrfaceError(
                f"training.batch_size is {options.batch_size}; with training.accumulate={options.accumulate} on "
                f"{self.share.size} processes it must be a multiple of their product"
            )
        head = objective.head
        if options.sampled_classes < 1.0 or (options.shard_prototypes and self.share.size > 1):
            spread_classes(head, self.share, options.sampled_classes, seed)
        self._sampled = _SampledRows() if options.sampled_classes < 1.0 else None
        if self.share.size > 1 and options.synchronise_norms:
            work_together(recognizer)

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.share.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether each rank keeps a part of every weight only."""
        return self.share.size > 1 and self._options.strategy == "fsdp"

    def shard(self, *networks: Recognizer) -> None:
        """Let each rank keep a part of every weight (FSDP2), if the strategy says so. Before there is an optimizer."""
        if not self.sharded:
            return
        if self.first:
            self._plain = copy.deepcopy(self._recognizer)
        # Said of outputs that nobody writes to.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        device = next(self._recognizer.parameters()).device
        mesh = init_device_mesh(device.type, (self.share.size,))
        for network in networks:
            # FSDP splits no weight that lies channels-last; maps still do.
            network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
            trunk = network.backbone
            parts = [*trunk.steps(), *(child for child in trunk.children() if isinstance(child, nn.Linear))]
            for part in (*parts, network.regression, network.attention):
                if part is not None and any(True for _ in part.parameters()):
                    fully_shard(part, mesh=mesh)
            fully_shard(network, mesh=mesh)

    def wrapped(self, forward: Any) -> Any:
        """The network's call in training, whose gradients are averaged over ranks."""
        if self.share.size == 1 or self.sharded:
            return forward
        device = next(self._recognizer.parameters()).device
        ids = [device.index] if device.type == "cuda" else None
        network = _Called(self._recognizer, forward)
        # What DDP would do to the buffers of batch norms the layers do themselves. (Torch renamed the argument.)
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
        return DistributedDataParallel(network, ids, **settings)

    def whole(self, output: Output, labels: Tensor, teacher: Tensor | None, taught: Tensor | None) -> WholeBatch:
        """One's own rows to those of all ranks.

        Args:
            output: of the network, of one's own rows.
            labels: of one's own rows; a collective of their device.
            teacher: of one's own rows, or None.
            taught: of one's own rows, or None.
        """
        if self.share.size == 1:
            return WholeBatch(output, labels, teacher, taught)
        counts = self._counts()
        embedding, attended, index = gathered_outputs(
            (output.embedding, output.attended, output.recognizability), counts
        )
        known = None if taught is None else joined(taught.to(torch.uint8), counts).bool()
        return WholeBatch(
            Output(embedding, attended, index, output.attention),
            joined(labels, counts),
            None if teacher is None else joined(teacher, counts),
            known,
        )

    def _counts(self) -> list[int]:
        bounds = (self.share.bounds(self._options.batch_size, rank) for rank in range(self.share.size))
        return [last - first for first, last in bounds]

    def begin(self, labels: Tensor, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Choose the classes of a step and let the optimizer see their rows alone, until `end`."""
        spread = self._objective.head.spread
        if self._sampled is not None and isinstance(spread, ClassSpread):
            head = self._objective.head
            spread.begin(head, labels, step)
            assert spread.rows is not None  # set by begin  # noqa: S101
            whole = head.class_parameters()
            pairs = [(whole[name], active) for name, active in spread.active.items()]
            self._sampled.enter(optimizer, pairs, spread.rows)

    def end(self, optimizer: torch.optim.Optimizer) -> None:
        """After the optimizer's step: the classes that took part go back among the others."""
        if self._sampled is not None:
            self._sampled.leave(optimizer)
        if self.share.size > 1 and not self._options.synchronise_norms:
            self._average_norms()

    def reduced(self, parts: Iterable[str]) -> None:
        """After backward: the gradients of one process on every rank.

        Args:
            parts: of the objective that were computed. What none of them reaches has no gradient in one process, and
                must have none here: a gradient of 0 would let weight decay shrink it.
        """
        if self.share.size == 1:
            return
        computed = set(parts)
        for module, reached_by in (
            (self._recognizer.attention, {"projection", "attended_recognition"}),
            (self._recognizer.regression, {"regression", "diversion"}),
        ):
            if module is not None and not computed & reached_by:
                for parameter in module.parameters():
                    parameter.grad = None
        classes = {id(each) for each in self._class_rows()}
        for parameter in self._objective.parameters():
            # The same on every rank but for the order of sums on a GPU; averaged, so that ranks never drift apart.
            if parameter.grad is not None and id(parameter) not in classes:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.share.size

    def gradient_norm(self, parameters: list[nn.Parameter], clip_norm: float | None) -> Tensor | None:
        """Norm of all ranks' gradients, () on the device, which are then clipped; None for a process alone."""
        if self.share.size == 1:
            return None
        classes = {id(each) for each in self._class_rows()}
        common, parted, gradients = [], [], list[Tensor]()
        for parameter in parameters:
            if parameter.grad is not None:
                gradient = local(parameter.grad)
                here_only = isinstance(parameter.grad, DTensor) or id(parameter) in classes
                (parted if here_only else common).append(gradient.norm())
                gradients.append(gradient)
        zero = gradients[0].new_zeros(1)
        squares = total(torch.stack([*parted, *zero]).square().sum()) + torch.stack([*common, *zero]).square().sum()
        norm = squares.sqrt()
        if clip_norm is not None:
            factor = (clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
            for gradient in gradients:
                gradient.mul_(factor)
        return norm

    def _class_rows(self) -> list[nn.Parameter]:
        """What has other rows on every rank, and learns in this step."""
        head = self._objective.head
        if not isinstance(head.spread, ClassSpread):
            return []
        return list((head.spread.active or head.class_parameters()).values())

    def measured(self, recognizer: Recognizer, crops: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        """Embedding and index of crops by the network in its present mode; each rank computes its share.

        Every rank calls the network equally often: with FSDP each call is one of all ranks.
        """
        device = next(recognizer.parameters()).device
        alone = self.share.size == 1 or len(crops) < self.share.size
        mine = crops if alone else crops[self.share.of(len(crops))]
        calls = -(-len(crops) // (batch_size * (1 if alone else self.share.size)))
        pieces = mine.split(batch_size) if alone else mine.tensor_split(min(calls, len(crops) // self.share.size))
        outputs = [recognizer(piece.to(device)) for piece in pieces]
        embedding = torch.cat([output.embedding for output in outputs])
        index = torch.cat([output.recognizability for output in outputs])
        if alone:
            return embedding, index
        bounds = [self.share.bounds(len(crops), rank) for rank in range(self.share.size)]
        counts = [last - first for first, last in bounds]
        return joined(embedding, counts), joined(index.contiguous(), counts)

    def network_of_first(self, recognizer: Recognizer) -> Recognizer:
        """The network with all its weights, to be used by rank 0 alone. All ranks must call this."""
        if not self.sharded:
            return recognizer
        weights = {name: self._unsharded(value) for name, value in recognizer.state_dict().items()}
        if self._plain is None:
            return recognizer
        self._plain.load_state_dict(weights)
        return self._plain.eval()

    def collected(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """What a checkpoint holds, whatever the number of ranks. Complete on rank 0; all ranks must call this."""
        if self.share.size == 1:
            return dict(tensors)
        parted = self._parted(tensors, optimizer)
        result: dict[str, Tensor] = {}
        for name, value in tensors.items():
            whole = self._rows_of_all(value) if name in parted else self._unsharded(value)
            if self.first:
                result[name] = whole
        return result

    def mine(
        self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> dict[str, Tensor]:
        """Of a checkpoint's tensors the parts that this rank holds.

        Args:
            tensors: as `collected` gave them.
            like: this rank's tensors of the same names, where there are some.
            optimizer: whose state is among them.
        """
        if self.share.size == 1:
            return dict(tensors)
        parted = self._parted(tensors, optimizer)
        classes = self._objective.head.classes
        everything = [p for group in optimizer.param_groups for p in group["params"]]
        result: dict[str, Tensor] = {}
        for name, value in tensors.items():
            example = everything[int(name.split(".")[1])] if name.startswith("optimizer.") else like.get(name)
            mine = value
            if name in parted and len(value) == classes:  # else it does not fit, as whoever loads it will say
                mine = value[self.share.of(classes)].clone()
            elif isinstance(example, DTensor) and value.shape == example.shape:
                there = value.to(example.device)
                mine = distribute_tensor(there, example.device_mesh, example.placements, src_data_rank=None)
            result[name] = mine
        return result

    def _parted(self, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> set[str]:
        """Names of tensors with a row for each class, of which a rank has its share."""
        head = self._objective.head
        if head.spread is None:
            return set()
        classes = head.class_parameters()
        names = {f"objective.head.{name}" for name in classes}
        known = {id(each) for each in classes.values()}
        everything = [p for group in optimizer.param_groups for p in group["params"]]
        places = tuple(f"optimizer.{at}." for at, each in enumerate(everything) if id(each) in known)
        return names | {n for n, value in tensors.items() if places and n.startswith(places) and value.ndim > 0}

    def _rows_of_all(self, value: Tensor) -> Tensor:
        classes = self._objective.head.classes
        bounds = [self.share.bounds(classes, rank) for rank in range(self.share.size)]
        longest = max(last - first for first, last in bounds)
        value = value.detach().cpu()
        mine = value.new_zeros((longest, *value.shape[1:]))
        mine[: len(value)] = value
        # To rank 0 alone: the prototypes of millions of classes are not to lie on every rank at once.
        every = [torch.empty_like(mine) for _ in bounds] if self.first else None
        dist.gather(mine, every, dst=0)
        if every is None:
            return value
        return torch.cat([each[: last - first] for each, (first, last) in zip(every, bounds, strict=True)])

    @staticmethod
    def _unsharded(value: Tensor) -> Tensor:
        return value.full_tensor() if isinstance(value, DTensor) else value

    def _average_norms(self) -> None:
        """Running statistics of batch norms that saw their own rank's rows only."""
        norms = [m for m in self._recognizer.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # pyright: ignore[reportPrivateUsage]
        kept = [each for m in norms for each in (m.running_mean, m.running_var) if each is not None]
        if not kept:
            return
        average = total(torch.cat([each.flatten() for each in kept])) / self.share.size
        for each, value in zip(kept, average.split([each.numel() for each in kept]), strict=True):
            each.copy_(value.view_as(each))


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that is here; all of it, unless FSDP has sharded it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class _Called(nn.Module):
    """A network that is called in its own way, as compiled; DDP wants a module."""

    def __init__(self, network: Recognizer, call: Any) -> None:
        super().__init__()
        self.network = network
        self._call = (call,)  # in a tuple, or torch would take a compiled network for a second one inside

    def forward(self, images: Tensor) -> Output:
        """What the network says."""
        return self._call[0](images)


class _SampledRows:
    """Some rows of parameters in their place in an optimizer, with their rows of its state, for one step."""

    def __init__(self) -> None:
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._rows = torch.empty(0, dtype=torch.int64)

    def enter(
        self, optimizer: torch.optim.Optimizer, pairs: list[tuple[nn.Parameter, nn.Parameter]], rows: Tensor
    ) -> None:
        """Put each second parameter, rows of the first, in its place."""
        self._pairs, self._rows = pairs, rows
        for whole, active in pairs:
            _exchange(optimizer, whole, active)
            state = optimizer.state.get(whole)
            if state:
                optimizer.state[active] = {
                    key: value[rows] if _has_rows(value, whole) else value for key, value in state.items()
                }

    @torch.no_grad()
    def leave(self, optimizer: torch.optim.Optimizer) -> None:
        """Write rows and state back, and put the whole parameters in their place again."""
        for whole, active in self._pairs:
            _exchange(optimizer, active, whole)
            whole[self._rows] = active
            new = optimizer.state.pop(active, {})
            kept = optimizer.state[whole]
            for key, value in new.items():
                if _has_rows(value, active):
                    # A row that was never drawn has the state of one that never moved: 0, as the optimizers begin.
                    rows = kept.setdefault(key, torch.zeros_like(whole))
                    rows[self._rows] = value
                else:
                    kept[key] = value
        self._pairs = []


def _has_rows(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _exchange(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    for group in optimizer.param_groups:
        group["params"] = [new if each is old else each for each in group["params"]]
