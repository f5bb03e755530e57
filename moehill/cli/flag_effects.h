// Flags without effect: a combination in which an option changes nothing is an error, not a silence.
#pragma once

#include <functional>
#include <string>

#include "moehill/cli/bench_options.h"

namespace moehill {

// Throws InputError for the first option that was given, is not neutral and changes nothing. A value that
// asks for nothing
// (`--remat-mode none`, `--queue-mode full`, `--ep-path auto`) is never an error.
void refuse_flags_without_effect(const BenchOptions& options,
                                 const std::function<bool(const std::string&)>& given);

}  // namespace moehill
