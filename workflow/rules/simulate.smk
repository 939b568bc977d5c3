"""Stage simulate: try a few rows of each fidelity, then fill the bank, one shard a job."""


rule probe:
    output:
        f"{layout.bank}/{{fidelity}}/probe.json",
    log:
        f"{layout.bank}/logs/probe-{{fidelity}}.log",
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=minutes(15),
        probe_rows=study.simulation.probe_rows,
        time_limit=str(study.simulation.time_limit),
        max_invalid=str(study.simulation.max_invalid),
    params:
        task=layout.task_spec,
        seed=root,
    script:
        "../../scripts/probe.py"


rule simulate:
    input:
        probe=ancient(f"{layout.bank}/{{fidelity}}/probe.json"),
    output:
        shard=f"{layout.bank}/{{fidelity}}/{{split}}/rows-{{first}}-{{last}}.zarr.zip",
    log:
        f"{layout.bank}/logs/{{fidelity}}/{{split}}/rows-{{first}}-{{last}}.log",
    benchmark:
        f"{layout.bank}/benchmarks/{{fidelity}}/{{split}}/rows-{{first}}-{{last}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=minutes(60),
        time_limit=str(study.simulation.time_limit),
        max_invalid=str(study.simulation.max_invalid),
    params:
        task=layout.task_spec,
        seed=root,
        key=layout.bank_key,
    script:
        "../../scripts/simulate.py"
