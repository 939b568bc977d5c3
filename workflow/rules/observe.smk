"""Stage observe: bring in real data, and the simulated data sets that the checks are judged on."""


def observed_file(wildcards):
    """The file of one real data set."""
    return layout.observations[wildcards.dataset].file


rule observe:
    input:
        data=observed_file,
    output:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    params:
        task=layout.task_spec,
        observation=lambda wildcards: layout.observations[wildcards.dataset].model_dump(mode="json"),
        code=layout.code("observe", "veridical.stages.observe"),
    log:
        f"{layout.results}/logs/observe/{{dataset}}.log",
    conda:
        "../../envs/cpu.yaml"
    localrule: True
    script:
        "../../scripts/observe.py"


rule observe_simulated:
    input:
        shards=layout.shards(layout.target, "test", study.test_rows),
    output:
        data=f"{layout.results}/observe/simulated.nc",
    params:
        task=layout.task_spec,
        rows=study.test_rows,
        fidelity=layout.target,
        code=layout.code("observe_simulated", "veridical.stages.observe"),
    log:
        f"{layout.results}/logs/observe/simulated.log",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(1000),
        runtime=minutes(10),
    script:
        "../../scripts/observe_simulated.py"


rule look:
    input:
        data=f"{layout.results}/observe/{{dataset}}.nc",
        prior=f"{layout.results}/observe/simulated.nc",
    output:
        look=f"{layout.results}/observe/{{dataset}}.look.json",
    params:
        code=layout.code("look", "veridical.probe"),
    log:
        f"{layout.results}/logs/observe/{{dataset}}.look.log",
    conda:
        "../../envs/cpu.yaml"
    localrule: True
    script:
        "../../scripts/look.py"


ruleorder: observe_simulated > observe
