// `moehill logbook` prints a database's experiments as a book in Markdown (moehill/report/logbook.h), or adds
// a note of its author to one of them.
//
//     moehill logbook --db moehill.sqlite > logbook.md
//     moehill logbook note ep_vs_none "the second device waits" --db moehill.sqlite
#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/quiet/environment.h"
#include "moehill/report/logbook.h"

namespace moehill {
namespace {

// LogbookOptions is what the command line fills.
struct LogbookOptions {
  std::string database, published;
};

OptionSet logbook_option_set(LogbookOptions& o) {
  OptionSet set("moehill logbook [note EXPERIMENT TEXT]",
                "Prints a database's experiments as a book in Markdown; `note` adds a line of yours to one.",
                {"moehill logbook --db moehill.sqlite > logbook.md",
                 "moehill logbook note ep_vs_none \"the second device waits\" --db moehill.sqlite",
                 "moehill logbook --published reference/tpu_v5p_logbook.csv"});
  set.text("--db", &o.database, "FILE", "results database; else $MOEHILL_DB, else ./moehill.sqlite");
  set.text("--published", &o.published, "FILE",
           "published numbers to show beside; default: those of the reference logbook");
  return set;
}

// Adds the note and returns the exit status. For an unknown experiment it throws InputError, which names the
// experiments that there are.
int add_note(const LogbookOptions& options, const std::string& name, const std::string& text) {
  Store store = Store::open_existing(database_path(options.database), Access::read_write);
  const auto experiment = store.find_experiment(name);
  if (!experiment) {
    std::vector<std::string> names;
    for (const StoredExperiment& each : store.experiments()) names.push_back(each.name);
    throw input_error("logbook note", "no experiment '" + name + "'",
                      names.empty() ? "none is stored" : fmt::format("{}", fmt::join(names, ", ")),
                      "name one that moehill sweep has started");
  }
  if (text.empty()) throw input_error("logbook note", "an empty text", "a line", "write one");
  store.add_note({0, experiment->id, utc_now(), text});
  return kExitDone;
}

}  // namespace

int logbook_command(const std::vector<std::string>& args) {
  LogbookOptions options;
  OptionSet set = logbook_option_set(options);
  const bool is_note = !args.empty() && args[0] == "note";
  const bool is_help = is_note && asks_for_help(args);
  if (is_note && !is_help && args.size() < 3) {
    throw input_error("logbook note", count_text(std::ssize(args) - 1, "argument"), "EXPERIMENT TEXT",
                      "quote the text");
  }
  if (!set.parse({args.begin() + (is_help ? 1 : is_note ? 3 : 0), args.end()})) return kExitDone;
  if (is_note && set.given("--published"))
    throw usage_error("--published cannot be used with note", "leave it out");
  if (is_note) return add_note(options, args[1], args[2]);
  Store store = Store::open_existing(database_path(options.database));
  // Whatever a database has in it, the book is often read on a terminal.
  const std::string text = printable(render_logbook(store, read_published(options.published)), '?', "\n");
  std::fwrite(text.data(), 1, text.size(), stdout);  // run_command_line() sees whether it failed
  return kExitDone;
}

}  // namespace moehill
