"""The tables and files of the sweep of conftest.py, cell by cell."""
# ruff: noqa: RUF001

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from rsrl_ray.analysis.numbers.frames import LARGEST_CLASS, summarise
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.build import tables, write_tables
from rsrl_ray.analysis.tables.markup import TextTable, latex, markdown
from rsrl_ray.core import metrics
from rsrl_ray.core.trial import TrialKey


def shown(sweep: Sweep, name: str) -> TextTable:
    (table,) = (table for table in tables(sweep, summarise(sweep)) if table.name == name)
    return table


def test_the_tables_of_a_page(by_hand: Sweep) -> None:
    names = [table.name for table in tables(by_hand, summarise(by_hand))]
    assert names == [
        "methods",
        "groups",
        "ordinal",
        "criteria",
        "folds",
        "comparisons",
        "classes_paper",
        "classes_none",
        "classes_late",
    ]


def test_methods(by_hand: Sweep) -> None:
    table = shown(by_hand, "methods")
    assert table.columns[:6] == ("method", "folds", "round", "photos", "macro F", "pooled")
    assert table.rows == (
        (LARGEST_CLASS, "2", "–", "–", "0.367 ± 0.047", "0.364", "0.733 ± 0.094", "0.727", "0.583 ± 0.118"),
        ("paper", "2", "1, 2", "7 ± 1", "0.567 ± 0.236", "0.650", "1.133 ± 0.471", "1.300", "0.708 ± 0.059"),
        ("none", "2", "1, 1", "8 ± 1", "0.367 ± 0.047", "0.364", "0.733 ± 0.094", "0.727", "0.583 ± 0.118"),
        ("late", "1", "1", "7", "0.333", "0.333", "0.667", "0.667", "0.500"),
    )
    assert "mean ± standard deviation" in table.caption and "validation photos" in table.caption


def test_groups(by_hand: Sweep) -> None:
    table = shown(by_hand, "groups")
    assert table.columns == ("method", *(f"{group} {m}" for group in ("minority", "majority") for m in "PRF"))
    assert table.rows[1] == (
        "paper",
        "0.500 ± 0.707",
        "0.250 ± 0.354",
        "0.333 ± 0.471",
        "0.667 ± 0.000",
        "1.000 ± 0.000",
        "0.800 ± 0.000",
    )


def test_ordinal(by_hand: Sweep) -> None:
    table = shown(by_hand, "ordinal")
    assert table.columns == ("method", "quadratic kappa", "MAE", "macro MAE", "Spearman's rho")
    assert table.rows[0] == (LARGEST_CLASS, "0.000 ± 0.000", "0.833 ± 0.236", "1.000 ± 0.000", "0.000 ± 0.000")
    # fold 0: one of 3 photos is 2 off; fold 1: one of 4, half of the class 5; rho 2 / sqrt(2 2 3 1)
    assert table.rows[1] == ("paper", "0.250 ± 0.354", "0.583 ± 0.118", "0.750 ± 0.354", "0.289 ± 0.408")


def test_of_many_folds_tables_show_quartiles(by_hand: Sweep) -> None:
    trials = {
        TrialKey(fold, name): dataclasses.replace(by_hand.trials[fold % 2, name], fold=fold)
        for fold in range(12)
        for name in ("paper", "none")
    }
    many = dataclasses.replace(by_hand, folds=tuple(range(12)), trials=trials)
    table = shown(many, "folds")
    assert table.columns == ("method", "lowest", "lower quartile", "median", "upper quartile", "highest")
    assert table.rows[1] == ("paper", "0.400", "0.400", "0.567", "0.733", "0.733")
    assert "over the 12 folds" in table.caption and "folds.csv" in table.caption
    assert shown(many, "methods").rows[1][1:3] == ("12", "2 (1 to 2)")


