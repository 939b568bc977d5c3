"""A paragraph for the methods section of a paper, with the references of what the study used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from veridical.evidence import provenance, variants
from veridical.evidence.metrics import Row, select
from veridical.version import VERSION

PAPERS: dict[str, str] = {
    "npe": (
        "Papamakarios, G. & Murray, I. (2016). Fast epsilon-free inference of simulation models with "
        "Bayesian conditional density estimation. NeurIPS 29. arXiv:1605.06376."
    ),
    "spline": (
        "Durkan, C., Bekasov, A., Murray, I. & Papamakarios, G. (2019). Neural spline flows. NeurIPS "
        "32. arXiv:1906.04032."
    ),
    "maf": (
        "Papamakarios, G., Pavlakou, T. & Murray, I. (2017). Masked autoregressive flow for density "
        "estimation. NeurIPS 30. arXiv:1705.07057."
    ),
    "coupling": (
        "Dinh, L., Sohl-Dickstein, J. & Bengio, S. (2017). Density estimation using Real NVP. ICLR. "
        "arXiv:1605.08803."
    ),
    "mixture": "Bishop, C. M. (1994). Mixture density networks. Aston University.",
    "flow_matching": (
        "Wildberger, J. et al. (2023). Flow matching for scalable simulation-based inference. NeurIPS 36. "
        "arXiv:2305.17161."
    ),
    "diffusion": (
        "Karras, T., Aittala, M., Aila, T. & Laine, S. (2022). Elucidating the design space of "
        "diffusion-based generative models. NeurIPS 35. arXiv:2206.00364."
    ),
    "consistency": (
        "Song, Y. & Dhariwal, P. (2024). Improved techniques for training consistency models. ICLR. "
        "arXiv:2310.14189."
    ),
    "nle": (
        "Papamakarios, G., Sterratt, D. & Murray, I. (2019). Sequential neural likelihood: fast "
        "likelihood-free inference with autoregressive flows. AISTATS. arXiv:1805.07226."
    ),
    "multilevel": (
        "Hikida, Y., Bharti, A., Jeffrey, N. & Briol, F.-X. (2025). Multilevel neural simulation-based "
        "inference. arXiv:2506.06087."
    ),
    "binary": (
        "Hermans, J., Begy, V. & Louppe, G. (2020). Likelihood-free MCMC with amortized approximate ratio "
        "estimators. ICML. arXiv:1903.04057."
    ),
    "contrastive": (
        "Miller, B. K., Weniger, C. & Forré, P. (2022). Contrastive neural ratio estimation. NeurIPS 35. "
        "arXiv:2210.06170."
    ),
    "balanced": (
        "Delaunoy, A. et al. (2022). Towards reliable simulation-based inference with balanced neural ratio "
        "estimation. NeurIPS 35. arXiv:2208.13624."
    ),
    "scores": "Shen, A. & Kuusela, M. (2026). Keeping score. arXiv:2605.12118.",
    "differential_evolution": (
        "ter Braak, C. J. F. (2006). A Markov chain Monte Carlo version of the genetic algorithm "
        "differential evolution. Statistics and Computing 16, 239-249."
    ),
    "score": (
        "Gneiting, T. & Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation. "
        "JASA 102, 359-378."
    ),
    "tsnpe": (
        "Deistler, M., Gonçalves, P. J. & Macke, J. H. (2022). Truncated proposals for scalable and "
        "hassle-free simulation-based inference. NeurIPS 35. arXiv:2210.04815."
    ),
    "rope": (
        "Wehenkel, A. et al. (2024). Addressing misspecification in simulation-based inference through "
        "data-driven calibration. arXiv:2405.08719."
    ),
    "sbc": (
        "Talts, S., Betancourt, M., Simpson, D., Vehtari, A. & Gelman, A. (2018). Validating Bayesian "
        "inference algorithms with simulation-based calibration. arXiv:1804.06788."
    ),
    "bands": (
        "Säilynoja, T., Bürkner, P.-C. & Vehtari, A. (2022). Graphical test for discrete uniformity and "
        "its applications in goodness-of-fit evaluation and multiple sample comparison. Statistics and "
        "Computing 32, 32."
    ),
    "coverage": (
        "Hermans, J. et al. (2022). A trust crisis in simulation-based inference? Your posterior "
        "approximations can be unfaithful. TMLR. arXiv:2110.06581."
    ),
    "tarp": (
        "Lemos, P., Coogan, A., Hezaveh, Y. & Perreault-Levasseur, L. (2023). Sampling-based accuracy "
        "testing of posterior estimators for general inference. ICML. arXiv:2302.03026."
    ),
    "c2st": (
        "Lopez-Paz, D. & Oquab, M. (2017). Revisiting classifier two-sample tests. ICLR. arXiv:1610.06545."
    ),
    "local_c2st": (
        "Linhart, J., Gramfort, A. & Rodrigues, P. L. C. (2023). L-C2ST: Local diagnostics for "
        "posterior approximations in simulation-based inference. NeurIPS 36. arXiv:2306.03580."
    ),
    "local_ranks": (
        "Säilynoja, T. et al. (2025). Posterior SBC: Simulation-based calibration checking "
        "conditional on data. arXiv:2502.03279."
    ),
    "pareto": (
        "Vehtari, A., Simpson, D., Gelman, A., Yao, Y. & Gabry, J. (2024). Pareto smoothed "
        "importance sampling. JMLR 25, 72. arXiv:1507.02646."
    ),
    "power": (
        "Kallioinen, N., Paananen, T., Bürkner, P.-C. & Vehtari, A. (2024). Detecting and diagnosing prior "
        "and likelihood sensitivity with power-scaling. Statistics and Computing 34, 57. arXiv:2107.14054."
    ),
    "predictive": (
        "Gelman, A., Meng, X.-L. & Stern, H. (1996). Posterior predictive assessment of model fitness "
        "via realized discrepancies. Statistica Sinica 6, 733-760."
    ),
    "emcee": (
        "Foreman-Mackey, D., Hogg, D. W., Lang, D. & Goodman, J. (2013). emcee: The MCMC hammer. PASP "
        "125, 306. arXiv:1202.3665."
    ),
}
_LEARNED = ("npe", "j_npe", "mf_npe", "ensemble", "ml_npe", "pooled_npe", "distilled_npe")
# Each check that was made, by a metric of its own: what it is in words, and its papers.
_CHECKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sbc_p": ("simulation-based calibration", ("sbc", "bands")),
    "coverage_gap": ("expected coverage", ("coverage",)),
    "tarp_atc": ("TARP", ("tarp",)),
    "c2st": ("a classifier two-sample test against the exact posterior", ("c2st",)),
    "local_ranks_p": ("calibration near the observation", ("local_ranks",)),
    "local_c2st_p": ("L-C2ST at the observation", ("local_c2st",)),
    "pareto_k": ("importance weights under the known likelihood", ("pareto",)),
    "prior_sensitivity": ("power-scaling of the prior", ("power",)),
    "predictive_p": ("posterior predictive checks", ("predictive",)),
}


def paragraph(
    settings: Mapping[str, Any],
    verdicts: Mapping[str, Any],
    rows: Sequence[Row],
    record: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns the `text` of the paragraph and its `references`.

    Arguments:
        settings: `title` and `seed` of the study.
        verdicts: The verdicts, as in `verdict.json`.
        rows: The table of metrics.
        record: The record of provenance, which holds all settings; None for none.
    """
    study = {} if record is None else json.loads(provenance.entity(record, "#settings")["text"])
    types = {name: one.get("type", name) for name, one in study.get("estimators", {}).items()}
    types |= {name: one.get("type", name) for name, one in study.get("remedies", {}).items()}
    judged = list({variants.of_cells(v): v for v in verdicts["verdicts"]}.values())
    sentences = [_method(v, types.get(v["method"], v["method"])) for v in judged]
    used = [
        key
        for v in judged
        for key in _papers(
            types.get(v["method"], v["method"]), study.get("estimators", {}).get(v["method"], {})
        )
    ]
    made = [(text, papers) for metric, (text, papers) in _CHECKS.items() if select(rows, metric=metric)]
    if made:
        tests = select(rows, metric="sbc_p") or select(rows, metric="coverage_gap")
        n = max((r["n"] for r in tests if r["seed"] is not None), default=None)
        on = f", on {n:,} simulated data sets with known parameters" if n else ""
        sentences.append(f"Answers were checked by {_listed([text for text, _ in made])}{on}.")
        used += [key for _, papers in made for key in papers]
    if select(rows, method=variants.REFERENCE, metric="rhat"):
        sentences.append("Exact posteriors were sampled with an ensemble sampler (emcee) for comparison.")
        used.append("emcee")
    words = [f"{v['method']} on {v['dataset']}: {v['verdict']}" for v in verdicts["verdicts"]]
    sentences.append(f"Verdicts: {'; '.join(words)}.")
    opening = f"All analyses were made with veridical {VERSION}"
    seed = f" (root seed {settings['seed']})" if "seed" in settings else ""
    text = f"{opening}{seed}, task {verdicts.get('task') or settings.get('study')}. {' '.join(sentences)}"
    return {"text": text, "references": [PAPERS[key] for key in dict.fromkeys(used)]}


