// `moehill plot` draws one picture from records or a database, as an SVG for a page of documentation.
//
//     moehill plot moehill.sqlite --picture peak -o peak.svg
#include <fmt/format.h>

#include "moehill/base/error.h"
#include "moehill/base/output_paths.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/report/matching.h"
#include "moehill/report/plots.h"

namespace moehill {

int plot_command(const std::vector<std::string>& args) {
  std::string output;
  Picture picture = Picture::automatic;
  OptionSet set(
      "moehill plot RECORDS",
      "Draws ratios to the baseline, or the share of the peak by top-k, as one SVG. RECORDS: files of "
      "--json with a comma between them, a database of sweeps, or a file of peers/compare --json.",
      {"moehill plot moehill.sqlite -o ratios.svg", "moehill plot moehill.sqlite --picture peak -o peak.svg",
       "moehill plot out.jsonl -o ratios.svg"});
  set.output("--output", &output, "FILE", "SVG to write");
  set.shorten("--output", 'o');
  set.choice("--picture", &picture, "what to draw; auto: ratios, or without any the share of the peak");
  const bool has_source = !args.empty() && args[0].rfind('-', 0) != 0;
  if (!set.parse({args.begin() + (has_source ? 1 : 0), args.end()})) return kExitDone;
  if (!has_source || output.empty())
    throw input_error("plot", has_source ? "no --output" : "no records first", "moehill plot RECORDS -o FILE",
                      "see moehill plot --help");
  refuse_source_as_output({args[0]}, "--output", output);
  require_writable_file("--output", output);
  write_text_file(output, plot_of(args[0], picture));
  return kExitDone;
}

}  // namespace moehill
