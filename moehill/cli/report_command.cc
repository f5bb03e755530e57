// `moehill report` writes the results of a database as one HTML page, or in a form that other programs read.
// moehill/report/exports.h and html_page() (moehill/report/page.h) make the forms.
//
//     moehill report --db moehill.sqlite -o report.html
//     moehill report --format junit --db moehill.sqlite -o results.xml
#include <fmt/format.h>

#include <cstdio>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/terminal.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/report/exports.h"
#include "moehill/report/page.h"
#include "moehill/report/page_data.h"
#include "moehill/report/replayed.h"

namespace moehill {
namespace {

enum class Format { html, csv, jsonl, markdown, verdicts, google_benchmark, junit };
constexpr auto words(Format) {
  return std::array{"html", "csv", "jsonl", "markdown", "verdicts", "google-benchmark", "junit"};
}

// ReportOptions is what the command line fills.
struct ReportOptions {
  std::string database, output, published;
  Format format = Format::html;
};

OptionSet report_option_set(ReportOptions& o) {
  OptionSet set(
      "moehill report",
      "Writes the results of sweeps as one HTML page that loads nothing, or for other programs.",
      {"moehill report --db moehill.sqlite -o report.html", "moehill report --format csv -o results.csv",
       "moehill report --format google-benchmark --db moehill.sqlite -o results.json"});
  set.input("--db", &o.database, "FILE", "results database; else $MOEHILL_DB, else ./moehill.sqlite");
  set.choice("--format", &o.format, "form of the output");
  set.output("--output", &o.output, "FILE",
             "file to write; - is standard output; default: report.html for html, else -");
  set.shorten("--output", 'o');
  set.input("--published", &o.published, "FILE",
            "published numbers to stand beside; else those of the reference logbook");
  return set;
}

// Returns the whole output as a text.
std::string render(const ReportOptions& o, Store& store) {
  if (o.format == Format::jsonl) return export_json_lines(store);
  if (o.format == Format::html) return html_page(page_data(store, read_published(o.published)));
  const std::vector<ExperimentView> views = load_views(store, read_published(o.published));
  switch (o.format) {
    case Format::csv:
      return export_csv(views);
    case Format::verdicts:
      return replayed_page(views);
    case Format::google_benchmark:
      return export_google_benchmark(views);
    case Format::junit:
      return export_junit(store, views);
    default:
      return export_markdown(views);
  }
}

}  // namespace

int report_command(const std::vector<std::string>& args) {
  ReportOptions options;
  OptionSet set = report_option_set(options);
  if (!set.parse(args)) return kExitDone;
  const bool ignores_published = options.format != Format::html && options.format != Format::csv &&
                                 options.format != Format::markdown && options.format != Format::verdicts;
  if (set.given("--published") && ignores_published) {
    throw usage_error("--published needs a format that shows published numbers",
                      "use --format html, csv, markdown or verdicts, or leave it out");
  }
  if (options.output.empty()) options.output = options.format == Format::html ? "report.html" : "-";
  // Only now all files are known, also those of options that were left out.
  const std::string database = database_path(options.database);
  require_distinct_outputs(
      {{"--db", database}, {"--published", options.published}, {"--output", options.output, true}});
  Store store = Store::open_existing(database);
  require_writable_output("--output", options.output);
  std::string text = render(options, store);
  const bool is_json = options.format == Format::jsonl || options.format == Format::google_benchmark;
  if (options.output == "-" && is_json) text = calm_json(text);
  if (options.output != "-") {
    write_text_file(options.output, text);
    show(fmt::format("{}: {:.0f} kB\n", options.output, static_cast<double>(text.size()) / 1e3));
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);  // run_command_line() sees whether it failed
  }
  return kExitDone;
}

}  // namespace moehill