def test_large_classes_have_a_column_where_there_are_any(by_hand: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "macro F 50+" not in shown(by_hand, "methods").columns
    monkeypatch.setattr(metrics, "LARGE", 5)  # the score 3 has seven photos, 5 has four
    table = shown(by_hand, "methods")
    assert table.columns[4:8] == ("macro F", "pooled", "macro F 50+", "total F")
    assert table.rows[1][6] == "0.800 ± 0.000"
    assert shown(by_hand, "comparisons").rows[2][:3] == ("paper", "macro F 50+", "+0.067")


def test_criteria_side_by_side(by_hand: Sweep) -> None:
    table = shown(by_hand, "criteria")
    assert table.columns == ("method", "validation", "validation mean", "last", "oracle", "optimism")
    assert table.rows[0] == (LARGEST_CLASS, *["0.367 ± 0.047"] * 4, "–")
    assert table.rows[1] == (
        "paper",
        "0.567 ± 0.236",
        "0.700 ± 0.047",
        "0.367 ± 0.047",
        "0.700 ± 0.047",
        "+0.133",
    )
    assert table.rows[2][-1] == "0.000"
    errors = shown(dataclasses.replace(by_hand, measure="mae"), "criteria")
    assert errors.rows[0] == (LARGEST_CLASS, *["0.833 ± 0.236"] * 4, "–")
    assert errors.rows[1][1] == "0.583 ± 0.118"
    assert errors.caption.startswith("MAE on the test photos") and "Rounds are chosen by macro F" in errors.caption


def test_every_folds_value(by_hand: Sweep) -> None:
    table = shown(by_hand, "folds")
    assert table.columns == ("method", "fold 0", "fold 1")
    assert table.rows == (
        (LARGEST_CLASS, "0.400", "0.333"),
        ("paper", "0.400 (1)", "0.733 (2)"),
        ("none", "0.400 (1)", "0.333 (1)"),
        ("late", "–", "0.333 (1)"),
    )
    kappas = shown(dataclasses.replace(by_hand, measure="quadratic_kappa"), "folds")
    assert kappas.rows[1] == ("paper", "0.000 (1)", "0.500 (2)")
    assert kappas.caption.startswith("Quadratic kappa on the test photos of every fold")


def test_a_method_named_as_the_largest_classs_row_has_rows_of_its_own(by_hand: Sweep) -> None:
    trials = {TrialKey(0, LARGEST_CLASS): dataclasses.replace(by_hand.trials[0, "paper"], method=LARGEST_CLASS)}
    trials[TrialKey(1, LARGEST_CLASS)] = dataclasses.replace(by_hand.trials[1, "paper"], method=LARGEST_CLASS)
    named = dataclasses.replace(by_hand, methods=(LARGEST_CLASS,), trials=trials)
    assert shown(named, "folds").rows == ((LARGEST_CLASS, "0.400", "0.333"), (LARGEST_CLASS, "0.400 (1)", "0.733 (2)"))
    assert shown(named, "criteria").rows[0] == (LARGEST_CLASS, *["0.367 ± 0.047"] * 4, "–")
    many = {
        TrialKey(fold, LARGEST_CLASS): dataclasses.replace(trials[TrialKey(fold % 2, LARGEST_CLASS)], fold=fold)
        for fold in range(12)
    }
    quartiles = shown(dataclasses.replace(named, folds=tuple(range(12)), trials=many), "folds").rows
    assert [row[0] for row in quartiles] == [LARGEST_CLASS] * 2
    assert [row[5] for row in quartiles] == ["0.400", "0.733"]


def test_comparisons(by_hand: Sweep) -> None:
    table = shown(by_hand, "comparisons")
    # t 0.2 / 0.27903, p and interval of Cauchy's distribution: see test_summary.py
    assert table.rows[0] == (
        *("paper", "macro F", "+0.200", "−3.345 to +3.745", "0.604", "0.604"),
        # atan(-0.21 / 0.27903) / pi + 1/2, the rest, 1/2 - atan(-0.19 / 0.27903) / pi; 12.7062 sqrt(0.97321) 0.2828
        *("0.29", "0.02", "0.69", "3.545"),
    )
    assert table.rows[1] == ("late", "macro F", "0.000", "–", "–", "–", "–", "–", "–", "–")
    assert [row[1] for row in table.rows] == [
        *["macro F"] * 2,
        *["accuracy"] * 2,
        *["minority F"] * 2,
        *["majority F"] * 2,
        *["kappa"] * 2,
        *["MAE"] * 2,
        *["rho"] * 2,
        *["macro F, equal photos"] * 2,
        *["kappa, equal photos"] * 2,
        *["MAE, equal photos"] * 2,
        *["rho, equal photos"] * 2,
    ]
    assert table.lines == tuple(range(2, 22, 2))
    assert "below −0.01, within ±0.01, above 0.01" in table.caption
    assert "Differences to the method none" in table.caption


def test_classes_of_a_method(by_hand: Sweep) -> None:
    table = shown(by_hand, "classes_paper")
    assert table.columns == (
        *("score", "photos", "P, network 1", "R, network 1", "F, network 1", "P, chosen", "R, chosen", "F, chosen"),
    )
    assert [row[:2] for row in table.rows] == [
        ("3", "4"),
        ("5", "3"),
        ("7", "0"),
        ("minority mean", "3"),
        ("majority mean", "4"),
    ]
    assert table.rows[0][2:5] == ("0.583 ± 0.118", "1.000 ± 0.000", "0.733 ± 0.094")
    assert table.rows[1][2:] == (*["0.000 ± 0.000"] * 3, "0.500 ± 0.707", "0.250 ± 0.354", "0.333 ± 0.471")
    assert table.rows[2][2:] == ("–",) * 6
    assert table.lines == (3,)


def test_without_validation_photos_the_tables_say_oracle(by_hand: Sweep) -> None:
    trials = {
        key: dataclasses.replace(trial, metrics=trial.metrics.drop(columns="validation_macro_f1"))
        for key, trial in by_hand.trials.items()
    }
    sweep = dataclasses.replace(by_hand, trials=trials, chooses="test")
    assert "(oracle), which is optimistic" in shown(sweep, "methods").caption
    assert shown(sweep, "criteria").columns == ("method", "last", "oracle", "optimism")
    assert shown(sweep, "criteria").rows[1][-1] == "–"


def test_files(by_hand: Sweep, tmp_path: Path) -> None:
    frames = summarise(by_hand)
    write_tables(by_hand, frames, tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.csv",
        "comparisons.csv",
        "folds.csv",
        "ledger.csv",
        "rounds.csv",
        "summary.csv",
        "tables",
    ]
    read = pd.read_csv(folder / "summary.csv")
    assert read.columns.tolist() == frames.summary.columns.tolist()
    paper = read[(read["method"] == "paper") & (read["criterion"] == "validation")].iloc[0]
    assert (paper["rounds"], paper["macro_f1_mean"], paper["train_size_mean"]) == ("1, 2", 0.566667, 7)
    assert (folder / "folds.csv").read_text().splitlines()[3] == (
        "paper,validation,0,FINISHED,3,1,8,0.4,,0.8,0.666667,0,0,0,0.666667,1,0.8,0,0.666667,1,0"
    )
    assert (folder / "rounds.csv").read_text().splitlines()[2] == "0,paper,2,0.666667,0.5"
    written = (folder / "tables" / "methods.tex").read_text()
    assert written.startswith(
        "% late, fold 0: not begun yet.\n% late, fold 1: still running; 1 of 3 rounds logged.\n% A comparison"
    )
    assert len(list((folder / "tables").iterdir())) == 9


def test_a_folder_that_cannot_be_made_is_said(by_hand: Sweep, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file cannot be written to"):
        write_tables(by_hand, summarise(by_hand), tmp_path / "file")


def test_latex_of_a_table_is_a_booktabs_float() -> None:
    table = TextTable("small", "A & B", ("name", "value"), (("x_1", "0.5 ± 0.1"), ("y", "−1")), lines=(1, 2))
    assert latex(table) == "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table*}[t]",
            r"  \centering",
            r"  \footnotesize\setlength{\tabcolsep}{4pt}",
            r"  \caption{A \& B}",
            r"  \label{tab:small}",
            r"  \begin{tabular}{@{}lr@{}}",
            r"    \toprule",
            r"    name & value \\",
            r"    \midrule",
            r"    x\_1 & 0.5 $\pm$ 0.1 \\",
            r"    \midrule",
            r"    y & $-$1 \\",
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("50 % & $5 #1_a", r"50 \% \& \$5 \#1\_a"),
        (r"a\b{c}", r"a\textbackslash{}b\{c\}"),
        ("~x^2", r"\textasciitilde{}x\textasciicircum{}2"),
        ("a<b>c|d", r"a\textless{}b\textgreater{}c\textbar{}d"),
        ("[1pt] *", "{[}1pt] {*}"),  # neither an optional argument of the line before nor a starred \\
        ("two\nlines", "two lines"),
        ("häufig", "häufig"),
    ],
)
def test_latex_takes_any_method_name(name: str, escaped: str) -> None:
    assert rf"    {escaped} & 1 \\" in latex(TextTable("t", "", ("a", "b"), ((name, "1"),))).splitlines()


