"""The short programs of situation `verdict`, each made again with the rules and checks of today, and judged.

They once compared numpy with what the package returned; what is right are closed forms and the levels that
the verdict promises.
"""

from __future__ import annotations

from collections.abc import Callable

import verdict_faults as faults
from verdict_cases import Case, scaled


def verdicts() -> str:
    """Nature = simulator + 1 beside a converged exact reference, D = 4."""
    found = faults.wrong_simulator(20)
    assert all(own["trust"] == 0 for own in found.values()), found
    return f"trust in 0 of 20; {'; '.join(f'{name}: {max(own, key=own.get)}' for name, own in found.items())}"


def check_rules() -> str:
    """Three replicates that each fail another rule; density zero at a fifth of the truths."""
    found = faults.each_replicate_fails_another_rule(), faults.density_zero_at_the_truth()
    assert found == ("do not trust", "do not trust"), found
    return "; ".join(found)


def typicality_one_outlier() -> str:
    """One wild observation among twenty."""
    found = faults.one_wild_observation()
    (said,) = [f for f in found["findings"] if f["rule"] == "typical"]
    assert said["outcome"] == "caution" and "observation 4 lies" in said["text"], said
    return f"{said['outcome']}, observation 4 named"


def detection_mute() -> str:
    """A summary at 1e6, and 300 simulations to compare it with."""
    found = faults.one_far_observation(300)
    assert found == "cannot tell", found
    return found


def two_sample_averages() -> str:
    """Five observations twice too narrow and five 1.5 times too wide; one of them far off."""
    mixed = faults.against_reference([0.0] * 10, [0.5] * 5 + [1.5] * 5)
    far = faults.against_reference([4.0] + [0.0] * 9, [1.0] * 10)
    assert (mixed, far) == ("bad", "bad"), (mixed, far)
    return f"{mixed}; one of ten shifted by 4 sd: {far}"


def learned_rule() -> str:
    """The prior as the answer of a calibrated method, D = 4, 100 and 500 rows."""
    trusted = [faults.calibrated(faults.PRIOR, 4, n, 20) for n in (100, 500)]
    assert trusted == [0, 0], trusted
    return "trust in 0 of 20 and 0 of 20"


def labelled_few_rows() -> str:
    """sd 1.5 too small, D = 1: all of 10 rows are held in 4.3 %, exactly, and less often enough of 20."""
    trusted = [faults.calibrated(Case("", scaled(1 / 1.5)), 1, n, 40) for n in (10, 20)]
    assert max(trusted) <= 0.043 + 4 * (0.043 * 0.957 / 40) ** 0.5, trusted
    return f"trust {100 * trusted[0]:.0f} and {100 * trusted[1]:.0f} % at 10 and 20 rows"


def run_precise() -> str:
    """Ten observations from one corner of the prior, right answers."""
    found = faults.from_one_corner(20)
    assert found["do not trust"] == 0, found
    return f"do not trust in 0 of 20, trust in {20 * found['trust']:.0f}"


def check_predictive_two_sample() -> str:
    """The predictive p-value at exact posteriors."""
    found = faults.predictive_check(100)
    assert abs(found["size"] - 0.05) <= 4 * (0.05 * 0.95 / found["n"]) ** 0.5, found
    return f"P(p <= 0.05) = {found['size']:.3f} of {found['n']}"


def stderr_over_repeats() -> str:
    """Stated errors over the spread between 60 studies, of three replicates and of one."""
    found = faults.errors_over_replicates(60)
    assert all(0.6 < ratio < 1.5 for own in found.values() for ratio in own.values()), found
    each = [ratio for own in found.values() for ratio in own.values()]
    return f"stated / observed {min(each):.2f} to {max(each):.2f}"


PROGRAMS: tuple[tuple[Callable[[], str], str], ...] = (
    (verdicts, "trust 85 % where 90 % intervals hold 0.00"),
    (check_rules, "trust"),
    (typicality_one_outlier, "p at its floor of 0.04: trust"),
    (detection_mute, "good"),
    (two_sample_averages, "good"),
    (learned_rule, "trust 82 and 75 %"),
    (labelled_few_rows, "trust 62-70 and 18-43 %"),
    (run_precise, "do not trust 10 of 10"),
    (check_predictive_two_sample, "P(p <= 0.05) = 0"),
    (stderr_over_repeats, "stated / observed 1/79 to 1/4"),
)
