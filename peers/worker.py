"""The worker's side of ./compare: ready, then one step for each line on standard input, answered by its seconds."""
import sys
import time


def serve(step):
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, flush=True)
