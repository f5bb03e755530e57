"""This module computes what ./compare shows of its samples: whose turn it is, medians, intervals, ratios, the table.

A sample is one contender's time of one case in one round:
    {"run", "round", "case", "contender", "seconds", "flops", ...}
Ratios are taken within a round, in which both contenders met the same state of the machine.
"""
import json
import math
import statistics

OURS = "moehill"
COVERAGE = 0.95


def turn(names, round_number):
    """Returns the contenders in the order of this round. Each round begins with the next contender."""
    first = round_number % len(names)
    return names[first:] + names[:first]


def interval(values):
    """Returns (low, high, coverage) of the median by order statistics, at least 95 % from six values on; None below three."""
    ordered = sorted(values)
    n = len(ordered)
    if n < 3:
        return None

    def coverage(k):  # of the k-th smallest to the k-th largest, k from 1
        return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2 ** n

    k = max([k for k in range(1, n // 2 + 1) if coverage(k) >= COVERAGE], default=1)
    return ordered[k - 1], ordered[n - k], coverage(k)


def by_round(samples):
    """Returns {(run, round): seconds}. A round measured twice is an error: its two samples would be paired at random."""
    seconds = {}
    for sample in samples:
        key = sample["run"], sample["round"]
        if key in seconds:
            raise ValueError(f"{sample['case']}: two samples of {sample['contender']} in round {key[1]} of run {key[0]}")
        seconds[key] = sample["seconds"]
    return seconds


def ratios(theirs, ours):
    """Returns the peer's time over moehill's, for each round that both have."""
    theirs, ours = by_round(theirs), by_round(ours)
    return [theirs[key] / ours[key] for key in theirs if key in ours]


def faster(ratio_samples, peer):
    """Returns who is faster, if the interval of the ratio leaves no doubt."""
    range_ = interval(ratio_samples)
    if range_ is None:
        return "cannot tell"
    low, high, _ = range_
    return OURS if low > 1 else peer if high < 1 else "neither"


def spread(values, digits):
    """Returns "median [low, high]", or only the median if there is no interval."""
    text = f"{statistics.median(values):.{digits}f}"
    range_ = interval(values)
    return text if range_ is None else f"{text} [{range_[0]:.{digits}f}, {range_[1]:.{digits}f}]"


def digits_of(milliseconds):
    return 0 if milliseconds >= 1000 else 1 if milliseconds >= 20 else 2


def milliseconds(samples):
    values = [1e3 * sample["seconds"] for sample in samples]
    return spread(values, digits_of(statistics.median(values)))


def rate(samples):
    """Returns GF/s by the FLOPs of the case, which are the same for all contenders."""
    return f"{statistics.median(sample['flops'] / sample['seconds'] / 1e9 for sample in samples):.1f}"


def deviation(contenders):
    """Returns the largest deviation of any peer, with the peer and the tensor."""
    found = [(value, peer, name) for peer, taken in contenders.items() if peer != OURS for sample in taken
             for name, value in sample["deviation"].items()]
    if not found:
        return "-"
    value, peer, name = max(found)
    return f"{value:.1e} ({peer}, {name})"


def fastest(ratios_of):
    """Returns the peers that are faster than moehill. If none is, returns moehill and the peers that are as fast; "cannot tell" if
    there are too few rounds for an interval."""
    verdicts = {peer: faster(values, peer) for peer, values in ratios_of.items()}
    winners = [peer for peer, verdict in verdicts.items() if verdict == peer]
    if winners:
        return f"**{', '.join(winners)}**"
    if "cannot tell" in verdicts.values():
        return "cannot tell"
    return " or ".join([OURS] + [peer for peer, verdict in verdicts.items() if verdict != OURS])


def group(samples):
    """Returns {case: {contender: samples}}, both in order of appearance."""
    cases = {}
    for sample in samples:
        cases.setdefault(sample["case"], {}).setdefault(sample["contender"], []).append(sample)
    return cases


def line(case, contenders, peers):
    """Returns the cells of a case: moehill's time, each peer's with its ratio, who is fastest, the largest deviation of a peer."""
    ours = contenders[OURS]
    pairs = {peer: ratios(contenders[peer], ours) for peer in peers if peer in contenders}
    pairs = {peer: values for peer, values in pairs.items() if values}
    theirs = [f"{milliseconds(contenders[peer])}, {spread(pairs[peer], 2)}" if peer in pairs else "-" for peer in peers]
    rounds = "/".join(sorted({str(len(values)) for values in pairs.values()}, key=int))
    return (case, rounds, milliseconds(ours), rate(ours), *theirs, fastest(pairs), deviation(contenders))


def table(samples):
    """Returns Markdown: a table for each kind and type, a line for each case. A ratio is the peer's time over moehill's."""
    kinds = {}
    for case, contenders in group(samples).items():
        if OURS in contenders:
            kinds.setdefault("/".join(case.split("/")[:2]), {})[case] = contenders
    tables = []
    for kind, cases in kinds.items():
        peers = list(dict.fromkeys(peer for contenders in cases.values() for peer in contenders if peer != OURS))
        header = (kind, "rounds", "moehill ms", "GF/s", *(f"{peer} ms, ratio" for peer in peers), "fastest", "largest deviation")
        lines = [header, ("---",) * len(header)]
        lines += [line(case[len(kind) + 1:], contenders, peers) for case, contenders in cases.items()]
        tables.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    return "\n\n".join(tables)


def about(samples):
    """Returns CPU, threads, measured peaks, and each contender with its version and instructions, each in one line."""
    lines, peaks = {}, {}
    for sample in samples:
        lines.setdefault(f"CPU: {sample['cpu']}; {sample['threads']} threads", None)
    for sample in samples:
        lines.setdefault(f"{sample['contender']}: {sample['version']}; {sample['instructions']}", None)
        if sample.get("peak_gflops"):
            peaks.setdefault(sample["case"].split("/")[1], []).append(sample["peak_gflops"])
    for dtype, values in peaks.items():
        lines[f"peak of {dtype}: {statistics.median(values):.1f} GF/s"] = None
    return "\n".join("- " + line for line in lines)


def read(path):
    """Returns the samples of a file of JSON lines; raises ValueError for a line that is no sample."""
    samples = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                sample = json.loads(line)
                missing = {"run", "round", "case", "contender", "seconds", "flops", "deviation", "version", "instructions",
                           "cpu", "threads"} - set(sample)
            except (json.JSONDecodeError, TypeError) as error:
                raise ValueError(f"{path}:{number}: not a sample of peers/compare: {error}") from None
            if missing:
                raise ValueError(f"{path}:{number}: not a sample of peers/compare: no {', '.join(sorted(missing))}")
            samples.append(sample)
    return samples
