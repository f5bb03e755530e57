// This header refuses options that change nothing in their combination. The user who gave the option expects
// it to do something, and a number measured without it would mislead.
//
//     refuse_flags_without_effect(options, [&](const std::string& name) { return set.given(name); });
//     // InputError "--wire needs --parallel-mode ep or both; add --parallel-mode ep or leave it out"
#pragma once

#include <functional>
#include <string>

#include "moehill/cli/bench_options.h"

namespace moehill {

// Throws InputError for the first option that was given, is not neutral and changes nothing. `given` says if
// an option, such as "--topk", was on the command line. A value that asks for nothing (`--remat-mode none`,
// `--queue-mode full`, `--ep-path auto`) is never an error.
void refuse_flags_without_effect(const BenchOptions& options,
                                 const std::function<bool(const std::string&)>& given);

}  // namespace moehill
