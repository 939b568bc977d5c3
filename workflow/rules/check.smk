"""Stage check: whether to believe the answers; one check of one run on one data set a job."""


rule check:
    input:
        unpack(check_inputs),
    output:
        result=f"{layout.results}/check/{{method}}/n{{budget}}-r{{replicate}}/{{dataset}}/{{check}}.json",
    log:
        f"{layout.results}/logs/check/{{method}}/n{{budget}}-r{{replicate}}/{{dataset}}/{{check}}.log",
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=minutes(30),
    params:
        settings=lambda wildcards: layout.checks[wildcards.check],
        seed=root,
        code=lambda wildcards: layout.code(
            "check", "veridical.stages.check", *checks.modules(wildcards.check)
        ),
    script:
        "../../scripts/check.py"
