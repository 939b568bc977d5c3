"""Stage report: numbers and figures from saved results only, then one page for the reader."""

from veridical import checks, figures

if data is not None:

    rule first_page:
        input:
            data=ancient(data),
            methods=of_study(told.final_methods),
            answers=of_study("labelled_answers"),
            prior=of_study(told.prior_data),
            results=of_study("labelled_results"),
            costs=of_study(told.costs),
            benchmarks=of_study("infer_benchmarks"),
            simulations=ancient(of_study("bank_benchmarks")),
            probe=ancient(of_study(told.target_probe)),
        output:
            table=f"{REPORT}/first/metrics.csv",
            verdict=f"{REPORT}/first/verdict.json",
        log:
            f"{REPORT}/logs/report/first_page.log",
        benchmark:
            f"{REPORT}/benchmarks/report/first_page.jsonl"
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=more(4000),
            runtime=minutes(30),
        params:
            study=of_study(told.settings),
            scale=of_study("scale"),
            content=lambda wildcards: file_digest(data),
            methods=lambda wildcards: [
                at(wildcards).method_code("infer", run)
                for run in at(wildcards).final_runs
            ],
            code=code_of(
                "first_page",
                *(own for name in studies.first.quick for own in checks.modules(name)),
                *figures.modules(),
                *TEMPLATES,
            ),
            journal=journal("first_page", "report"),
        script:
            "../../scripts/first_page.py"


rule metrics:
    input:
        results=of_study("check_results"),
        draws=of_study(told.shown_draws),
        costs=of_study(told.costs),
        records=of_study("round_records"),
        benchmarks=of_study("infer_benchmarks"),
        simulations=ancient(of_study("bank_benchmarks")),
    output:
        table=report(
            f"{REPORT}/metrics.csv",
            caption="../report/metrics.rst",
            category="Numbers",
            labels={"content": "metrics"},
        ),
        verdict=report(
            f"{REPORT}/verdict.json",
            caption="../report/verdict.rst",
            category="Verdict",
            labels={"content": "verdict"},
        ),
    log:
        f"{REPORT}/logs/report/metrics.log",
    benchmark:
        f"{REPORT}/benchmarks/report/metrics.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(resources.metrics_mb),
        runtime=minutes(10),
    params:
        study=of_study("study.study"),
        task=lambda wildcards: at(wildcards).task_spec["name"],
        ledgers=of_study("ledgers"),
        code=code_of("metrics"),
    script:
        "../../scripts/metrics.py"


rule figures:
    input:
        results=of_study("check_results"),
        draws=of_study(told.shown_draws),
        observations=of_study(told.shown_data),
        looks=of_study(told.looks),
        prior=of_study("prior_draws"),
        simulated=of_study("control_answers"),
        histories=of_study(told.histories),
        records=of_study("round_records"),
        allocations=of_study("allocations"),
        table=f"{REPORT}/metrics.csv",
        simulate=ancient(of_study("bank_benchmarks")),
        train=lambda wildcards: at(wildcards).train_benchmarks("train"),
        remedy=lambda wildcards: at(wildcards).train_benchmarks("remedy"),
        infer=of_study("infer_benchmarks"),
        reference=of_study(told.chain_benchmarks),
    output:
        folder=report(
            directory(f"{REPORT}/figures"),
            patterns=["{kind,[a-z]+}--{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{kind}", "of": "{name}"},
        ),
    log:
        f"{REPORT}/logs/report/figures.log",
    benchmark:
        f"{REPORT}/benchmarks/report/figures.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(15),
    params:
        labels=labels_of_names,
        code=code_of("figures", *figures.modules()),
        journal=journal("figures", "report"),
    script:
        "../../scripts/figures.py"


rule provenance:
    input:
        files=rules.metrics.output,
        draws=of_study("all_draws"),
        weights=of_study(told.weights),
        records=of_study(told.records),
        rounds=ancient(of_study("round_files")),
        shards=ancient(of_study("all_shards")),
    output:
        record=report(
            f"{REPORT}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"content": "provenance"},
        ),
    log:
        f"{REPORT}/logs/report/provenance.log",
    benchmark:
        f"{REPORT}/benchmarks/report/provenance.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(30),
    params:
        study=of_study(told.settings),
        data=of_study(told.data_settings),
        rows=of_study("used_rows"),
        code=code_of("provenance"),
    script:
        "../../scripts/provenance.py"


rule report:
    input:
        table=f"{REPORT}/metrics.csv",
        verdict=f"{REPORT}/verdict.json",
        figures=f"{REPORT}/figures",
        provenance=f"{REPORT}/provenance.json",
        looks=of_study(told.looks),
        scores=of_study("scores"),
    output:
        page=report(
            f"{REPORT}/report.html",
            caption="../report/report.rst",
            category="Verdict",
            labels={"content": "whole report"},
        ),
    log:
        f"{REPORT}/logs/report/report.log",
    benchmark:
        f"{REPORT}/benchmarks/report/report.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        study=of_study(told.settings),
        data=of_study(told.data_settings),
        new_data=of_study("data"),
        labels=labels_of_names,
        scale=of_study("scale"),
        code=code_of("report", *TEMPLATES),
    script:
        "../../scripts/report.py"


rule outcome:
    input:
        page=f"{REPORT}/report.html",
        verdict=f"{REPORT}/verdict.json",
        figures=f"{REPORT}/figures",
    output:
        record=f"{REPORT}/outcome.json",
    log:
        f"{REPORT}/logs/report/outcome.log",
    retries: 0
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_of("outcome"),
    script:
        "../../scripts/outcome.py"
