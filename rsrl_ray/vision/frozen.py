"""Cuts a network in two: a frozen part, which each photo passes once, and the part that is trained."""

from dataclasses import dataclass
from typing import Literal

from torch import fx, nn

from rsrl_ray.vision import network as networks
from rsrl_ray.vision.layers import AveragePool, ConvHead, LinearHead, QuickDropout
from rsrl_ray.vision.network import Weights
from rsrl_ray.vision.timm_networks import BeforeHead, HeadAlone, is_timm

Trainable = Literal["classifier", "head"]


@dataclass(frozen=True)
class Cut:
    """The two parts. They share the network's layers, and their weights have the network's names.

    frozen : pictures [B, 3, S, S] -> features [B, ...]. trained : features -> logits [B, C].
    """

    frozen: nn.Module
    trained: nn.Module


def cut(model: nn.Module, trainable: Trainable) -> Cut:
    """Cut a network before the part that is trained (see `trained_part`). A dropout right before it belongs to it."""
    if is_timm(model):  # timm's networks tell by themselves what goes into their last layer
        assert trainable == "head", trainable
        head = networks.head_name(model)
        return Cut(BeforeHead(model), HeadAlone(head, model.get_submodule(head)))
    graph = _Tracer().trace(model.eval())
    place = _first_feature(model, graph, trained_part(networks.head_name(model), trainable))
    trained = _from(model, graph, place)
    for name, module in list(trained.named_modules()):
        if isinstance(module, nn.Dropout):
            trained.set_submodule(name, QuickDropout(module.p).train(module.training))
    return Cut(_up_to(model, graph, place), trained)


def trained_part(head: str, trainable: Trainable) -> str:
    """The name of the module that is trained, in a network whose last layer has the name ``head``.

    classifier : the outermost module that contains the last layer: AlexNet's fc6 to fc8, SqueezeNet's classifier,
    ``fc`` of a ResNet. head : the last layer alone.
    """
    return head if trainable == "head" else head.partition(".")[0]


def frozen_weights(weights: Weights, head: str, trainable: Trainable) -> Weights:
    """The weights that are not trained, of a whole network's ``weights``."""
    part = f"{trained_part(head, trainable)}."
    return {name: array for name, array in weights.items() if not name.startswith(part)}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Our own layers ask on which device their inputs are, which a trace does not know. So they are not traced."""
        return isinstance(module, AveragePool | ConvHead | LinearHead) or super().is_leaf_module(module, name)


def _first_feature(model: nn.Module, graph: fx.Graph, part: str) -> fx.Node:
    """The node whose output is the input of the module ``part``, or of a dropout right before that module."""
    node = next(node for node in graph.nodes if _is_in(node, part))
    source = node.args[0]
    assert isinstance(source, fx.Node), source
    if source.op == "call_module" and isinstance(model.get_submodule(str(source.target)), nn.Dropout):
        source = source.args[0]
        assert isinstance(source, fx.Node), source
    return source


def _is_in(node: fx.Node, part: str) -> bool:
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return any(path == part or path.startswith(f"{part}.") for path in paths)


def _up_to(model: nn.Module, graph: fx.Graph, place: fx.Node) -> nn.Module:
    copied: dict[fx.Node, fx.Node] = {}
    part = fx.Graph()
    part.graph_copy(graph, copied)
    part.output(copied[place])
    return _pruned(model, part)


def _from(model: nn.Module, graph: fx.Graph, place: fx.Node) -> nn.Module:
    copied: dict[fx.Node, fx.Node] = {}
    part = fx.Graph()
    part.output(part.graph_copy(graph, copied))
    with part.inserting_before(next(iter(part.nodes))):
        features = part.placeholder("features")
    copied[place].replace_all_uses_with(features)
    return _pruned(model, part)


def _pruned(model: nn.Module, graph: fx.Graph) -> nn.Module:
    """The graph without the nodes that the output does not need, such as checks of shapes."""
    graph.eliminate_dead_code(lambda node: node.op == "output")
    assert sum(node.op == "placeholder" for node in graph.nodes) == 1, "one input"
    return fx.GraphModule(model, graph)
