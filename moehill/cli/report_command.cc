// `moehill report`: the results of a database as one HTML page.
#include <fmt/format.h>

#include <cstdio>

#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output_paths.h"
#include "moehill/report/page.h"
#include "moehill/report/page_data.h"

namespace moehill {

int report_command(const std::vector<std::string>& args) {
  std::string db, output = "report.html";
  OptionSet set("moehill report", "the results of sweeps as one HTML page that loads nothing",
                {"moehill report --db moehill.sqlite -o report.html",
                 "MOEHILL_DB=results.sqlite moehill report", "moehill report --output - > page.html"});
  set.text("--db", &db, "FILE", "results of sweeps; default: $MOEHILL_DB, else ./moehill.sqlite");
  set.text("--output", &output, "FILE", "where the page goes; - is standard output");
  set.shorten("--output", 'o');
  if (!set.parse(args)) return kExitDone;
  Store store = Store::open_existing(database_path(db));
  const std::string page = html_page(page_data(store));
  if (output == "-") {
    std::fwrite(page.data(), 1, page.size(), stdout);
    return kExitDone;
  }
  require_writable_file("--output", output);
  write_text_file(output, page);
  fmt::print("{}: {:.0f} kB\n", output, static_cast<double>(page.size()) / 1e3);
  return kExitDone;
}

}  // namespace moehill
