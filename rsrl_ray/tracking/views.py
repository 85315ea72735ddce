"""The saved view of MLflow's UI that compares a sweep's methods: their means over folds, as charts and as a table.

MLflow keeps a saved view in a tag of the experiment. Its format is not documented (that of 3.17 is written here), so a
test looks at what is drawn. Each sweep has a view of its own, because trials of two recipes have no common mean.
"""

import base64
import json
import time
import zlib
from collections.abc import Iterable
from typing import Any

from mlflow import MlflowClient

from rsrl_ray.core.selection import TEST, VALIDATION
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.names import CHOSEN, METHOD, NEWEST, SWEEP

VIEW_NAME = "Methods, mean over folds"
_OLDER = f"{VIEW_NAME} (an older sweep)"
_TAG = "mlflow.sharedViewState."  # MLflow's, before the view's id
_OURS = "rsrl-"  # how ids of these views begin
_LOADED = 100  # runs that MLflow's UI reads at first
_RUN = "attributes.`Run Name`"
_COLUMN_WIDTH = 165  # pixels of a column, so that its name can be read
_VIEW_COLUMNS = (TEST, "train_size", "round", "test_macro_f1_50", "test_quadratic_kappa", "test_mae", VALIDATION)


def seed(client: MlflowClient, experiment_id: str, sweep: SweepRun) -> None:
    """Make the sweep's view, and mark those of other sweeps as older; what people saved or changed stays."""
    tags, own = client.get_experiment(experiment_id).tags, _TAG + _id(sweep.id)

    def tell(tag: str, value: str) -> None:
        if tags.get(tag) != value:
            client.set_experiment_tag(experiment_id, tag, value)

    for tag, value in tags.items():
        if tag.startswith(_TAG + _OURS) and tag != own:
            tell(tag, _renamed(value, VIEW_NAME, _OLDER))
    if own in tags:
        tell(own, _renamed(tags[own], _OLDER, VIEW_NAME))
        return
    now = int(time.time() * 1000)
    view = {"name": VIEW_NAME, "createdAt": now, "updatedAt": now, "state": _packed(_state(sweep))}
    tell(own, json.dumps(view))


def _renamed(value: str, before: str, now: str) -> str:
    """The view under its new name, if it has the one before; any other view as it is."""
    view = json.loads(value)
    return json.dumps(view | {"name": now}) if view["name"] == before else value


def pages(server: str, experiment_id: str, tags: Iterable[str], sweep: str) -> dict[str, str]:
    """Addresses of a sweep's view in MLflow's UI at ``server``; none if it was not made, or was deleted."""
    if _TAG + _id(sweep) not in tags:
        return {}
    page = f"{server}/#/experiments/{experiment_id}/runs?viewStateShareKey={_id(sweep)}&workflowType=machine_learning"
    return {f"{VIEW_NAME}, table": page, f"{VIEW_NAME}, charts": f"{page}&compareRunsMode=CHART"}


def _id(sweep: str) -> str:
    return _OURS + sweep


def _packed(state: dict[str, Any]) -> str:
    """As the UI writes it, because a tag of an experiment holds at most 20,000 characters."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def _state(sweep: SweepRun) -> dict[str, Any]:
    columns = [f"metrics.`{CHOSEN}{name}`" for name in _VIEW_COLUMNS]
    methods = dict.fromkeys(trial.method for trial in sweep.trials.values())
    return {
        "searchFilter": f"tags.`{SWEEP}` = '{sweep.id}' and tags.`{NEWEST}` = 'yes'",
        # If not all runs are loaded at first, whole methods are loaded, and not the best folds of each.
        "orderByKey": f"params.`{METHOD}`" if len(sweep.trials) > _LOADED else f"metrics.`{CHOSEN}{TEST}`",
        "orderByAsc": len(sweep.trials) > _LOADED,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [_RUN, *columns],
        "columnWidths": {_RUN: 2 * _COLUMN_WIDTH} | dict.fromkeys(columns, _COLUMN_WIDTH),
        "runsHiddenMode": "SHOW_ALL",
        "groupsExpanded": {f"param.{METHOD}.{method}": False for method in methods},
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": METHOD}]},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # else sections are sorted by name
        **_charts(sweep.scores, len(methods)),
    }


def _charts(scores: Iterable[int], methods: int) -> dict[str, Any]:
    """The charts in their order, a section each for macro F, the training set and the F of each score."""
    sections = {
        "Macro F": [_line(TEST), _bar(CHOSEN + TEST, methods)],
        "Training set": [_line("train_size"), _line("majority_share")],
        "F of each score": [_line(f"f1_{score}") for score in scores],
    }
    charts = [
        {**chart, "uuid": f"{_OURS}{chart['metricKey']}", "metricSectionId": f"{_OURS}{name}"}
        for name, section in sections.items()
        for chart in section
    ]
    others = (CHOSEN.rstrip("/"), "Model metrics")  # where MLflow puts a chart of every other metric
    heads = [
        {"uuid": f"{_OURS}{name}", "name": name, "display": name in sections, "isReordered": True, "columns": 2}
        for name in (*sections, *others)
    ]
    return {"compareRunSections": heads, "compareRunCharts": charts}


def _bar(metric: str, methods: int) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": methods, "deleted": False, "isGenerated": False}


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "deleted": False,
        "isGenerated": False,
        "lineSmoothness": 0,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "selectedXAxisMetricKey": "",
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
