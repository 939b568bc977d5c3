"""Stage simulate: try a few rows of each fidelity, then fill the bank, one shard a job."""


rule probe:
    output:
        probe=f"{layout.bank}/{{fidelity}}/probe.json",
    log:
        f"{layout.bank}/logs/probe-{{fidelity}}.log",
    benchmark:
        f"{layout.bank}/benchmarks/probe-{{fidelity}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    envmodules:
        *simulation.modules,
    resources:
        mem_mb=more(resources.JOB_MB + 2 * simulation.mem_mb),
        runtime=minutes(10 + 2 * study.simulation.time_limit // 60),
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
        seed=root,
        key=layout.bank_key,
    script:
        "../../scripts/simulate.py"
