// Checked results are results of earlier runs that passed their check, known by hashes of their bits. A run
// with the same options, whose operands and results have the same bits, is right for the same reason. So it
// needs no check of its own. A result with other bits is checked as usual.
//
//     const CheckedResults checked("earlier.jsonl");
//     const CheckedResult* known = checked.find(config, CheckMode::sample, operands_hash, results_hash);
//     if (known != nullptr) result.check = known->check;
#pragma once

#include <string>
#include <vector>

#include "moehill/record/record.h"

namespace moehill {

// CheckedResult is what one record says.
struct CheckedResult {
  Json question;          // its options, without those that say how often and with which clocks it was timed
  RecordedHashes hashes;  // of operands, results and other_results
  CheckMode mode;
  CheckResult check;  // which passed; `same_bits_as` names the process that checked
};

class CheckedResults {
 public:
  // Reads the records of `bench --json`, one on a line. Records without a passed check, and those of parts of
  // a step or without the name of their process, are passed over. Throws InputError for a file that cannot be
  // read, for a line that is no record, and for more than 10,000 results.
  explicit CheckedResults(const std::string& file);

  // Returns a result of a point with these options whose operands and results have these hashes, and whose
  // check was at least as thorough as `mode`; null if there is none. `config` is the point's config as its
  // record has it.
  const CheckedResult* find(const Json& config, CheckMode mode, const std::string& operands,
                            const std::string& results) const;

 private:
  std::vector<CheckedResult> results_;
};

}  // namespace moehill
