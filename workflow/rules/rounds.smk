"""Stage train in rounds for one observation: propose, simulate, train, again; then one method of all.

A round is told its own settings and those of rounds before it, so that another number of rounds redoes none.
"""

ROUND = "{method}/{run}/observation-{observation}/round-{round}"
ROUNDS = f"rounds/{ROUND}"


rule propose:
    input:
        unpack(round_before),
    output:
        proposal=f"{layout.results}/{ROUNDS}/proposal.npz",
    log:
        f"{layout.results}/logs/{ROUNDS}/proposal.log",
    benchmark:
        f"{layout.results}/benchmarks/{ROUNDS}/proposal.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=layout.task_spec,
        task_digest=layout.task_digest,
        dataset=lambda wildcards: layout.dataset_of(wildcards.method),
        rows=lambda wildcards: layout.methods[wildcards.method].round_rows[
            int(wildcards.round) - 1
        ],
        seed=root,
        code=lambda wildcards: layout.method_code("propose", run_of(wildcards)),
    script:
        "../../scripts/propose.py"


rule simulate_round:
    input:
        proposal=f"{layout.results}/{ROUNDS}/proposal.npz",
        probe=ancient(
            lambda wildcards: f"{layout.bank}/{layout.fidelity(wildcards.method)}/probe.json"
        ),
    output:
        shard=f"{layout.results}/{ROUNDS}/rows-{{first}}-{{last}}.zarr.zip",
    log:
        f"{layout.results}/logs/{ROUNDS}/rows-{{first}}-{{last}}.log",
    benchmark:
        f"{layout.results}/benchmarks/{ROUNDS}/rows-{{first}}-{{last}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    envmodules:
        *simulation.modules,
    threads: simulation.cores
    resources:
        mem_mb=more(resources.simulate_mb(layout)),
        runtime=simulation_minutes,
        time_limit=str(study.simulation.time_limit),
        max_invalid=str(study.simulation.max_invalid),
    params:
        task=layout.task_spec,
        dataset=lambda wildcards: layout.dataset_of(wildcards.method),
        fidelity=lambda wildcards: layout.fidelity(wildcards.method),
        seed=root,
        key=layout.bank_key,
    script:
        "../../scripts/simulate_round.py"


rule train_round:
    input:
        unpack(learned_from),
    output:
        **artifact_files("rounds", ROUND),
    log:
        f"{layout.results}/logs/{ROUNDS}/train.log",
    benchmark:
        f"{layout.results}/benchmarks/{ROUNDS}/train.jsonl"
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
        method=lambda wildcards: layout.round_spec(
            wildcards.method, int(wildcards.round)
        ),
        fidelity=lambda wildcards: layout.fidelity(wildcards.method),
        seed=root,
        code=lambda wildcards: layout.method_code("train_round", run_of(wildcards)),
    script:
        "../../scripts/train_round.py"


rule gather:
    input:
        unpack(last_rounds),
    output:
        **artifact_files("train"),
    log:
        f"{layout.results}/logs/rounds/{{method}}/{{run}}/gather.log",
    benchmark:
        f"{layout.results}/benchmarks/rounds/{{method}}/{{run}}/gather.jsonl"
    wildcard_constraints:
        method=one_of(m for m in study.estimators if layout.methods[m].local),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(10),
    params:
        folder=subpath(output.record, parent=True),
        method=lambda wildcards: {
            **layout.spec(wildcards.method),
            "dataset": layout.dataset_of(wildcards.method),
        },
        seed=root,
        code=lambda wildcards: layout.method_code("gather", run_of(wildcards)),
    script:
        "../../scripts/gather.py"
