"""Stage check: whether to believe the answers.

One check of one run on one data set a job; pseudo-experiments in batches, one batch a job.
"""


rule check:
    input:
        unpack(check_inputs),
    output:
        result=f"{layout.results}/check/{{method}}/{{run}}/{{dataset}}/{{check}}.json",
    log:
        f"{layout.results}/logs/check/{{method}}/{{run}}/{{dataset}}/{{check}}.log",
    benchmark:
        f"{layout.results}/benchmarks/check/{{method}}/{{run}}/{{dataset}}/{{check}}.jsonl"
    wildcard_constraints:
        check="(?!experiments).*",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=for_inputs(2000, 3),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: layout.checks[wildcards.check],
        task=lambda wildcards: layout.task_spec if wildcards.check == "scores" else None,
        seed=root,
        code=lambda wildcards: layout.code("check", *checks.modules(wildcards.check)),
        journal=journal("check"),
    script:
        "../../scripts/check.py"


rule experiment:
    input:
        unpack(method_files),
    output:
        batch=f"{layout.results}/check/{{method}}/{{run}}/{{dataset}}/experiments/batch-{{batch}}.zarr.zip",
    log:
        f"{layout.results}/logs/check/{{method}}/{{run}}/{{dataset}}/experiments-{{batch}}.log",
    benchmark:
        f"{layout.results}/benchmarks/check/{{method}}/{{run}}/{{dataset}}/experiments-{{batch}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=layout.task_spec,
        task_digest=layout.task_digest,
        fidelity=lambda wildcards: layout.fidelity_of_data(wildcards.dataset),
        experiments=layout.experiment_settings,
        seed=root,
        code=lambda wildcards: layout.method_code("experiment", run_of(wildcards)),
        journal=journal("experiment"),
    script:
        "../../scripts/experiment.py"


rule experiments:
    input:
        batches=collect(
            f"{layout.results}/check/{{{{method}}}}/{{{{run}}}}/{{{{dataset}}}}/experiments/batch-{{batch}}.zarr.zip",
            batch=layout.batches,
        ),
    output:
        result=f"{layout.results}/check/{{method}}/{{run}}/{{dataset}}/experiments.json",
    log:
        f"{layout.results}/logs/check/{{method}}/{{run}}/{{dataset}}/experiments.log",
    benchmark:
        f"{layout.results}/benchmarks/check/{{method}}/{{run}}/{{dataset}}/experiments.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        names=layout.asked,
        seed=root,
        code=code_of("experiments"),
        journal=journal("experiments"),
    script:
        "../../scripts/experiments.py"
