"""Stages train and remedy: fit methods to simulations, to labelled real data, to what others have learned."""


rule train:
    input:
        unpack(sources_of),
    output:
        **artifact_files("train"),
    log:
        "results/{study}/logs/train/{method}/{run}.log",
    benchmark:
        "results/{study}/benchmarks/train/{method}/{run}.jsonl"
    wildcard_constraints:
        method=among("train", told.made_by, "train"),
    conda:
        "../../envs/gpu.yaml"
    threads: threads_of
    resources:
        mem_mb=training_memory,
        runtime=minutes(240),
        gpu=gpus_of,
        max_invalid=of_study(told.max_invalid),
        checkpoints=of_study(told.checkpoints),
    params:
        folder=subpath(output.record, parent=True),
        task=of_study("spec_of", "method"),
        method=of_study("spec", "method"),
        rows=lambda wildcards: at(wildcards).source_rows(run_of(wildcards)),
        fidelity=of_study("fidelity_of", "method"),
        seed=of_study("study.seed"),
        code=method_code("train"),
    script:
        "../../scripts/train.py"


use rule train as fine_tune with:
    input:
        unpack(sources_of),
        unpack(parent_files),
    output:
        **artifact_files("train"),
    log:
        "results/{study}/logs/train/{method}/{run}.log",
    benchmark:
        "results/{study}/benchmarks/train/{method}/{run}.jsonl"
    wildcard_constraints:
        method=among("train", told.made_by, "fine_tune"),


use rule train as remedy with:
    input:
        unpack(sources_of),
        unpack(parent_files),
        ancestors=ancestor_files,
    output:
        **artifact_files("remedy"),
    log:
        "results/{study}/logs/remedy/{method}/{run}.log",
    benchmark:
        "results/{study}/benchmarks/remedy/{method}/{run}.jsonl"
    wildcard_constraints:
        method=among("remedy", told.made_by, "remedy"),


rule allocation:
    input:
        unpack(of_study("pilot_inputs")),
    output:
        plan="results/{study}/allocation.json",
    log:
        "results/{study}/logs/allocation.log",
    benchmark:
        "results/{study}/benchmarks/allocation.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(4000),
        runtime=minutes(30),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        levels=of_study("pilot_levels"),
        settings=lambda wildcards: at(wildcards).study.allocation.model_dump(),
        seed=of_study("study.seed"),
        code=lambda wildcards: at(wildcards).method_code(
            "allocation", at(wildcards).pilot_run
        ),
        journal=journal("allocation"),
    script:
        "../../scripts/allocation.py"
