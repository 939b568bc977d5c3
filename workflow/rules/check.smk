"""Stage check: whether to believe the answers.

One check of one run on one data set a job; pseudo-experiments in batches, one batch a job. What they draw from
a pool is made once for all methods and trainings.
"""


rule check:
    input:
        unpack(check_inputs),
    output:
        result="results/{study}/check/{method}/{run}/{dataset}/{check}.json",
    log:
        "results/{study}/logs/check/{method}/{run}/{dataset}/{check}.log",
    benchmark:
        "results/{study}/benchmarks/check/{method}/{run}/{dataset}/{check}.jsonl"
    wildcard_constraints:
        check="(?!experiments).*",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=for_inputs(2000, 3),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: at(wildcards).checks[wildcards.check],
        task=lambda wildcards: (
            at(wildcards).task_spec
            if wildcards.check in ("scores", "criticism")
            else None
        ),
        seed=of_study("study.seed"),
        code=lambda wildcards: at(wildcards).code(
            "check", *checks.modules(wildcards.check)
        ),
        journal=journal("check"),
    script:
        "../../scripts/check.py"


rule pool:
    output:
        events="results/{study}/check/{method}/pool/{fidelity}-{batch}.npz",
    log:
        "results/{study}/logs/check/{method}/pool/{fidelity}-{batch}.log",
    benchmark:
        "results/{study}/benchmarks/check/{method}/pool/{fidelity}-{batch}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(resources.pool_mb),
        runtime=minutes(60),
    params:
        task=of_study("spec_at", "fidelity"),
        task_digest=of_study("bank_key_of", "fidelity"),
        events=of_study("study.experiments.pool"),
        place=of_study("place_in_pool", "method", "fidelity"),
        seed=of_study("study.seed"),
        code=code_of("pool"),
        journal=journal("pool"),
    script:
        "../../scripts/pool.py"


rule experiment:
    input:
        unpack(method_files),
        pool=of_study(told.pool, "method", "batch"),
    output:
        batch="results/{study}/check/{method}/{run}/{dataset}/experiments/batch-{batch}.zarr.zip",
    log:
        "results/{study}/logs/check/{method}/{run}/{dataset}/experiments-{batch}.log",
    benchmark:
        "results/{study}/benchmarks/check/{method}/{run}/{dataset}/experiments-{batch}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(resources.experiment_mb),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        fidelity=of_study("fidelity_of_data", "dataset"),
        experiments=of_study("experiment_settings"),
        seed=of_study("study.seed"),
        code=method_code("experiment"),
        journal=journal("experiment"),
    script:
        "../../scripts/experiment.py"


rule experiments:
    input:
        batches=of_study(told.batches, "method", "run", "dataset"),
    output:
        result="results/{study}/check/{method}/{run}/{dataset}/experiments.json",
    log:
        "results/{study}/logs/check/{method}/{run}/{dataset}/experiments.log",
    benchmark:
        "results/{study}/benchmarks/check/{method}/{run}/{dataset}/experiments.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        names=of_study("asked"),
        seed=of_study("study.seed"),
        code=code_of("experiments"),
        journal=journal("experiments"),
    script:
        "../../scripts/experiments.py"
