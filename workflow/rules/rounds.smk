"""Stage train in rounds for one observation: propose, simulate, train, again; then one method of all.

A round is told its own settings and those of rounds before it, so that another number of rounds redoes none.
"""

ROUND = "{method}/{run}/observation-{observation}/round-{round}"
ROUNDS = f"results/{{study}}/rounds/{ROUND}"
LOGS = f"results/{{study}}/logs/rounds/{ROUND}"
MEASURED = f"results/{{study}}/benchmarks/rounds/{ROUND}"


rule propose:
    input:
        unpack(round_before),
    output:
        proposal=f"{ROUNDS}/proposal.npz",
    log:
        f"{LOGS}/proposal.log",
    benchmark:
        f"{MEASURED}/proposal.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        dataset=of_study("dataset_of", "method"),
        rows=rows_of_round,
        share=of_study("acquired_share", "method"),
        seed=of_study("study.seed"),
        code=method_code("propose"),
    script:
        "../../scripts/propose.py"


rule simulate_round:
    input:
        proposal=f"{ROUNDS}/proposal.npz",
        probe=ancient(of_study(told.probe, "method")),
    output:
        shard=f"{ROUNDS}/rows-{{first}}-{{last}}.zarr.zip",
    log:
        f"{LOGS}/rows-{{first}}-{{last}}.log",
    benchmark:
        f"{MEASURED}/rows-{{first}}-{{last}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    envmodules:
        *modules,
    threads: of_study(resources.cores)
    resources:
        mem_mb=more(resources.simulate_mb),
        runtime=simulation_minutes,
        time_limit=of_study(told.time_limit),
        max_invalid=of_study(told.max_invalid),
    params:
        task=of_study("task_spec"),
        dataset=of_study("dataset_of", "method"),
        fidelity=of_study("fidelity", "method"),
        seed=of_study("study.seed"),
        key=lambda wildcards: at(wildcards).bank_key_of(
            at(wildcards).fidelity(wildcards.method)
        ),
    script:
        "../../scripts/simulate_round.py"


rule train_round:
    input:
        unpack(learned_from),
    output:
        **artifact_files("rounds", ROUND),
    log:
        f"{LOGS}/train.log",
    benchmark:
        f"{MEASURED}/train.jsonl"
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
        task=of_study("task_spec"),
        method=lambda wildcards: at(wildcards).round_spec(
            wildcards.method, int(wildcards.round)
        ),
        fidelity=of_study("fidelity", "method"),
        seed=of_study("study.seed"),
        code=method_code("train_round"),
    script:
        "../../scripts/train_round.py"


rule gather:
    input:
        unpack(last_rounds),
    output:
        **artifact_files("train"),
    log:
        "results/{study}/logs/rounds/{method}/{run}/gather.log",
    benchmark:
        "results/{study}/benchmarks/rounds/{method}/{run}/gather.jsonl"
    wildcard_constraints:
        method=among("train", told.made_by, "gather"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(10),
    params:
        folder=subpath(output.record, parent=True),
        method=lambda wildcards: {
            **at(wildcards).spec(wildcards.method),
            "dataset": at(wildcards).dataset_of(wildcards.method),
        },
        seed=of_study("study.seed"),
        code=method_code("gather"),
    script:
        "../../scripts/gather.py"
