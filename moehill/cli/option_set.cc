// Implementation of cli/option_set.h: it parses a command line and prints its help. No library does this, so
// that every refusal has the same form and names a remedy.
#include "moehill/cli/option_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/suggest.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

struct Argument {
  std::string name;
  std::optional<std::string> value;
};

// Splits "--name", "--name=value", "-n", "-nvalue" or "-n=value" into its name and its value, if it has one.
Argument split_argument(const std::string& text) {
  if (text.size() > 2 && text[0] == '-' && text[1] != '-')
    return {text.substr(0, 2), text.substr(text[2] == '=' ? 3 : 2)};
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return {text, std::nullopt};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Returns what a user types in front of --help: "moehill sweep" of "moehill sweep FILE".
std::string without_operands(const std::string& command) {
  return command.substr(0, command.find(' ', command.find(' ') + 1));
}

constexpr int64_t kMostHelpLines = 60;

// If --help would be too long, it leaves these options to --help-all.
constexpr const char* kRare[] = {
    "--expert-form",      "--shared-fused",    "--weights",        "--layer",
    "--run-alpha",        "--run-noise-scale", "--queue-mode",     "--routing-pack-strategy",
    "--capacity-factor",  "--capacity-policy", "--capacity-order", "--capacity-pool",
    "--capacity-sources", "--capacity-spares", "--remat-mode",     "--router-grad",
    "--balance-loss",     "--blocks",          "--wire",           "--shared-placement",
    "--placement",        "--ring-split",      "--waves",          "--nodes",
    "--none-threads",     "--timeout",         "--ablate",         "--overlap",
    "--warmup",           "--min-time",        "--ci-target",      "--seed",
    "--check-seed",       "--checked",         "--dump",           "--save-routing",
    "--trace-dir",        "--climbed",         "--router"};

}  // namespace

bool asks_for_help(const std::vector<std::string>& args) {
  return std::any_of(args.begin(), args.end(), [](const std::string& arg) {
    return arg == "--help" || arg == "-h" || arg == "--help-all";
  });
}

OptionSet::OptionSet(std::string command, std::string summary, std::vector<std::string> examples)
    : command_(std::move(command)), summary_(std::move(summary)), examples_(std::move(examples)) {}

void OptionSet::custom(const std::string& name, const std::string& range, const std::string& default_text,
                       const std::string& help, std::function<void(const std::string&)> set) {
  entries_.push_back({name, range, default_text, help, std::move(set), nullptr, {}, {}});
}

void OptionSet::size(const std::string& name, int64_t* bytes, int64_t lo, int64_t hi,
                     const std::string& help) {
  MOEHILL_CHECK(lo <= *bytes && *bytes <= hi, "the default {} of {} is out of its range", *bytes, name);
  custom(name, fmt::format("{}..{}", size_text(lo), size_text(hi)), size_text(*bytes), help,
         [=](const std::string& text) { *bytes = parse_size(name, text, lo, hi); });
}

void OptionSet::number(const std::string& name, double* value, double lo, double hi,
                       const std::string& help) {
  MOEHILL_CHECK(lo <= *value && *value <= hi, "the default {} of {} is out of its range", *value, name);
  custom(name, fmt::format("{:g}..{:g}", lo, hi), fmt::format("{:g}", *value), help,
         [=](const std::string& text) { *value = parse_number(name, text, lo, hi); });
}

void OptionSet::integer_list(const std::string& name, std::vector<int64_t>* values, int64_t lo, int64_t hi,
                             const std::string& help) {
  custom(name, fmt::format("{}..{},...", lo, hi), fmt::format("{}", fmt::join(*values, ",")), help,
         [=](const std::string& text) { *values = parse_integer_list(name, text, lo, hi); });
}

void OptionSet::text(const std::string& name, std::string* value, const std::string& placeholder,
                     const std::string& help) {
  custom(name, placeholder, *value, help, [=](const std::string& text) {
    if (text.empty())
      throw input_error(name, "an empty text", placeholder, "leave the option out or name one");
    *value = text;
  });
}

void OptionSet::input(const std::string& name, std::string* value, const std::string& placeholder,
                      const std::string& help) {
  text(name, value, placeholder, help);
  places_.push_back({name, value, false, nullptr});
}

void OptionSet::output(const std::string& name, std::string* value, const std::string& placeholder,
                       const std::string& help, Files files) {
  text(name, value, placeholder, help);
  places_.push_back({name, value, true, std::move(files)});
}

