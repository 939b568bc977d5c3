"""The table of metrics: what goes in comes out, replicates are averaged, times do not count as results."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from veridical.coordinates import Coordinates
from veridical.errors import ArtifactError, DataError
from veridical.evidence import metrics, result_digest, tabulation
from veridical.evidence.definitions import METRICS
from veridical.evidence.metrics import row
from veridical.report import tables
from veridical.tasks.supports import OneOf, Whole


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("r/s/check/npe/n1000-r2/pelts/sbc.json", Coordinates("npe", 1000, 2, "pelts")),
        ("r/s/train/npe/n1000-r0/cost.json", Coordinates("npe", 1000, 0, "")),
        ("r/s/benchmarks/train/npe/n1000-r0.jsonl", Coordinates("npe", 1000, 0, "")),
        ("r/s/infer/npe/n50-r1/pelts.nc", Coordinates("npe", 50, 1, "pelts")),
        ("r/s/infer/npe/n50-r1/pelts.predictive.npz", Coordinates("npe", 50, 1, "pelts")),
        ("r/s/infer/reference/pelts.nc", Coordinates("reference", dataset="pelts")),
        ("r/s/infer/reference/pelts/ensemble-0.npz", Coordinates("reference", dataset="pelts")),
    ],
)
def test_coordinates_are_read_off_the_path(path: str, expected: Coordinates) -> None:
    assert Coordinates.of(path) == expected


def test_a_path_without_coordinates_is_refused() -> None:
    with pytest.raises(DataError, match="expected a path"):
        Coordinates.of("results/study/observe/pelts.nc")


ODD = [
    row(study="s", method="npe", budget=10, seed=0, metric="lpp", value=0.1 + 0.2, stderr=1e-300, n=7),
    row(study="s", method="npe", budget=10, seed=1, metric="lpp", value=-0.0, kernel="rbf", n=np.int64(7)),
    row(study="s", method="npe", budget=10, seed=1, metric="lpp", value=np.float64(0.1), kernel=3),
    row(study="s", method="npe", budget=10, seed=2, metric="lpp", value=1 / 3, kernel=2.0),
    row(metric="nltp", value=-math.inf, parameter='a, "b" c', level=0.9, zero_densities=3, note="é\nè"),
    row(metric="nltp", value=math.nan, parameter="", seed=0, level=1e22, decided=np.bool_(True)),
    row(metric="nltp", value=None, stderr=math.inf, n_calibration=10**12, true_value=5e-324),
]
ODD_TEXT = """\
study,task,method,budget,seed,dataset,metric,parameter,value,stderr,n,budget_low,n_calibration,members,level,\
true_value,dataset_name,observation,decided,kernel,note,zero_densities
s,,npe,10,0,,lpp,,0.30000000000000004,1e-300,7,,,,,,,,,,,
s,,npe,10,1,,lpp,,-0.0,,7,,,,,,,,,rbf,,
s,,npe,10,1,,lpp,,0.1,,,,,,,,,,,3,,
s,,npe,10,2,,lpp,,0.3333333333333333,,,,,,,,,,,2.0,,
s,,npe,10,,,lpp,,0.0,,1,,,,,,,,,rbf,,
s,,npe,10,,,lpp,,0.24444444444444446,0.0728604280478,3,,,,,,,,,,,
,,,,0,,nltp,,nan,,,,,,1e+22,,,,1,,,
,,,,,,nltp,,nan,,1,,,,1e+22,,,,,,,
,,,,,,nltp,"a, ""b"" c",-inf,,,,,,0.9,,,,,,"é
è",3
,,,,,,nltp,,,inf,,,1000000000000,,,5e-324,,,,,,
"""


def test_the_bytes_of_a_table_are_those_of_old(tmp_path: Path) -> None:
    metrics.write(tmp_path / "m.csv", metrics.tidy(ODD))
    assert (tmp_path / "m.csv").read_bytes() == ODD_TEXT.encode()
    assert _digest([], tmp_path / "m.csv").startswith("699d60ae8add92ac")


def test_a_table_read_back_is_the_table_written(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(ODD_TEXT.encode())
    again = metrics.read(tmp_path / "m.csv")
    kernels = [(r["kernel"], type(r["kernel"])) for r in again[1:4]]
    assert kernels == [("rbf", str), (3, int), (2.0, float)]
    assert math.copysign(1, again[1]["value"]) == -1 and type(again[0]["seed"]) is int
    assert math.isnan(again[6]["value"]) and again[9]["value"] is None
    metrics.write(tmp_path / "again.csv", again)
    assert (tmp_path / "again.csv").read_bytes() == ODD_TEXT.encode()


def test_the_columns_stand_in_the_order_that_the_design_names(tmp_path: Path) -> None:
    metrics.write(tmp_path / "m.csv", [row(metric="lpp", value=1.0, zeta=1, alpha=2)])
    header = (tmp_path / "m.csv").read_text().splitlines()[0].split(",")
    first = "study,task,method,budget,seed,dataset,metric,parameter,value,stderr,n"
    assert ",".join(header[:11]) == first
    assert header[11:16] == ["budget_low", "n_calibration", "members", "level", "true_value"]
    assert header[-2:] == ["alpha", "zeta"]


def test_nothing_is_left_of_a_table_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics.write(tmp_path / "m.csv", [row(metric="lpp", value=1.0)])
    before = (tmp_path / "m.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veridical.files.os.replace", full)
    with pytest.raises(ArtifactError, match=r"m\.csv: cannot be written .*No space"):
        metrics.write(tmp_path / "m.csv", [row(metric="lpp", value=2.0)])
    assert (tmp_path / "m.csv").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("study,task\n", "missing"), (",".join(metrics.COLUMNS) + "\ns,t,m,many" + "," * 14, "line 2")],
)
def test_a_table_that_is_not_one_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        metrics.read(tmp_path / "m.csv")


def test_replicates_are_averaged_with_the_error_across_them() -> None:
    values = [1.0, 2.0, 6.0]
    rows = [row(method="npe", seed=s, metric="lpp", value=v, stderr=9.0, n=500) for s, v in enumerate(values)]
    (mean,) = metrics.aggregate(rows)
    assert mean["value"] == pytest.approx(3.0)
    assert mean["stderr"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
    assert (mean["n"], mean["seed"], mean["method"]) == (3, None, "npe")


def test_one_replicate_has_no_error_across_replicates() -> None:
    (mean,) = metrics.aggregate([row(seed=0, metric="lpp", value=1.5, stderr=0.1, n=10)])
    assert (mean["value"], mean["stderr"], mean["n"]) == (1.5, None, 1)


@pytest.mark.parametrize(("values", "expected"), [([-math.inf, 1.0], -math.inf), ([math.nan, 1.0], math.nan)])
def test_what_is_not_finite_stays_in_the_mean(values: list[float], expected: float) -> None:
    (mean,) = metrics.aggregate([row(seed=s, metric="lpp", value=v) for s, v in enumerate(values)])
    assert mean["value"] == pytest.approx(expected, nan_ok=True)
    assert mean["stderr"] is None


def test_parameters_levels_and_data_sets_are_not_averaged_together() -> None:
    rows = [
        row(seed=s, metric="coverage", parameter=p, level=lv, dataset_name=d, value=1.0)
        for s in (0, 1) for p in ("a", "b") for lv in (0.5, 0.9) for d in ("x", "y")
    ]  # fmt: skip
    assert len(metrics.aggregate(rows)) == 8


def test_numbers_in_further_columns_do_not_split_replicates_but_texts_do() -> None:
    rows = [row(seed=0, metric="lpp", value=1.0, zero_densities=2), row(seed=1, metric="lpp", value=2.0)]
    assert [r["n"] for r in metrics.aggregate(rows)] == [2]
    rows = [row(seed=s, metric="mmd_p", value=0.5, kernel=k) for s in (0, 1) for k in ("rbf", "imq")]
    assert [(r["kernel"], r["n"]) for r in metrics.aggregate(rows)] == [("rbf", 2), ("imq", 2)]
    assert len(metrics.tidy([*rows, row(seed=0, metric="mmd_p", value=0.1, kernel=3)])) == 8


def test_posterior_rows_hold_the_quantiles_of_the_draws(rng: np.random.Generator) -> None:
    draws = rng.normal(size=(4000, 2, 1)) + np.array([[0.0], [5.0]])
    rows = tabulation.posterior_rows(
        Coordinates("npe", 10, 0, "pelts"), ["a"], draws, np.array([[1.0], [2.0]])
    )
    cells = {"metric": "posterior_quantile", "observation": 1}
    assert metrics.value(rows, level=0.5, **cells) == pytest.approx(5.0, abs=4 * 1.2533 / math.sqrt(4000))
    assert metrics.value(rows, level=0.95, **cells) == pytest.approx(6.645, abs=4 * 2.11 / math.sqrt(4000))
    assert {r["true_value"] for r in rows} == {1.0, 2.0}
    assert {r["dataset_name"] for r in rows} == {"pelts"}


def test_value_refuses_to_choose_between_rows() -> None:
    rows = [row(metric="lpp", value=1.0), row(metric="lpp", value=2.0)]
    with pytest.raises(DataError, match="got 2"):
        metrics.value(rows, metric="lpp")
    assert metrics.value(rows, metric="nltp") is None


def test_every_metric_of_a_study_is_defined(study: SimpleNamespace) -> None:
    found = {r["metric"] for r in metrics.read(study.table)}
    undefined = {name for name in found if name not in METRICS and not name.endswith("_decidable")}
    assert not undefined


def test_aggregates_stand_beside_every_replicate(study: SimpleNamespace) -> None:
    rows = metrics.read(study.table)
    own = metrics.select(rows, metric="nrmse", parameter="hare", budget=4000)
    assert [r["seed"] for r in own] == [0, 1, 2, None]
    assert own[-1]["value"] == pytest.approx(np.mean([r["value"] for r in own[:-1]]))
    assert {r["method"] for r in rows} == {"npe", "reference"}


# ---- the digest of results -----------------------------------------------------------------------


def _table(path: Path, seconds: float, lpp: float = -1.5) -> Path:
    rows = [
        row(metric="lpp", value=lpp, seed=0),
        row(metric="fit_seconds", value=seconds, seed=0),
        row(metric="sample_seconds", value=2 * seconds, seed=0),
    ]
    metrics.write(path, rows)
    return path


def _digest(arrays: list[tuple], table: Path) -> str:
    return result_digest.digest_of(result_digest.result_lines(arrays, table))


def _stream(array: np.ndarray, pieces: int, name: str = "x") -> tuple:
    return name, array.dtype, array.shape, np.array_split(array, pieces)


def test_the_digest_sees_neither_times_nor_pieces_nor_order(tmp_path: Path) -> None:
    x, y = np.arange(24.0).reshape(12, 2), np.arange(5, dtype=np.uint8)
    one = _digest([_stream(x, 1), _stream(y, 1, "y")], _table(tmp_path / "a.csv", 1.0))
    two = _digest([_stream(y, 2, "y"), _stream(x, 5)], _table(tmp_path / "b.csv", 99.0))
    assert one == two


def test_the_digest_sees_every_bit_shape_type_name_and_number(tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(12, 2)
    flipped = x.copy()
    flipped[7, 1] = np.nextafter(flipped[7, 1], 99)
    table = _table(tmp_path / "a.csv", 1.0)
    variants = [
        _digest([_stream(x, 1)], table),
        _digest([_stream(flipped, 1)], table),
        _digest([_stream(x.reshape(2, 12), 1)], table),
        _digest([_stream(x.astype(np.float32), 1)], table),
        _digest([_stream(x, 1, "z")], table),
        _digest([_stream(x, 1)], _table(tmp_path / "b.csv", 1.0, lpp=-1.4999999999999998)),
    ]
    assert len(set(variants)) == len(variants)


def test_discrete_parameters_have_probabilities_in_table_and_report() -> None:
    draws = np.array([3.0] * 77 + [4.0] * 16 + [2.0] * 7)
    kinds = np.array([0.0] * 40 + [2.0] * 60)
    discrete = {"k": Whole("k", 1, 6), "kind": OneOf("kind", ("x", "y", "z"))}
    values, truth = np.stack([draws, kinds], -1)[:, None], np.array([[3.0, 2.0]])
    rows = tabulation.posterior_rows(Coordinates("npe", 10, 0, "lab"), ["k", "kind"], values, truth, discrete)
    of = {"metric": "posterior_probability", "observation": 0}
    assert [metrics.value(rows, parameter="k", level=float(k), **of) for k in range(1, 7)] == [
        0,
        0.07,
        0.77,
        0.16,
        0,
        0,
    ]
    assert metrics.value(rows, parameter="kind", category="z", **of) == 0.6
    table = tables.posterior_table(metrics.tidy(rows), [], {"k": "", "kind": ""}, 0)
    k, kind = table["lines"]
    assert k["probable"] == "3 (77 %), 4 (16 %), 2 (7 %)" and k["ninety"] == "2 to 4" and k["truth"] == "3"
    assert kind["probable"] == "z (60 %), x (40 %)" and kind["median"] == "" and kind["truth"] == "z"
    assert table["probable"]
