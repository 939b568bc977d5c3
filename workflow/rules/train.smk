"""Stage train: fit one estimator to the first rows of one replicate's bank."""


rule train:
    input:
        shards=ancient(training_shards),
    output:
        weights=f"{layout.results}/train/{{method}}/n{{budget}}-r{{replicate}}/weights.safetensors",
        record=f"{layout.results}/train/{{method}}/n{{budget}}-r{{replicate}}/estimator.json",
        history=f"{layout.results}/train/{{method}}/n{{budget}}-r{{replicate}}/history.json",
        cost=f"{layout.results}/train/{{method}}/n{{budget}}-r{{replicate}}/cost.json",
    log:
        f"{layout.results}/logs/train/{{method}}/n{{budget}}-r{{replicate}}.log",
    benchmark:
        f"{layout.results}/benchmarks/train/{{method}}/n{{budget}}-r{{replicate}}.jsonl"
    conda:
        "../../envs/gpu.yaml"
    threads: lambda wildcards: study.estimators[wildcards.method].training.threads
    resources:
        mem_mb=more(3000),
        runtime=minutes(240),
        max_invalid=str(study.simulation.max_invalid),
        checkpoints=f"{layout.results}/checkpoints",
    params:
        folder=subpath(output.record, parent=True),
        task=layout.task_spec,
        estimator=lambda wildcards: study.estimators[wildcards.method].model_dump(
            mode="json"
        ),
        seed=root,
        code=lambda wildcards: layout.code(
            "train",
            "veridical.stages.train",
            *layout.estimator_modules(wildcards.method),
        ),
    script:
        "../../scripts/train.py"