void OptionSet::refuse_shared_outputs() const {
  std::vector<NamedPath> paths;
  for (const Place& place : places_) {
    const std::vector<std::string> files =
        place.files ? place.files(*place.path) : std::vector<std::string>{*place.path};
    for (const std::string& file : files) paths.push_back({place.option, file, place.is_output});
  }
  // Some options take a file among other things, such as --hardware and --distribution trace:FILE.
  for (const Entry& entry : entries_) {
    const auto is_it = [&](const Place& place) { return place.option == entry.name; };
    if (!entry.raw || entry.range.find("FILE") == std::string::npos || std::ranges::any_of(places_, is_it))
      continue;
    for (const std::string& part : split(*entry.raw, ','))
      paths.push_back({entry.name, part.substr(part.find_first_of(":=") + 1)});
  }
  require_distinct_outputs(paths);
}

void OptionSet::flag(const std::string& name, bool* value, const std::string& help) {
  entries_.push_back({name, "", "", help, nullptr, value, {}, {}});
}

void OptionSet::pairs(const std::string& name, Pairs* value, const std::string& placeholder,
                      const std::string& help) {
  custom(name, placeholder, "", help, [](const std::string&) {});
  entries_.back().pairs = value;
}

void OptionSet::choose(const std::string& name, const std::vector<std::string>& names,
                       const std::string& default_text, const std::string& help,
                       std::function<void(size_t)> set) {
  custom(name, fmt::format("{}", fmt::join(names, "|")), default_text, help,
         [=](const std::string& text) { set(parse_choice(name, text, names)); });
}

void OptionSet::shorten(const std::string& name, char letter) {
  for (Entry& entry : entries_) {
    if (entry.name == name) entry.short_name = std::string("-") + letter;
  }
}

bool OptionSet::given(const std::string& name) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  MOEHILL_CHECK(found != entries_.end(), "no option {}", name);
  return found->raw.has_value();
}

std::vector<std::string> OptionSet::names() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back(entry.name);
  return names;
}

std::vector<std::pair<std::string, std::optional<std::string>>> OptionSet::given_options() const {
  std::vector<std::pair<std::string, std::optional<std::string>>> given;
  for (const Entry& entry : entries_) {
    if (!entry.raw) continue;
    std::string name = entry.name.substr(2);
    std::replace(name.begin(), name.end(), '-', '_');
    given.emplace_back(name, entry.flag != nullptr ? std::nullopt : entry.raw);
  }
  return given;
}

bool OptionSet::is_name(const std::string& argument) const {
  return argument.rfind("--", 0) == 0 || std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
           return !e.short_name.empty() && argument == e.short_name;
         });
}

void OptionSet::refuse_unknown(const std::string& argument) const {
  const std::string name = argument.substr(0, argument.find('='));
  std::vector<std::string> known = {"--help", "--help-all"};
  for (const Entry& entry : entries_) known.push_back(entry.name);
  const std::string nearest = nearest_name(name, known), command = without_operands(command_);
  throw input_error(
      name.rfind('-', 0) == 0 ? "unknown option" : "stray argument", quoted(name),
      fmt::format("the options of {}", command),
      nearest.empty() ? fmt::format("see {} --help", command) : fmt::format("did you mean {}?", nearest));
}

OptionSet::Entry& OptionSet::entry_of(const std::string& argument) {
  const std::string name = split_argument(argument).name;
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return name == e.name || (!e.short_name.empty() && name == e.short_name);
  });
  if (found == entries_.end()) refuse_unknown(argument);
  return *found;
}

std::string OptionSet::take_value(const Entry& entry, const std::vector<std::string>& args,
                                  size_t& position) const {
  const auto [typed, joined] = split_argument(args[position]);
  if (entry.flag != nullptr) {
    if (!joined) return "";
    throw input_error(entry.name, quoted(*joined), "no value, since it is a flag",
                      fmt::format("write {} alone, or leave it out", entry.name));
  }
  if (joined && !joined->empty()) return *joined;
  // `--tokens=` has an empty value.
  const std::optional<std::string> value = joined ? std::nullopt : word_after(args, position);
  if (!value) refuse_no_value(entry, typed, "no value");
  return *value;
}

