"""Stage report of a collection: one table and one page of all its studies. A study alone has no such job."""

if studies.collection is not None:

    rule collection:
        input:
            tables=[f"{one.report}/metrics.csv" for one in layouts.values()],
            verdicts=[f"{one.report}/verdict.json" for one in layouts.values()],
        output:
            table=f"{studies.report}/metrics.csv",
            page=report(
                f"{studies.report}/report.html",
                caption="../report/collection.rst",
                category="Verdict",
                labels={"content": "all studies"},
            ),
        log:
            f"{studies.report}/logs/report/collection.log",
        benchmark:
            f"{studies.report}/benchmarks/report/collection.jsonl"
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=more(2000),
            runtime=minutes(10),
        params:
            about=studies.about,
            studies={one.study.study: one.report for one in layouts.values()},
            methods=studies.methods,
            code=code_of("collection", *COLLECTION_TEMPLATES),
        script:
            "../../scripts/collection.py"
