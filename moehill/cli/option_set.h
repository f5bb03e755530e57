// OptionSet: the options of one subcommand, each declared once with its name, default, help and range.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "moehill/base/parse.h"

namespace moehill {

// A value with its name on the command line.
template <typename E>
struct Named {
  std::string name;
  E value;
};

// The variable that an option is bound to holds its default when it is declared, and the resolved value after
// parse().
class OptionSet {
 public:
  // command: "moehill bench". examples: whole command lines that work.
  OptionSet(std::string command, std::string summary, std::vector<std::string> examples);

  void integer(const std::string& name, int64_t* value, int64_t lo, int64_t hi, const std::string& help);
  void size(const std::string& name, int64_t* bytes, int64_t lo, int64_t hi, const std::string& help);
  void number(const std::string& name, double* value, double lo, double hi, const std::string& help);
  void integer_list(const std::string& name, std::vector<int64_t>* values, int64_t lo, int64_t hi,
                    const std::string& help);
  void text(const std::string& name, std::string* value, const std::string& placeholder,
            const std::string& help);
  void flag(const std::string& name, bool* value, const std::string& help);
  // Anything else: `set` parses the text and throws InputError.
  void custom(const std::string& name, const std::string& range, const std::string& default_text,
              const std::string& help, std::function<void(const std::string&)> set);

  // One of `names`, whose first entry that equals *value is the default.
  template <typename E>
  void choice(const std::string& name, E* value, const std::vector<Named<E>>& names,
              const std::string& help) {
    std::string default_text;
    for (const Named<E>& named : names) {
      if (named.value == *value && default_text.empty()) default_text = named.name;
    }
    choose(name, names_of(names), default_text, help, [=](size_t i) { *value = names[i].value; });
  }

  // One of `names` or, by one of the words in `every` ("both", "all"), each of them in turn.
  template <typename E>
  void choices(const std::string& name, std::vector<E>* values, const std::vector<Named<E>>& names,
               const std::vector<std::string>& every, const std::string& help) {
    std::vector<std::string> words = names_of(names);
    words.insert(words.end(), every.begin(), every.end());
    std::string default_text;
    for (const Named<E>& named : names) {
      if (named.value == values->front() && default_text.empty()) default_text = named.name;
    }
    choose(name, words, default_text, help, [=](size_t i) {
      values->clear();
      for (size_t j = 0; j < names.size(); ++j) {
        if (i >= names.size() || i == j) values->push_back(names[j].value);
      }
    });
  }

  void shorten(const std::string& name, char letter);  // --min-bytes may be written -b

  // Arguments after the subcommand. Returns false after printing help. Throws InputError.
  bool parse(const std::vector<std::string>& args);

  bool given(const std::string& name) const;
  std::vector<std::string> names() const;  // "--tokens"

 private:
  struct Entry {
    std::string name, range, default_text, help;
    std::function<void(const std::string&)> set;
    bool* flag = nullptr;
    std::string short_name;        // "-b", or empty
    std::vector<std::string> raw;  // as given
  };

  template <typename E>
  static std::vector<std::string> names_of(const std::vector<Named<E>>& names) {
    std::vector<std::string> result;
    for (const Named<E>& named : names) result.push_back(named.name);
    return result;
  }
  void choose(const std::string& name, const std::vector<std::string>& names, const std::string& default_text,
              const std::string& help, std::function<void(size_t)> set);
  bool is_name(const std::string& argument) const;
  [[noreturn]] void refuse_unknown(const std::string& argument) const;
  void refuse_missing_values(const std::vector<std::string>& args) const;

  std::string command_, summary_;
  std::vector<std::string> examples_;
  std::vector<Entry> entries_;
};

}  // namespace moehill
