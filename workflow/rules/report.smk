"""Stage report: numbers and figures from saved results only, then one page for the reader."""

observed = list(layout.observations) or [layouts.SIMULATED]
posteriors = [
    path
    for dataset in observed
    for path in saved(f"{layout.results}/infer/{{run}}/{dataset}.nc", layout.final_runs)
]


rule metrics:
    input:
        results=layout.check_results(),
        draws=posteriors + layout.references,
        costs=saved(f"{layout.results}/train/{{run}}/cost.json", layout.runs),
        benchmarks=saved(
            f"{layout.results}/benchmarks/infer/{{run}}/simulated.jsonl", layout.runs
        ),
    output:
        table=report(
            f"{layout.report}/metrics.csv",
            caption="../report/metrics.rst",
            category="Numbers",
            labels={"content": "metrics"},
        ),
        verdict=report(
            f"{layout.report}/verdict.json",
            caption="../report/verdict.rst",
            category="Verdict",
            labels={"content": "verdict"},
        ),
    log:
        f"{layout.report}/logs/report/metrics.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(10),
    params:
        study=study.study,
        task=layout.task_spec["name"],
        code=layout.code("metrics", "veridical.stages.aggregate"),
    script:
        "../../scripts/metrics.py"


rule figures:
    input:
        results=layout.check_results(),
        draws=posteriors + layout.references,
        observations=[f"{layout.results}/observe/{dataset}.nc" for dataset in observed],
        looks=[
            f"{layout.results}/observe/{dataset}.look.json"
            for dataset in layout.observations
        ],
        histories=saved(
            f"{layout.results}/train/{{run}}/history.json", layout.final_runs
        ),
        table=f"{layout.report}/metrics.csv",
        simulate=ancient(layout.bank_benchmarks()),
        train=saved(f"{layout.results}/benchmarks/train/{{run}}.jsonl", layout.runs),
        infer=saved(
            f"{layout.results}/benchmarks/infer/{{run}}/simulated.jsonl", layout.runs
        ),
        reference=[
            f"{layout.results}/benchmarks/infer/reference/{dataset}/ensemble-{ensemble}.jsonl"
            for dataset in layout.observations
            for ensemble in range(study.reference.ensembles if study.reference else 0)
        ],
    output:
        folder=report(
            directory(f"{layout.report}/figures"),
            patterns=["{kind,[a-z]+}--{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{kind}", "of": "{name}"},
        ),
    log:
        f"{layout.report}/logs/report/figures.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(15),
    params:
        code=layout.code("figures", "veridical.stages.figures"),
    script:
        "../../scripts/figures.py"


rule provenance:
    input:
        files=rules.metrics.output,
        draws=layout.all_draws(),
        weights=saved(
            f"{layout.results}/train/{{run}}/weights.safetensors", layout.runs
        ),
        records=saved(f"{layout.results}/train/{{run}}/estimator.json", layout.runs),
        shards=ancient(layout.all_shards()),
    output:
        record=report(
            f"{layout.report}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"content": "provenance"},
        ),
    log:
        f"{layout.report}/logs/report/provenance.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(30),
    params:
        study=study.model_dump(mode="json"),
        data={
            name: o.model_dump(mode="json") for name, o in layout.observations.items()
        },
        rows=layout.used_rows,
        code=layout.code("provenance", "veridical.stages.provenance"),
    script:
        "../../scripts/provenance.py"


rule report:
    input:
        table=f"{layout.report}/metrics.csv",
        verdict=f"{layout.report}/verdict.json",
        figures=f"{layout.report}/figures",
        provenance=f"{layout.report}/provenance.json",
    output:
        page=report(
            f"{layout.report}/report.html",
            caption="../report/report.rst",
            category="Verdict",
            labels={"content": "whole report"},
        ),
    log:
        f"{layout.report}/logs/report/report.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        study=study.model_dump(
            mode="json", include={"study", "title", "description", "seed"}
        ),
        data={
            name: o.model_dump(mode="json") for name, o in layout.observations.items()
        },
        code=layout.code("report", "veridical.stages.report"),
    script:
        "../../scripts/report.py"
