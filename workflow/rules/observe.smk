"""Stage observe: bring in real data, and the simulated data sets that the checks are judged on."""


rule observe:
    input:
        data=ancient(lambda wildcards: layout.observations[wildcards.dataset].file),
    output:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/observe/{{dataset}}.log",
    wildcard_constraints:
        dataset=one_of(layout.observations),
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        task=layout.task_spec,
        observation=lambda wildcards: layout.observations[
            wildcards.dataset
        ].model_dump(mode="json"),
        content=content_of_data,
        code=code_of("observe"),
    script:
        "../../scripts/observe.py"


rule observe_simulated:
    input:
        shards=ancient(
            lambda wildcards: layout.shards(
                layout.fidelity_of_data(wildcards.dataset), "test", study.test_rows
            )
        ),
    output:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/observe/{{dataset}}.log",
    benchmark:
        f"{layout.results}/benchmarks/observe/{{dataset}}.jsonl"
    wildcard_constraints:
        dataset=one_of([] if layout.of_classes else coordinates.LABELLED),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        task=layout.task_spec,
        rows=study.test_rows,
        fidelity=lambda wildcards: layout.fidelity_of_data(wildcards.dataset),
        code=code_of("observe_simulated"),
    script:
        "../../scripts/observe_simulated.py"


rule observe_mixtures:
    output:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/observe/{{dataset}}.log",
    benchmark:
        f"{layout.results}/benchmarks/observe/{{dataset}}.jsonl"
    wildcard_constraints:
        dataset=one_of([coordinates.SIMULATED] if layout.of_classes else []),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        task=layout.task_spec,
        task_digest=layout.task_digest,
        experiments=layout.experiment_settings,
        seed=root,
        code=code_of("observe_mixtures"),
    script:
        "../../scripts/observe_mixtures.py"


rule look:
    input:
        data=f"{layout.results}/observe/{{dataset}}.nc",
        prior=f"{layout.results}/observe/simulated.nc",
    output:
        look=f"{layout.results}/observe/{{dataset}}.look.json",
    log:
        f"{layout.results}/logs/observe/{{dataset}}.look.log",
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_of("look"),
    script:
        "../../scripts/look.py"
