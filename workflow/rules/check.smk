"""Stage check: whether to believe the answers; one check of one run on one data set a job."""


def check_inputs(wildcards):
    """The draws that a check looks at and whatever it compares them with."""
    folder = f"{layout.results}/infer"
    run = f"{folder}/{wildcards.method}/n{wildcards.budget}-r{wildcards.replicate}"
    inputs = {"draws": f"{run}/{wildcards.dataset}.nc"}
    needs = checks.needs(wildcards.check)
    if "null" in needs:
        inputs["null"] = f"{run}/simulated.nc"
    if "reference" in needs:
        inputs["reference"] = f"{folder}/reference/{wildcards.dataset}.nc"
    if "predictive" in needs:
        inputs["predictive"] = f"{run}/{wildcards.dataset}.predictive.npz"
        inputs["prior"] = f"{layout.results}/observe/simulated.nc"
    return inputs


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
