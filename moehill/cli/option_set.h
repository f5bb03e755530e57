// OptionSet holds the options of one subcommand. Each is declared once with its name, default, help and
// range, and is bound to a variable. The variable holds the default when it is declared, and the resolved
// value after parse(). OptionSet knows no rules between options; functions of the commands check those
// (flag_effects.h).
//
//     int64_t devices = 2;
//     OptionSet set("moehill demo", "Shows options.", {"moehill demo --devices 4"});
//     set.integer("--devices", &devices, 1, 64, "devices P");
//     if (!set.parse(args)) return kExitDone;        // --help was printed
//     if (set.given("--devices")) use(devices);      // 2 unless it was given
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/fields.h"
#include "moehill/base/parse.h"
#include "moehill/base/words.h"

namespace moehill {

class OptionSet {
 public:
  // `command` is for example "moehill bench". `examples` are whole command lines that work.
  OptionSet(std::string command, std::string summary, std::vector<std::string> examples);

  // Each of these declares an option that is parsed into `value`. The current content of `value` is the
  // default and must be within `lo` and `hi`.
  template <std::integral T>
  void integer(const std::string& name, T* value, int64_t lo, int64_t hi, const std::string& help) {
    MOEHILL_CHECK(lo <= static_cast<int64_t>(*value) && static_cast<int64_t>(*value) <= hi,
                  "the default {} of {} is out of its range", *value, name);
    custom(name, std::to_string(lo) + ".." + std::to_string(hi), std::to_string(*value), help,
           [=](const std::string& text) { *value = static_cast<T>(parse_integer(name, text, lo, hi)); });
  }
  void size(const std::string& name, int64_t* bytes, int64_t lo, int64_t hi, const std::string& help);
  void number(const std::string& name, double* value, double lo, double hi, const std::string& help);
  void integer_list(const std::string& name, std::vector<int64_t>* values, int64_t lo, int64_t hi,
                    const std::string& help);
  void text(const std::string& name, std::string* value, const std::string& placeholder,
            const std::string& help);
  // These declare a text that names a file or a folder: `input` if the command reads it, `output` if it
  // writes it. parse() throws InputError if an output is the same file as another option's. `files` returns
  // all files that are written, if these are not just the value itself.
  void input(const std::string& name, std::string* value, const std::string& placeholder,
             const std::string& help);
  using Files = std::function<std::vector<std::string>(const std::string&)>;
  void output(const std::string& name, std::string* value, const std::string& placeholder,
              const std::string& help, Files files = nullptr);
  // Pairs are names with values after an option that may be given more than once: "-L topk 2,4".
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  void pairs(const std::string& name, Pairs* value, const std::string& placeholder, const std::string& help);
  void flag(const std::string& name, bool* value, const std::string& help);
  // Declares any other option. `set` parses the text and throws InputError for a bad one.
  void custom(const std::string& name, const std::string& range, const std::string& default_text,
              const std::string& help, std::function<void(const std::string&)> set);

  // Declares an option that takes one of the enum's words, from `first` on.
  template <HasWords E>
  void choice(const std::string& name, E* value, const std::string& help, E first = E{}) {
    const size_t begin = static_cast<size_t>(first);
    choose(name, words_of<E>(begin), name_of(*value), help,
           [=](size_t i) { *value = static_cast<E>(begin + i); });
  }

  // Declares a choice that also takes `auto`, which becomes nullopt: the program then chooses.
  template <HasWords E>
  void auto_choice(const std::string& name, std::optional<E>* value, const std::string& help, E first = E{}) {
    const size_t begin = static_cast<size_t>(first);
    std::vector<std::string> names = words_of<E>(begin);
    names.insert(names.begin(), "auto");
    choose(name, names, *value ? name_of(**value) : "auto", help, [=](size_t i) {
      *value = i == 0 ? std::nullopt : std::optional<E>(static_cast<E>(begin + i - 1));
    });
  }

  // Declares an option that takes one of the enum's words, or one of the words in `several` ("both", "all"),
  // which stands for all values in `all`.
  template <HasWords E>
  void choices(const std::string& name, std::vector<E>* values, const std::vector<std::string>& several,
               const std::string& help, const std::vector<E>& all = every<E>()) {
    std::vector<std::string> names = words_of<E>(0);
    names.insert(names.end(), several.begin(), several.end());
    choose(name, names, name_of(values->front()), help,
           [=](size_t i) { *values = i < kNumWords<E> ? std::vector<E>{static_cast<E>(i)} : all; });
  }

