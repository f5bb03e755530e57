// `moehill replay published` prints published figures of expert parallelism on clusters beside what the model
// predicts for them (moehill/predict/replay_tables.h has the tables and their sources).
//
//     moehill replay published --table deepep-normal
#include <fmt/format.h>

#include "moehill/base/error.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/predict/replay_report.h"

namespace moehill {

int replay_command(const std::vector<std::string>& args) {
  std::string json, table;
  OptionSet set(
      "moehill replay published",
      "Shows published figures of expert parallelism on clusters beside what the model predicts of them.",
      {"moehill replay published", "moehill replay published --table deepep-normal",
       "moehill replay published --json -"});
  set.text("--table", &table, "NAME", "this table alone, such as deepep-normal or drops");
  set.output("--json", &json, "FILE", "one record a row; - is standard output, without the tables");
  const bool is_published = !args.empty() && args[0] == "published";
  if (!set.parse({args.begin() + (is_published ? 1 : 0), args.end()})) return kExitDone;
  if (!is_published) throw input_error("replay", "nothing", "published", "write moehill replay published");
  require_writable_json(json);
  // Some tables take fifty times as long as others, so no time of all is estimated from the first ones.
  const Replay replay =
      replay_published(set.given("--table") ? std::optional(table) : std::nullopt,
                       [](const std::string& name) { show_progress("replaying the table " + name); });
  show_progress("");
  if (json != "-") show(replay_report(replay));
  write_json_lines(json, replay_records(replay));
  return kExitDone;
}

}  // namespace moehill