def _method(verdict: Mapping[str, Any], kind: str) -> str:
    name = verdict["method"] if kind == verdict["method"] else f"{verdict['method']} (of type {kind})"
    parts = []
    if verdict["budget"]:
        parts.append(f"was trained on {verdict['budget']:,} simulations")
    if verdict["n_calibration"]:
        parts.append(f"was calibrated on {verdict['n_calibration']:,} labelled real data sets")
    if verdict["replicates"] > 1:
        parts.append(
            f"was repeated {verdict['replicates']} times, its answer being the mixture of these repeats"
        )
    return f"Method {name} {_listed(parts) if parts else 'was used'}."


def _papers(kind: str, spec: Mapping[str, Any]) -> list[str]:
    if kind in (*_LEARNED, "tsnpe"):
        network = spec.get("posterior", spec)
        flow = network.get("member", network).get("flow", {})
        family = flow if isinstance(flow, str) else flow.get("type", "spline")
        first = {"tsnpe": ["tsnpe"], "ml_npe": ["multilevel"]}.get(kind, [])
        return [*first, "npe", family]
    if kind in ("nle", "ml_nle", "nre", "nre_ensemble"):
        flow = spec.get("flow", {})
        family = flow if isinstance(flow, str) else flow.get("type", "spline")
        own = ["multilevel"] if kind == "ml_nle" else []
        own += ["nle", family] if kind.endswith("nle") else [spec.get("loss", "contrastive")]
        own += ["scores"] if spec.get("scores") else []
        by_weights = spec.get("sampling", {}).get("by") == "importance"
        return [*own, "pareto" if by_weights else "differential_evolution"]
    if kind == "score":
        return ["score"]
    return ["pareto"] if kind == "importance" else ["rope"] if kind.startswith("rope") else []


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)
