"""The leaderboard and what following the verdict brings, from planted metrics of known answers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from veridical import seeds
from veridical.coordinates import at_severity
from veridical.evidence import metrics
from veridical.evidence.metrics import Row, row
from veridical.report import followed, leaderboard, ranking
from veridical.report.collection import Member, build
from veridical.report.places import Number, Place

ABOUT = {"collection": "wrong", "title": "", "description": "", "scale": "laptop", "severities": [0, 1]}
METHODS = ["prior", "npe", "ridge"]
LPP = next(q for q in leaderboard.QUESTIONS if q.key == "lpp")


def planted(
    task: str,
    severity: float,
    method: str,
    pairs: int | None = None,
    *,
    replicates: int = 3,
    error: float = 0.1,
    **values: float,
) -> list[Row]:
    """Rows of one method: its metrics on real data, alike in all replicates but for 0.01 each."""
    own = {"study": at_severity(task, severity), "task": task, "method": method, "n_calibration": pairs}
    own |= {"budget": 1000, "dataset": "real", "n": 300}
    levels = {"coverage": 0.9, "hpd_coverage": 0.9}
    found = []
    for metric, value in values.items():
        parameter = "theta" if metric == "prior_contraction" else None
        for seed in range(replicates):
            cells = {"metric": metric, "level": levels.get(metric), "parameter": parameter, "seed": seed}
            found.append(row(**own, **cells, value=value + 0.01 * seed, stderr=error))
    named = {**own, "metric": "coverage", "level": 0.9, "parameter": "theta"}
    found += [row(**named, seed=seed, value=0.9, stderr=0.01) for seed in range(replicates)]
    return found


def table(*groups: list[Row]) -> list[Row]:
    return list(metrics.tidy([one for group in groups for one in group]))


def number(value: float, error: float = 0.0, replicates: int = 3) -> Number:
    return Number(value, error, dict.fromkeys(range(replicates), (value, error)))


# ---- numbers -------------------------------------------------------------------------------------------


def test_numbers_are_means_over_replicates_of_the_largest_budget() -> None:
    own = planted("pendulum", 0.5, "ridge", 50, lpp=-1.0)
    small = [{**one, "budget": 10, "value": 9.0} for one in own]
    found = leaderboard.numbers_of(LPP, table(own, small))
    (only,) = found
    assert only == Place("pendulum", 0.5, "ridge", 50)
    assert found[only].value == pytest.approx(-0.99)
    assert found[only].replicates == {s: (-1.0 + 0.01 * s, 0.1) for s in range(3)}


def test_one_replicate_has_the_error_of_its_rows() -> None:
    (found,) = leaderboard.numbers_of(LPP, table(planted("a", 1, "npe", lpp=2.0, replicates=1))).values()
    assert (found.value, found.stderr) == (2.0, 0.1)


def test_width_is_told_against_the_narrowest_honest_answer() -> None:
    """Contractions of 0.75 and 0.99 are widths of 0.5 and 0.1 prior sd; the narrower one is not honest."""
    rows = table(
        planted("a", 1, "prior", prior_contraction=0.0, hpd_coverage=0.9, replicates=1),
        planted("a", 1, "ridge", 50, prior_contraction=0.75, hpd_coverage=0.89, replicates=1),
        planted("a", 1, "npe", prior_contraction=0.99, hpd_coverage=0.2, replicates=1),
        planted("a", 1, "ridge", 200, prior_contraction=0.84, hpd_coverage=0.91, replicates=1),
    )
    found = leaderboard.widths(rows)
    assert found[Place("a", 1, "ridge", 50)].value == 1.0
    assert found[Place("a", 1, "ridge", 50)].stderr is None
    assert found[Place("a", 1, "ridge", 200)].value == 1.0, "rivals are those with as many pairs"
    npe = found[Place("a", 1, "npe")]
    assert npe.value == pytest.approx(0.1), "its rivals see no pairs either"


def test_without_an_honest_answer_there_is_no_width() -> None:
    rows = table(planted("a", 1, "npe", prior_contraction=0.99, hpd_coverage=0.2))
    assert leaderboard.widths(rows) == {}


# ---- ranks ---------------------------------------------------------------------------------------------


def test_ranks_are_means_over_tasks_within_a_number_of_pairs() -> None:
    found = {
        Place("a", 1, "npe"): number(-5.0),
        Place("a", 1, "ridge", 50): number(-2.0),
        Place("a", 1, "mlp", 50): number(-3.0),
        Place("a", 1, "ridge", 200): number(-9.0),
        Place("b", 1, "npe"): number(-1.0),
        Place("b", 1, "ridge", 50): number(-1.0),
        Place("b", 1, "mlp", 50): number(-4.0),
    }
    ranks = ranking.ranks(LPP.loss, found)
    means = {key: rank.mean for key, rank in ranks.items()}
    assert means["ridge", 50, 50] == (1 + 1.5) / 2
    assert means["npe", None, 50] == (3 + 1.5) / 2
    assert means["mlp", 50, 50] == (2 + 3) / 2
    assert means["npe", None, 200] == 1.0 and means["ridge", 200, 200] == 2.0
    assert ranks["ridge", 200, 200].tasks == 1
    assert all(rank.low == rank.mean == rank.high for rank in ranks.values()), "nothing varies"


def test_a_rank_on_some_of_the_tasks_says_so() -> None:
    rows = table(
        *(planted(task, 1, "npe", lpp=-2.0) for task in ("a", "b")), planted("a", 1, "ridge", lpp=-1.0)
    )
    (board,) = [one for one in leaderboard.boards(rows, METHODS) if one.key == "lpp"]
    ranks = {name: cells[-1].text for name, cells in board.tables[0].lines}
    assert ranks["ridge"].endswith("of 2 on 1 of 2 tasks") and ranks["npe"].endswith("of 2")


def test_ranks_are_as_uncertain_as_their_numbers() -> None:
    """Two equal methods swap in half of all repeats; ten errors apart they never do."""
    equal = {Place("a", 1, "npe"): number(0.0, 1.0), Place("a", 1, "ridge"): number(0.0, 1.0)}
    apart = {Place("a", 1, "npe"): number(0.0, 1.0), Place("a", 1, "ridge"): number(14.0, 1.0)}
    for one in ranking.ranks(LPP.loss, equal).values():
        assert (one.low, one.mean, one.high) == (1.0, 1.5, 2.0)
    for one in ranking.ranks(LPP.loss, apart).values():
        assert one.low == one.mean == one.high


def test_an_error_of_rounding_is_none() -> None:
    assert (
        leaderboard.text(Number(2.0794415, 2.6e-17, {}))
        == leaderboard.text(Number(2.0794415, 0.0, {}))
        == "2.08"
    )
    assert leaderboard.text(Number(2.0794415, 0.01, {})) == "2.079 ± 0.010"


def test_what_is_no_number_ranks_last() -> None:
    found = {Place("a", 1, "npe"): number(-math.inf), Place("a", 1, "ridge"): number(-50.0)}
    assert ranking.ranks(LPP.loss, found)["npe", None, None].mean == 2.0


def test_ranks_cover_what_a_repetition_would_say() -> None:
    """The 5 to 95 % range of a rank holds that of a fresh repetition about as often."""
    rng, held, n = seeds.generator(7, "test", "ranks"), 0, 60
    for _ in range(n):
        drawn = rng.normal(size=(2, 3, 2))
        own, again = (
            {
                Place("a", 1, method): Number(
                    float(values[:, k].mean() + k), 0.0, {s: (float(values[s, k] + k), 0.0) for s in range(3)}
                )
                for k, method in enumerate(("npe", "ridge"))
            }
            for values in drawn
        )
        one, fresh = (ranking.ranks(LPP.loss, found)["npe", None, None] for found in (own, again))
        held += one.low <= fresh.mean <= one.high
    assert held / n > 0.7


# ---- following the verdict -----------------------------------------------------------------------------


def judged(task: str, severity: float, **words: str) -> list[dict[str, Any]]:
    """Verdicts on methods, of those with 50 pairs but for `prior` and `npe`."""
    study = at_severity(task, severity)
    return [
        {
            "study": study,
            "method": method,
            "dataset": "real",
            "verdict": word.replace("_", " "),
            "n_calibration": None if method in ("prior", "npe") else 50,
        }
        for method, word in words.items()
    ]


def case(severity: float, words: dict[str, str], npe: float = -9.0, ridge: float = -2.0) -> Any:
    rows = table(
        planted("a", severity, "prior", lpp=-4.0, hpd_coverage=0.9),
        planted("a", severity, "npe", lpp=npe, hpd_coverage=0.1 if npe < -4 else 0.89),
        planted("a", severity, "ridge", 50, lpp=ridge, hpd_coverage=0.88),
        planted("a", severity, "mlp", 50, lpp=-3.0, hpd_coverage=0.88),
    )
    return followed.evidence(rows, judged("a", severity, **words), ["prior", "npe", "ridge", "mlp"])


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ({"npe": "trust", "ridge": "trust"}, ("npe", None)),
        ({"npe": "do_not_trust", "ridge": "trust", "mlp": "caution"}, ("ridge", 50)),
        ({"npe": "do_not_trust", "ridge": "trust", "mlp": "trust"}, ("mlp", 50)),
        ({"npe": "caution", "ridge": "caution", "mlp": "do_not_trust"}, ("ridge", 50)),
        ({"npe": "caution", "ridge": "do_not_trust"}, ("npe", None)),
        ({"npe": "do_not_trust", "ridge": "do_not_trust"}, ("prior", None)),
    ],
)
def test_whose_answer_is_taken(words: dict[str, str], taken: tuple[str, int | None]) -> None:
    found = followed.followed(case(1, words), ("a", 1, 50))
    assert found is not None and found.variant == taken


def test_following_is_compared_replicate_by_replicate() -> None:
    found = case(1, {"npe": "do_not_trust", "ridge": "trust"})
    against = followed.against(found, "npe", 1)
    assert against is not None
    assert (against.cells, against.better, against.worse) == (3, 1.0, 0.0)
    assert against.gain == pytest.approx(7.0) and against.mean_loss == pytest.approx(-7.0)
    itself = followed.against(found, "ridge", 1)
    assert itself is not None and (itself.better, itself.worse, itself.gain) == (0.0, 0.0, 0.0)
    assert followed.against(found, "npe", 0) is None


def test_errors_of_verdicts_are_counted() -> None:
    """Planted: a trusted answer that never holds, and a refused one that holds and beats the prior."""
    wrong = followed.errors(case(1, {"npe": "trust", "ridge": "do_not_trust", "mlp": "caution"}), 1)
    assert (wrong.judged, wrong.trusted, wrong.false_trust) == (3, 1, 1)
    assert (wrong.refused, wrong.false_alarm) == (1, 1)
    right = followed.errors(case(0, {"npe": "trust", "ridge": "trust"}, npe=-1.0), 0)
    assert (right.trusted, right.false_trust, right.false_alarm) == (2, 0, 0)
    worthless = followed.errors(case(1, {"ridge": "do_not_trust"}, ridge=-7.0), 1)
    assert worthless.false_alarm == 0, "it holds, and is worth less than the prior"


def test_answers_that_exclude_truths_are_worst() -> None:
    found = case(1, {"npe": "do_not_trust", "ridge": "trust"}, npe=-math.inf)
    against = followed.against(found, "npe", 1)
    assert against is not None and against.better == 1.0 and against.gain == math.inf


# ---- the page ------------------------------------------------------------------------------------------


def test_the_page_of_a_collection_with_severities() -> None:
    members = []
    for severity in (0.0, 1.0):
        rows = table(
            planted("a", severity, "prior", lpp=-4.0, hpd_coverage=0.9, prior_contraction=0.0),
            planted("a", severity, "ridge", 50, lpp=-2.0, hpd_coverage=0.9, prior_contraction=0.5),
        )
        name = at_severity("a", severity)
        members.append(Member(name, f"{name}/report.html", rows, judged("a", severity, ridge="trust")))
    page = build(ABOUT, members, METHODS)
    assert page.count("<h3>Severity 0</h3>") == page.count("<h3>Severity 1</h3>") == 3
    assert "C2ST" not in page and "Following the verdict" in page
    assert "ridge (50 pairs)" in page and "1.0 (1.0 to 1.0) of 2" in page
    assert page.count('<span aria-hidden="true">★</span>') > 3
