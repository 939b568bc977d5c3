"""Stage observe: bring in real data, and the simulated data sets that the checks are judged on."""


rule observe:
    input:
        data=lambda wildcards: layout.observations[wildcards.dataset].file,
    output:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/observe/{{dataset}}.log",
    wildcard_constraints:
        dataset="|".join(layout.observations) or "none",
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        task=layout.task_spec,
        observation=lambda wildcards: layout.observations[
            wildcards.dataset
        ].model_dump(mode="json"),
        code=layout.code("observe", "veridical.stages.observe"),
    script:
        "../../scripts/observe.py"


rule observe_simulated:
    input:
        shards=ancient(layout.shards(layout.target, "test", study.test_rows)),
    output:
        data=f"{layout.results}/observe/simulated.nc",
    log:
        f"{layout.results}/logs/observe/simulated.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    params:
        task=layout.task_spec,
        rows=study.test_rows,
        fidelity=layout.target,
        code=layout.code("observe_simulated", "veridical.stages.observe"),
    script:
        "../../scripts/observe_simulated.py"


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
        code=layout.code("look", "veridical.probe"),
    script:
        "../../scripts/look.py"
