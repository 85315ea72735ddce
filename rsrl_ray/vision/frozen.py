"""A network cut in two: a frozen part, which every photo passes once, and the part that is trained."""

from dataclasses import dataclass
from typing import Literal

from torch import fx, nn

from rsrl_ray.vision import network as networks
from rsrl_ray.vision.layers import AveragePool, ConvHead, LinearHead, QuickDropout
from rsrl_ray.vision.network import Weights

Trainable = Literal["classifier", "head"]


@dataclass(frozen=True)
class Cut:
    """The two parts, which share the layers of the network and have their weights under the network's names.

    frozen : pictures [B, 3, S, S] -> features [B, ...]; trained : features -> logits [B, C].
    """

    frozen: nn.Module
    trained: nn.Module


def cut(model: nn.Module, trainable: Trainable) -> Cut:
    """Cut a network before what is trained (see `trained_part`), and before a dropout right before that."""
    graph = _Tracer().trace(model.eval())
    place = _first_feature(model, graph, trained_part(networks.head_name(model), trainable))
    trained = _from(model, graph, place)
    for name, module in list(trained.named_modules()):
        if isinstance(module, nn.Dropout):
            trained.set_submodule(name, QuickDropout(module.p).train(module.training))
    return Cut(_up_to(model, graph, place), trained)


def trained_part(head: str, trainable: Trainable) -> str:
    """The module that is trained, by its name in the network, whose last layer is ``head``.

    classifier : the outermost module with the last layer in it: AlexNet's fc6 to fc8, SqueezeNet's classifier, the
    ``fc`` of a ResNet. head : the last layer.
    """
    return head if trainable == "head" else head.partition(".")[0]


def frozen_weights(weights: Weights, head: str, trainable: Trainable) -> Weights:
    """Those of a whole network's weights that are not trained."""
    part = f"{trained_part(head, trainable)}."
    return {name: array for name, array in weights.items() if not name.startswith(part)}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Layers of ours ask for the type of their inputs' device, which a trace does not know."""
        return isinstance(module, AveragePool | ConvHead | LinearHead) or super().is_leaf_module(module, name)


def _first_feature(model: nn.Module, graph: fx.Graph, part: str) -> fx.Node:
    """The node whose output the module ``part`` takes, or a dropout right before it."""
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
    """Without the nodes that the output does not need. Checks of shapes go too."""
    graph.eliminate_dead_code(lambda node: node.op == "output")
    assert sum(node.op == "placeholder" for node in graph.nodes) == 1, "one input"
    return fx.GraphModule(model, graph)
