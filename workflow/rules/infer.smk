"""Stage infer: answers of each method for each data set; the exact reference; predictions."""


rule infer:
    input:
        unpack(method_files),
        data="results/{study}/observe/{dataset}.nc",
    output:
        draws="results/{study}/infer/{method}/{run}/{dataset}.nc",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.jsonl"
    wildcard_constraints:
        method=among("infer", told.answering, "posterior"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(30),
    params:
        folder=subpath(input.record, parent=True),
        draws=draws_for,
        rows=rows_for,
        seed=of_study("study.seed"),
        code=method_code("infer"),
    script:
        "../../scripts/infer.py"


rule estimate:
    input:
        unpack(method_files),
        data="results/{study}/observe/{dataset}.nc",
    output:
        estimate="results/{study}/infer/{method}/{run}/{dataset}.json",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.jsonl"
    wildcard_constraints:
        method=among("infer", told.answering, "estimate"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        folder=subpath(input.record, parent=True),
        code=method_code("estimate"),
    script:
        "../../scripts/estimate.py"


rule exact:
    input:
        unpack(method_files),
        data="results/{study}/observe/{dataset}.nc",
    output:
        arrays="results/{study}/infer/{method}/{run}/{dataset}.exact.npz",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.exact.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.exact.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        fidelity=of_study("fidelity_of_data", "dataset"),
        sizes=of_study("exact_sizes"),
        seed=of_study("study.seed"),
        code=method_code("exact"),
        journal=journal("exact"),
    script:
        "../../scripts/exact.py"


rule surfaces:
    input:
        unpack(method_files),
        data="results/{study}/observe/{dataset}.nc",
    output:
        arrays="results/{study}/infer/{method}/{run}/{dataset}.surfaces.npz",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.surfaces.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.surfaces.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        sizes=of_study("surface_sizes"),
        exact=of_study("target_is_dearest"),
        seed=of_study("study.seed"),
        code=method_code("surfaces"),
        journal=journal("surfaces"),
    script:
        "../../scripts/surfaces.py"


rule predict:
    input:
        draws="results/{study}/infer/{method}/{run}/{dataset}.nc",
    output:
        x="results/{study}/infer/{method}/{run}/{dataset}.predictive.npz",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.predictive.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.predictive.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
        time_limit=of_study(told.time_limit),
    params:
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        fidelity=of_study("target"),
        sizes=of_study("prediction_sizes"),
        seed=of_study("study.seed"),
        code=code_of("predict"),
        journal=journal("predict"),
    script:
        "../../scripts/predict.py"


rule nearby:
    input:
        unpack(method_files),
        draws="results/{study}/infer/{method}/{run}/{dataset}.nc",
    output:
        arrays="results/{study}/infer/{method}/{run}/{dataset}.nearby.npz",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.nearby.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.nearby.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(3000),
        runtime=minutes(60),
    params:
        folder=subpath(input.record, parent=True),
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        fidelity=of_study("target"),
        sizes=of_study("nearby_sizes"),
        seed=of_study("study.seed"),
        code=method_code("nearby"),
        journal=journal("nearby"),
    script:
        "../../scripts/nearby.py"


rule densities:
    input:
        unpack(answers_for_densities),
    output:
        arrays="results/{study}/infer/{method}/{run}/{dataset}.densities.npz",
    log:
        "results/{study}/logs/infer/{method}/{run}/{dataset}.densities.log",
    benchmark:
        "results/{study}/benchmarks/infer/{method}/{run}/{dataset}.densities.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        likelihood=of_study(told.weighs_by_likelihood),
        code=code_of("densities"),
        journal=journal("densities"),
    script:
        "../../scripts/densities.py"


rule reference_ensemble:
    input:
        data="results/{study}/observe/{dataset}.nc",
    output:
        chain="results/{study}/infer/reference/{dataset}/ensemble-{ensemble}.npz",
    log:
        "results/{study}/logs/infer/reference/{dataset}/ensemble-{ensemble}.log",
    benchmark:
        "results/{study}/benchmarks/infer/reference/{dataset}/ensemble-{ensemble}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(60),
    params:
        task=of_study("task_spec"),
        task_digest=of_study("task_digest"),
        reference=of_study(told.chain_settings),
        seed=of_study("study.seed"),
        code=code_of("reference_ensemble"),
        journal=journal("reference_ensemble"),
    script:
        "../../scripts/reference_ensemble.py"


rule reference:
    input:
        data="results/{study}/observe/{dataset}.nc",
        chains=of_study(told.chains, "dataset"),
    output:
        draws="results/{study}/infer/reference/{dataset}.nc",
    log:
        "results/{study}/logs/infer/reference/{dataset}.log",
    benchmark:
        "results/{study}/benchmarks/infer/reference/{dataset}.jsonl"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=more(2000),
        runtime=minutes(10),
    params:
        task=of_study("task_spec"),
        reference=of_study(told.reference_settings),
        code=code_of("reference"),
        journal=journal("reference"),
    script:
        "../../scripts/reference.py"
