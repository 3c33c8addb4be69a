"""`make bench`: every benchmark, one after the other."""

from benchmarks import drain, intake

for name, benchmark in (("intake", intake.main), ("drain", drain.main)):
    print(f"== {name}", flush=True)
    benchmark()