def test_every_table_has_the_columns_it_declares(by_hand: Sweep) -> None:
    for table in tables(by_hand, summarise(by_hand)):
        (declared,) = re.findall(r"begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", latex(table))
        rows = [line for line in latex(table).splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(table.rows) + 1
        assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {len(declared)}


def test_markdown() -> None:
    table = TextTable("t", "", ("name", "n"), (("a|b_*c*", "<0.001"), ("plain\nname", "1 ± 2")))
    assert markdown(table) == (
        "| name | n |\n| --- | --: |\n" + r"| a\|b\_\*c\* | \<0.001 |" + "\n| plain name | 1 ± 2 |\n"
    )


def test_methods_that_differ_only_in_marks_have_files_of_their_own(by_hand: Sweep) -> None:
    names = {"paper": "k 0.9", "none": "../k/0.9", "late": "k-0-9"}
    trials = {
        TrialKey(fold, names[name]): dataclasses.replace(trial, method=names[name])
        for (fold, name), trial in by_hand.trials.items()
    }
    sweep = dataclasses.replace(by_hand, trials=trials, methods=tuple(names.values()))
    files = [table.name for table in tables(sweep, summarise(sweep)) if table.name.startswith("classes")]
    assert files == ["classes_b7eaac4b-k_0.9", "classes_67bbda89-k_0.9", "classes_k-0-9"]
