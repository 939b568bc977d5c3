"""Rule allocation: how many rows of each level a given cost should buy."""

from veridical import job


def main(snakemake):
    from veridical.stages.allocation import plan
    from veridical.stages.train import listed

    inputs, params = dict(snakemake.input.items()), snakemake.params
    plan(
        params.task,
        params.folder,
        {level: listed(inputs[f"level_{level}"]) for level in params.levels},
        snakemake.output.plan,
        settings=params.settings,
        probes=listed(inputs.get("probes", [])),
        root=params.seed,
    )


job.run(main, snakemake)  # noqa: F821
