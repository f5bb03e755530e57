// TomlReader reads TOML tables with errors that say where: file, line and column, and the nearest known name.
// It knows nothing of experiments; experiment_file.cc uses it.
//
//     TomlReader toml("a.toml", text);
//     int64_t rounds = 5;
//     toml.read(toml.root(), "rounds", &rounds, 1, 10000);   // keeps 5 if the key is absent
#pragma once

#include <toml++/toml.h>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// TomlReader owns the parsed text.
class TomlReader {
 public:
  // Throws InputError if `text` is not TOML.
  TomlReader(std::string path, const std::string& text);

  const toml::table& root() const { return root_; }
  std::string place(const toml::source_region& region) const;  // "file.toml:12:3"
  [[noreturn]] void refuse(const toml::source_region& region, const std::string& got,
                           const std::string& allowed, const std::string& remedy) const;

  // Refuses keys that are not in `keys`. `what` is the table's name for people, such as "[measure]".
  void allow_keys(const toml::table& table, const std::string& what,
                  const std::vector<std::string>& keys) const;
  // Returns the keys in the order of the file; the library keeps them sorted.
  std::vector<toml::key> ordered_keys(const toml::table& table) const;

  // Each read() leaves `value` unchanged if the key is absent.
  void read(const toml::table& table, const std::string& key, std::string* value) const;
  void read(const toml::table& table, const std::string& key, int64_t* value, int64_t lo, int64_t hi) const;
  void read(const toml::table& table, const std::string& key, double* value, double lo, double hi) const;
  void read(const toml::table& table, const std::string& key, bool* value) const;
  // These return null if the key is absent.
  const toml::table* subtable(const toml::table& table, const std::string& key) const;
  const toml::array* array(const toml::table& table, const std::string& key) const;

  // Returns a string, an integer, a finite number or a boolean.
  StoredJson scalar(const toml::node& node) const;
  // Returns one such value, or an array of at least one of them.
  StoredJson scalar_or_array(const toml::node& node) const;

 private:
  std::string path_;
  toml::table root_;
};

}  // namespace moehill
