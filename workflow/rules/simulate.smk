"""Stage simulate: try a few rows of each fidelity, then fill the bank, one shard a job."""


rule probe:
    output:
        probe="results/bank/{bank}/{fidelity}/probe.json",
    log:
        "results/bank/{bank}/logs/probe-{fidelity}.log",
    benchmark:
        "results/bank/{bank}/benchmarks/probe-{fidelity}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    envmodules:
        *modules,
    resources:
        mem_mb=more(resources.probe_mb),
        runtime=more(resources.probe_minutes),
        probe_rows=of_study("study.simulation.probe_rows"),
        time_limit=of_study(told.time_limit),
        max_invalid=of_study(told.max_invalid),
    params:
        task=of_study("spec_at", "fidelity"),
        seed=of_study("study.seed"),
    script:
        "../../scripts/probe.py"


rule simulate:
    input:
        probe=ancient("results/bank/{bank}/{fidelity}/probe.json"),
    output:
        shard="results/bank/{bank}/{fidelity}/{split}/rows-{first}-{last}.zarr.zip",
    log:
        "results/bank/{bank}/logs/{fidelity}/{split}/rows-{first}-{last}.log",
    benchmark:
        "results/bank/{bank}/benchmarks/{fidelity}/{split}/rows-{first}-{last}.jsonl"
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
        task=of_study("spec_at", "fidelity"),
        seed=of_study("study.seed"),
        key=of_study("bank_key_of", "fidelity"),
    script:
        "../../scripts/simulate.py"
