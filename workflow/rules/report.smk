"""Stage report: numbers and figures from saved results only, then one page for the reader."""

from veridical import checks, figures

if layout.data is not None:

    rule first_page:
        input:
            data=ancient(layout.data),
            methods=[
                path
                for run in layout.final_runs
                for own in (run, *layout.ancestors(run))
                for path in record_and_weights(own)
            ],
            answers=layout.labelled_answers(),
            prior=f"{layout.results}/observe/simulated.nc",
            results=layout.labelled_results(),
            costs=[f"{layout.artifact(run)}/cost.json" for run in layout.runs],
            benchmarks=layout.infer_benchmarks(),
            simulations=ancient(layout.bank_benchmarks()),
            probe=ancient(f"{layout.bank}/{layout.target}/probe.json"),
        output:
            table=f"{layout.report}/first/metrics.csv",
            verdict=f"{layout.report}/first/verdict.json",
        log:
            f"{layout.report}/logs/report/first_page.log",
        benchmark:
            f"{layout.report}/benchmarks/report/first_page.jsonl"
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=more(4000),
            runtime=minutes(30),
        params:
            study=study.model_dump(mode="json"),
            scale=layout.scale,
            content=lambda wildcards: file_digest(layout.data),
            methods=lambda wildcards: [
                layout.method_code("infer", run) for run in layout.final_runs
            ],
            code=code_of(
                "first_page",
                *(own for name in layout.quick for own in checks.modules(name)),
                *figures.modules(),
                *layouts.TEMPLATES,
            ),
            journal=journal("first_page", layout.report),
        script:
            "../../scripts/first_page.py"


rule metrics:
    input:
        results=layout.check_results(),
        draws=layout.shown_answers() + layout.references,
        costs=[f"{layout.artifact(run)}/cost.json" for run in layout.runs],
        records=layout.round_records,
        benchmarks=layout.infer_benchmarks(),
        simulations=ancient(layout.bank_benchmarks()),
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
    benchmark:
        f"{layout.report}/benchmarks/report/metrics.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(resources.metrics_mb(layout)),
        runtime=minutes(10),
    params:
        study=study.study,
        task=layout.task_spec["name"],
        ledgers=layout.ledgers(),
        code=code_of("metrics"),
    script:
        "../../scripts/metrics.py"


rule figures:
    input:
        results=layout.check_results(),
        draws=layout.shown_answers() + layout.references,
        observations=[
            f"{layout.results}/observe/{dataset}.nc"
            for dataset in layout.shown_datasets
        ],
        looks=[
            f"{layout.results}/observe/{dataset}.look.json"
            for dataset in layout.observations
        ],
        prior=layout.prior_draws(),
        simulated=layout.control_answers(),
        histories=[f"{layout.artifact(run)}/history.json" for run in layout.final_runs],
        records=layout.round_records,
        table=f"{layout.report}/metrics.csv",
        simulate=ancient(layout.bank_benchmarks()),
        train=layout.train_benchmarks("train"),
        remedy=layout.train_benchmarks("remedy"),
        infer=layout.infer_benchmarks(),
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
    benchmark:
        f"{layout.report}/benchmarks/report/figures.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(15),
    params:
        labels=labels_of_names,
        code=code_of("figures", *figures.modules()),
        journal=journal("figures", layout.report),
    script:
        "../../scripts/figures.py"


rule provenance:
    input:
        files=rules.metrics.output,
        draws=layout.all_draws(),
        weights=[f"{layout.artifact(run)}/weights.safetensors" for run in layout.runs],
        records=[f"{layout.artifact(run)}/estimator.json" for run in layout.runs],
        rounds=ancient(layout.round_files()),
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
    benchmark:
        f"{layout.report}/benchmarks/report/provenance.jsonl"
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
        code=code_of("provenance"),
    script:
        "../../scripts/provenance.py"


rule report:
    input:
        table=f"{layout.report}/metrics.csv",
        verdict=f"{layout.report}/verdict.json",
        figures=f"{layout.report}/figures",
        provenance=f"{layout.report}/provenance.json",
        looks=rules.figures.input.looks,
        scores=layout.scores(),
    output:
        page=report(
            f"{layout.report}/report.html",
            caption="../report/report.rst",
            category="Verdict",
            labels={"content": "whole report"},
        ),
    log:
        f"{layout.report}/logs/report/report.log",
    benchmark:
        f"{layout.report}/benchmarks/report/report.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        study=study.model_dump(mode="json"),
        data={
            name: o.model_dump(mode="json") for name, o in layout.observations.items()
        },
        new_data=layout.data,
        labels=labels_of_names,
        scale=layout.scale,
        code=code_of("report", *layouts.TEMPLATES),
    script:
        "../../scripts/report.py"


rule outcome:
    input:
        page=f"{layout.report}/report.html",
        verdict=f"{layout.report}/verdict.json",
        figures=f"{layout.report}/figures",
    output:
        record=f"{layout.report}/outcome.json",
    log:
        f"{layout.report}/logs/report/outcome.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_of("outcome"),
    script:
        "../../scripts/outcome.py"
