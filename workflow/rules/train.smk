"""Stages train and remedy: fit methods to simulations, to labelled real data, to what others have learned."""


rule train:
    input:
        unpack(sources_of),
    output:
        **artifact_files("train"),
    log:
        f"{layout.results}/logs/train/{{method}}/{{run}}.log",
    benchmark:
        f"{layout.results}/benchmarks/train/{{method}}/{{run}}.jsonl"
    wildcard_constraints:
        method=one_of(
            m
            for m in study.estimators
            if layout.parent(m) is None and not layout.methods[m].local
        ),
    conda:
        "../../envs/gpu.yaml"
    threads: threads_of
    resources:
        mem_mb=training_memory,
        runtime=minutes(240),
        gpu=gpus_of,
        max_invalid=str(study.simulation.max_invalid),
        checkpoints=f"{layout.results}/checkpoints",
    params:
        folder=subpath(output.record, parent=True),
        task=layout.task_spec,
        method=lambda wildcards: layout.spec(wildcards.method),
        rows=lambda wildcards: layout.source_rows(run_of(wildcards)),
        fidelity=lambda wildcards: layout.fidelity_of(wildcards.method),
        seed=root,
        code=lambda wildcards: layout.method_code("train", run_of(wildcards)),
    script:
        "../../scripts/train.py"


use rule train as fine_tune with:
    input:
        unpack(sources_of),
        unpack(parent_files),
    output:
        **artifact_files("train"),
    log:
        f"{layout.results}/logs/train/{{method}}/{{run}}.log",
    benchmark:
        f"{layout.results}/benchmarks/train/{{method}}/{{run}}.jsonl"
    wildcard_constraints:
        method=one_of(m for m in study.estimators if layout.parent(m) is not None),


use rule train as remedy with:
    input:
        unpack(sources_of),
        unpack(parent_files),
        ancestors=ancestor_files,
    output:
        **artifact_files("remedy"),
    log:
        f"{layout.results}/logs/remedy/{{method}}/{{run}}.log",
    benchmark:
        f"{layout.results}/benchmarks/remedy/{{method}}/{{run}}.jsonl"
    wildcard_constraints:
        method=one_of(study.remedies),