  // Declares options for the named fields of a struct (moehill/base/fields.h), bound to the members of
  // `value`.
  template <typename Struct>
  void fields(Struct* value, const std::vector<std::string_view>& names) {
    Struct::fields(*value, Declarer{*this, names});
  }

  void shorten(const std::string& name, char letter);  // --min-bytes may be written -b

  // Takes the arguments after the subcommand. Returns false if it printed help. Throws InputError for an
  // unknown option, an option given twice, a flag with a value, another option without one, and a bad value.
  bool parse(const std::vector<std::string>& args);

  bool given(const std::string& name) const;
  std::vector<std::string> names() const;  // "--tokens"
  // Returns the options that were given. Names have no dashes in front and _ for -, as in an experiment file;
  // a flag has no value.
  std::vector<std::pair<std::string, std::optional<std::string>>> given_options() const;

 private:
  // Entry is one declared option.
  struct Entry {
    std::string name, range, default_text, help;
    std::function<void(const std::string&)> set;
    bool* flag = nullptr;
    std::string short_name;          // "-b", or empty
    std::optional<std::string> raw;  // the value as given; empty of a flag
    Pairs* pairs = nullptr;
  };

  // Declarer is called for every field of a struct and declares those that are named, by their type.
  struct Declarer {
    OptionSet& set;
    const std::vector<std::string_view>& names;
    template <typename T>
    void operator()(const Field& field, T& value) const {
      if (std::find(names.begin(), names.end(), field.name) == names.end()) return;
      const std::string option = option_name(field.name);
      if constexpr (HasWords<T>) {
        set.choice(option, &value, field.help);
      } else if constexpr (std::is_same_v<T, bool>) {
        set.flag(option, &value, field.help);
      } else if constexpr (std::is_integral_v<T>) {
        set.integer(option, &value, static_cast<int64_t>(field.lo), static_cast<int64_t>(field.hi),
                    field.help);
      } else if constexpr (std::is_floating_point_v<T>) {
        set.number(option, &value, field.lo, field.hi, field.help);
      }
    }
    template <typename T>
    void operator()(const Field&, Told<T>) const {}
  };

  template <HasWords E>
  static std::vector<E> every() {
    const auto all = all_values<E>();
    return {all.begin(), all.end()};
  }
  template <HasWords E>
  static std::vector<std::string> words_of(size_t begin) {
    const auto all = words(E{});
    return {all.begin() + static_cast<ptrdiff_t>(begin), all.end()};
  }
  void choose(const std::string& name, const std::vector<std::string>& names, const std::string& default_text,
              const std::string& help, std::function<void(size_t)> set);
  bool is_name(const std::string& argument) const;
  void refuse_shared_outputs() const;
  [[noreturn]] void refuse_unknown(const std::string& argument) const;
  Entry& entry_of(const std::string& argument);
  // Returns the value of the option at `position`. If the value is the next argument, `position` moves on to
  // it.
  std::string take_value(const Entry& entry, const std::vector<std::string>& args, size_t& position) const;
  // Returns the argument behind `position`, which moves on to it. Returns nothing if there is none, or
  // another option.
  std::optional<std::string> word_after(const std::vector<std::string>& args, size_t& position) const;
  // Throws InputError for an option that was typed as `typed`, with what it `got` in place of its value.
  [[noreturn]] static void refuse_no_value(const Entry& entry, const std::string& typed,
                                           const std::string& got);
  // Returns the text of --help-all, with every option and the rare ones last, or of --help, with as many as
  // fit 60 lines of 100 columns.
  std::string help(bool all) const;
  std::string entry_help(const Entry& entry, bool whole_range) const;

  std::string command_, summary_;
  std::vector<std::string> examples_;
  std::vector<Entry> entries_;
  // Place is an option that names a file, to find two options that would write the same one.
  struct Place {
    std::string option;
    const std::string* path;
    bool is_output;
    Files files;
  };
  std::vector<Place> places_;
};

// Returns true if --help, -h or --help-all is among `args`.
bool asks_for_help(const std::vector<std::string>& args);

// Takes out of `args` the options that are not in `own` (nor a call for help), with their values, and returns
// them: they belong to another command.
std::vector<std::string> take_others(std::vector<std::string>& args, const std::vector<std::string>& own);

}  // namespace moehill
