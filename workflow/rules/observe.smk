"""Stage observe: bring in real data, and the simulated data sets that the checks are judged on."""


rule observe:
    input:
        data=ancient(lambda wildcards: observed(wildcards).file),
    output:
        data="results/{study}/observe/{dataset}.nc",
    log:
        "results/{study}/logs/observe/{dataset}.log",
    wildcard_constraints:
        dataset=among("observe", lambda layout: layout.observations),
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        task=of_study("task_spec"),
        observation=lambda wildcards: observed(wildcards).model_dump(mode="json"),
        content=content_of_data,
        code=code_of("observe"),
    script:
        "../../scripts/observe.py"


rule observe_simulated:
    input:
        shards=ancient(of_study(told.test_shards, "dataset")),
    output:
        data="results/{study}/observe/{dataset}.nc",
    log:
        "results/{study}/logs/observe/{dataset}.log",
    benchmark:
        "results/{study}/benchmarks/observe/{dataset}.jsonl"
    wildcard_constraints:
        dataset=among("observe", told.labelled, "shards"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        task=of_study("task_spec"),
        rows=of_study("study.test_rows"),
        fidelity=of_study("fidelity_of_data", "dataset"),
        code=code_of("observe_simulated"),
    script:
        "../../scripts/observe_simulated.py"


rule observe_mixtures:
    output:
        data="results/{study}/observe/{dataset}.nc",
    log:
        "results/{study}/logs/observe/{dataset}.log",
    benchmark:
        "results/{study}/benchmarks/observe/{dataset}.jsonl"
    wildcard_constraints:
        dataset=among("observe", told.labelled, "mixtures"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        experiments=of_study("experiment_settings"),
        seed=of_study("study.seed"),
        code=code_of("observe_mixtures"),
    script:
        "../../scripts/observe_mixtures.py"


rule look:
    input:
        data="results/{study}/observe/{dataset}.nc",
        prior="results/{study}/observe/simulated.nc",
    output:
        look="results/{study}/observe/{dataset}.look.json",
    log:
        "results/{study}/logs/observe/{dataset}.look.log",
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_of("look"),
    script:
        "../../scripts/look.py"
