#include "moehill/cli/option_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/suggest.h"

namespace moehill {

OptionSet::OptionSet(std::string command, std::string summary, std::vector<std::string> examples)
    : command_(std::move(command)), summary_(std::move(summary)), examples_(std::move(examples)) {}

void OptionSet::custom(const std::string& name, const std::string& range, const std::string& default_text,
                       const std::string& help, std::function<void(const std::string&)> set) {
  entries_.push_back({name, range, default_text, help, std::move(set), nullptr, {}, {}});
}

void OptionSet::size(const std::string& name, int64_t* bytes, int64_t lo, int64_t hi,
                     const std::string& help) {
  custom(name, fmt::format("{}..{}", size_text(lo), size_text(hi)), size_text(*bytes), help,
         [=](const std::string& text) { *bytes = parse_size(name, text, lo, hi); });
}

void OptionSet::number(const std::string& name, double* value, double lo, double hi,
                       const std::string& help) {
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

void OptionSet::flag(const std::string& name, bool* value, const std::string& help) {
  entries_.push_back({name, "", "", help, nullptr, value, {}, {}});
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
  return !found->raw.empty();
}

std::vector<std::string> OptionSet::names() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back(entry.name);
  return names;
}

bool OptionSet::is_name(const std::string& argument) const {
  return argument.rfind("--", 0) == 0 || std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
           return !e.short_name.empty() && argument == e.short_name;
         });
}

void OptionSet::refuse_unknown(const std::string& argument) const {
  const std::string name = argument.substr(0, argument.find('='));
  std::vector<std::string> known = {"--help"};
  for (const Entry& entry : entries_) known.push_back(entry.name);
  const std::string nearest = nearest_name(name, known);
  throw input_error(
      name.rfind('-', 0) == 0 ? "unknown option" : "stray argument", quoted(name),
      fmt::format("the options of {}", command_),
      nearest.empty() ? fmt::format("see {} --help", command_) : fmt::format("did you mean {}?", nearest));
}

// CLI11 would take the next option, or after `--tokens=` the next argument, as the value.
void OptionSet::refuse_missing_values(const std::vector<std::string>& args) const {
  for (size_t i = 0; i < args.size(); ++i) {
    for (const Entry& entry : entries_) {
      const bool bare = args[i] == entry.name || (!entry.short_name.empty() && args[i] == entry.short_name);
      if (entry.flag != nullptr || (!bare && args[i] != entry.name + "=")) continue;
      if (!bare || i + 1 == args.size() || is_name(args[i + 1])) {
        throw input_error(entry.name, "no value", entry.range,
                          fmt::format("write the value after {}", entry.name));
      }
    }
  }
}

bool OptionSet::parse(const std::vector<std::string>& args) {
  CLI::App app(summary_, command_);
  app.allow_extras();
  app.footer(fmt::format("Examples:\n  {}", fmt::join(examples_, "\n  ")));
  app.get_formatter()->column_width(34);
  for (Entry& entry : entries_) {
    const auto remember = [&entry](const CLI::results_t& results) {
      entry.raw = results;
      return true;
    };
    const std::string names = entry.short_name.empty() ? entry.name : entry.short_name + "," + entry.name;
    CLI::Option* option = entry.flag != nullptr
                              ? app.add_flag_function(
                                    names, [&entry](int64_t) { entry.raw = {""}; }, entry.help)
                              : app.add_option(names, remember, entry.help);
    if (entry.flag == nullptr) {
      option->take_last()->type_name(entry.range)->default_str(entry.default_text)->expected(1);
      if (entry.default_text.empty()) option->default_str("");
    }
  }
  refuse_missing_values(args);
  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ParseError& error) {
    throw InputError(fmt::format("{}: {}; see {} --help", command_, error.what(), command_));
  }
  if (app.remaining_size() > 0) refuse_unknown(app.remaining().front());
  for (Entry& entry : entries_) {
    if (entry.raw.empty()) continue;
    if (entry.flag != nullptr) {
      *entry.flag = true;
    } else {
      entry.set(entry.raw.back());
    }
  }
  return true;
}

}  // namespace moehill
