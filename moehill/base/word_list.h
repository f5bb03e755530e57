// WordList reads option values that are words between commas. The first word is a choice; the others change
// it, and some have a value behind a colon:
//
//   sigmoid,bias,groups:8/4,normalized
//   swiglu-oai,limit:7,biases
//
// A WordList reads the values of one such option, and lists all its words in errors. For a single word,
// parse_choice() (base/parse.h) is enough.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/words.h"

namespace moehill {

// ListWord is a word that may follow the choice. `set` applies it to the value that is being read.
template <class T>
struct ListWord {
  const char* name;
  const char*
      value;  // shown in the help: ":X", or "[:X]" if X may be left out, or "" for a word without a value
  std::function<void(T&, const std::string& value)> set;
  const char* kind = nullptr;  // at most one word of a kind may be given; null: the word is a kind of its own
  bool listed = true;          // false: the word is understood, but messages do not offer it
};

// WordList reads the values of one option into a T. Choice is the enum of the first word.
template <class Choice, class T>
class WordList {
 public:
  // choice: returns the member of T that the first word sets. example: a whole value, for messages.
  WordList(std::string option, std::string example, Choice& (*choice)(T&), std::vector<ListWord<T>> words)
      : option_(std::move(option)), example_(std::move(example)), choice_(choice), words_(std::move(words)) {}

  // Returns the value. Throws InputError for an unknown or repeated word, or a missing or unwanted value.
  T parse(const std::string& text) const {
    const std::vector<std::string> parts = split(text, ',');
    const std::optional<Choice> first = value_named<Choice>(parts.front());
    if (!first) throw input_error(option_, quoted(parts.front()), allowed(), "write for example " + example_);
    T value;
    choice_(value) = *first;
    std::vector<std::string> taken;
    for (size_t i = 1; i < parts.size(); ++i) take(value, parts[i], taken);
    return value;
  }

 private:
  std::string allowed() const {
    std::vector<std::string> names;
    for (const ListWord<T>& word : words_) {
      if (word.listed) names.push_back(std::string(word.name) + word.value);
    }
    return fmt::format("{}, then any of {}", fmt::join(words(Choice{}), ", "), fmt::join(names, ", "));
  }

  void take(T& value, const std::string& text, std::vector<std::string>& taken) const {
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon), behind = colon == text.npos ? "" : text.substr(colon + 1);
    const auto word =
        std::find_if(words_.begin(), words_.end(), [&](const ListWord<T>& w) { return name == w.name; });
    const bool known = word != words_.end();
    if (!known || (colon != text.npos && (behind.empty() || *word->value == '\0')) ||
        (colon == text.npos && *word->value == ':'))
      throw input_error(option_, quoted(text), allowed(), "correct the word or leave it out");
    const std::string kind = word->kind == nullptr ? name : word->kind;
    if (std::find(taken.begin(), taken.end(), kind) != taken.end())
      throw usage_error(option_ + ": " + kind + " is given twice", "leave one of them out");
    taken.push_back(kind);
    word->set(value, behind);
  }

  std::string option_, example_;
  Choice& (*choice_)(T&);
  std::vector<ListWord<T>> words_;
};

}  // namespace moehill