void OptionSet::refuse_no_value(const Entry& entry, const std::string& typed, const std::string& got) {
  const char* what = entry.pairs != nullptr ? "both" : "the value";
  throw input_error(typed, got, entry.range, fmt::format("write {} after {}", what, typed));
}

std::optional<std::string> OptionSet::word_after(const std::vector<std::string>& args,
                                                 size_t& position) const {
  if (position + 1 == args.size() || is_name(args[position + 1])) return std::nullopt;
  return args[++position];
}

std::string OptionSet::entry_help(const Entry& entry, bool whole_range) const {
  constexpr size_t kColumn = 34;
  std::string left =
      fmt::format("  {}{}{}", entry.short_name, entry.short_name.empty() ? "" : ",", entry.name);
  if (!entry.range.empty()) left += " " + entry.range;
  if (!entry.default_text.empty()) left += "=" + entry.default_text;
  const bool fits = left.size() + 2 <= kColumn;
  if (!whole_range) left = wrapped(left, 6);
  return (fits ? fmt::format("{:<{}}", left, kColumn) : left + "\n" + std::string(kColumn, ' ')) +
         wrapped(entry.help, kColumn, kColumn) + "\n";
}

std::string OptionSet::help(bool all) const {
  std::vector<Entry> entries = {{"--help",
                                 "",
                                 "",
                                 "print this help; --help-all: every option, and its values in full",
                                 nullptr,
                                 nullptr,
                                 "-h",
                                 {}}};
  entries.insert(entries.end(), entries_.begin(), entries_.end());
  const auto rare = std::stable_partition(entries.begin(), entries.end(), [](const Entry& e) {
    return std::find(std::begin(kRare), std::end(kRare), e.name) == std::end(kRare);
  });
  const auto text_until = [&](std::vector<Entry>::iterator end, bool whole_ranges) {
    std::string options;
    for (auto entry = entries.begin(); entry != end; ++entry) options += entry_help(*entry, whole_ranges);
    const std::string more =
        end == entries.end()
            ? ""
            : fmt::format("{} --help-all shows {} more.\n", without_operands(command_), entries.end() - end);
    return fmt::format("{}\nUsage: {} [OPTIONS]\n\nOptions:\n{}{}\nExamples:\n  {}\n", wrapped(summary_, 0),
                       command_, options, more, fmt::join(examples_, "\n  "));
  };
  const std::string text = text_until(entries.end(), all);
  if (all || std::count(text.begin(), text.end(), '\n') <= kMostHelpLines) return text;
  return text_until(rare, false);
}

bool OptionSet::parse(const std::vector<std::string>& args) {
  if (asks_for_help(args)) {
    const bool all = std::find(args.begin(), args.end(), "--help-all") != args.end();
    // A default may come from the environment, so it may hold commands for the terminal.
    std::fputs(printable(help(all), '?', "\n").c_str(), stdout);
    return false;
  }
  // All arguments are read before any variable is set. An unknown option is thus refused before a value of
  // another one is parsed.
  for (size_t i = 0; i < args.size(); ++i) {
    Entry& entry = entry_of(args[i]);
    const bool twice = entry.raw.has_value();
    const std::string typed = split_argument(args[i]).name;
    entry.raw = take_value(entry, args, i);
    if (entry.pairs != nullptr) {
      const std::string first = *entry.raw;
      const std::optional<std::string> second = word_after(args, i);
      if (!second) refuse_no_value(entry, typed, quoted(first) + " alone");
      entry.pairs->emplace_back(first, *second);
      *entry.raw += " " + *second;
    } else if (twice)
      throw usage_error(entry.name + " is given twice", "leave one of them out");
  }
  for (const Entry& entry : entries_) {
    if (!entry.raw) continue;
    if (entry.flag != nullptr) {
      *entry.flag = true;
    } else {
      entry.set(*entry.raw);
    }
  }
  refuse_shared_outputs();
  return true;
}

std::vector<std::string> take_others(std::vector<std::string>& args, const std::vector<std::string>& own) {
  std::vector<std::string> kept, others;
  std::vector<std::string>* into = &kept;
  for (const std::string& arg : args) {
    const std::string name = arg.substr(0, arg.find('='));
    const bool is_own = asks_for_help({name}) || std::find(own.begin(), own.end(), name) != own.end();
    if (arg.rfind('-', 0) == 0 && arg != "-") into = is_own ? &kept : &others;
    into->push_back(arg);
  }
  args = kept;
  return others;
}

}  // namespace moehill
