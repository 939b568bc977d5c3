"""Stage infer: answers of each method for each data set; the exact reference; predictions."""


rule infer:
    input:
        unpack(method_files),
        data=f"{layout.results}/observe/{{dataset}}.nc",
    output:
        draws=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.jsonl"
    wildcard_constraints:
        method=one_of(m for m in layout.methods if layout.answers(m) == "posterior"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(30),
    params:
        folder=subpath(input.record, parent=True),
        draws=draws_for,
        rows=rows_for,
        seed=root,
        code=lambda wildcards: layout.method_code("infer", run_of(wildcards)),
    script:
        "../../scripts/infer.py"


rule estimate:
    input:
        unpack(method_files),
        data=f"{layout.results}/observe/{{dataset}}.nc",
    output:
        estimate=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.json",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.jsonl"
    wildcard_constraints:
        method=one_of(m for m in layout.methods if layout.answers(m) == "estimate"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        folder=subpath(input.record, parent=True),
        code=lambda wildcards: layout.method_code("estimate", run_of(wildcards)),
    script:
        "../../scripts/estimate.py"


rule exact:
    input:
        unpack(method_files),
        data=f"{layout.results}/observe/{{dataset}}.nc",
    output:
        arrays=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.exact.npz",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.exact.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.exact.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=layout.task_spec,
        task_digest=layout.task_digest,
        fidelity=lambda wildcards: layout.fidelity_of_data(wildcards.dataset),
        sizes=layout.exact_sizes,
        seed=root,
        code=lambda wildcards: layout.method_code("exact", run_of(wildcards)),
        journal=journal("exact"),
    script:
        "../../scripts/exact.py"


rule predict:
    input:
        draws=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.nc",
    output:
        x=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.predictive.npz",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.predictive.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.predictive.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
        time_limit=str(study.simulation.time_limit),
    params:
        task=layout.task_spec,
        task_digest=layout.task_digest,
        fidelity=layout.target,
        sizes=layout.prediction_sizes,
        seed=root,
        code=code_of("predict"),
        journal=journal("predict"),
    script:
        "../../scripts/predict.py"


rule nearby:
    input:
        unpack(method_files),
        draws=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.nc",
    output:
        arrays=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.nearby.npz",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.nearby.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.nearby.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=layout.task_spec,
        task_digest=layout.task_digest,
        fidelity=layout.target,
        sizes=layout.nearby_sizes,
        seed=root,
        code=lambda wildcards: layout.method_code("nearby", run_of(wildcards)),
        journal=journal("nearby"),
    script:
        "../../scripts/nearby.py"


rule densities:
    input:
        unpack(answers_for_densities),
    output:
        arrays=f"{layout.results}/infer/{{method}}/{{run}}/{{dataset}}.densities.npz",
    log:
        f"{layout.results}/logs/infer/{{method}}/{{run}}/{{dataset}}.densities.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/{{method}}/{{run}}/{{dataset}}.densities.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        task=layout.task_spec,
        task_digest=layout.task_digest,
        likelihood=layout.task.has_likelihood and "importance" in layout.checks,
        code=code_of("densities"),
        journal=journal("densities"),
    script:
        "../../scripts/densities.py"


rule reference_ensemble:
    input:
        data=f"{layout.results}/observe/{{dataset}}.nc",
    output:
        chain=f"{layout.results}/infer/reference/{{dataset}}/ensemble-{{ensemble}}.npz",
    log:
        f"{layout.results}/logs/infer/reference/{{dataset}}/ensemble-{{ensemble}}.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/reference/{{dataset}}/ensemble-{{ensemble}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(60),
    params:
        task=layout.task_spec,
        task_digest=layout.task_digest,
        reference=(
            study.reference.model_dump(
                include={"walkers", "prior_draws", "warm_up", "steps"}
            )
            if study.reference
            else None
        ),
        seed=root,
        code=code_of("reference_ensemble"),
        journal=journal("reference_ensemble"),
    script:
        "../../scripts/reference_ensemble.py"


rule reference:
    input:
        data=f"{layout.results}/observe/{{dataset}}.nc",
        chains=collect(
            f"{layout.results}/infer/reference/{{{{dataset}}}}/ensemble-{{ensemble}}.npz",
            ensemble=range(study.reference.ensembles if study.reference else 0),
        ),
    output:
        draws=f"{layout.results}/infer/reference/{{dataset}}.nc",
    log:
        f"{layout.results}/logs/infer/reference/{{dataset}}.log",
    benchmark:
        f"{layout.results}/benchmarks/infer/reference/{{dataset}}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(10),
    params:
        task=layout.task_spec,
        reference=study.reference.model_dump(mode="json") if study.reference else None,
        code=code_of("reference"),
        journal=journal("reference"),
    script:
        "../../scripts/reference.py"
