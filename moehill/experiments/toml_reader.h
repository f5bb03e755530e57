// TOML tables read with errors that say where: file, line and column, and the nearest known name.
#pragma once

#include <toml++/toml.h>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

class TomlReader {
 public:
  // Throws InputError where `text` is not TOML.
  TomlReader(std::string path, const std::string& text);

  const toml::table& root() const { return root_; }
  std::string place(const toml::source_region& region) const;  // "file.toml:12:3"
  [[noreturn]] void refuse(const toml::source_region& region, const std::string& got,
                           const std::string& allowed, const std::string& remedy) const;

  // `what`: the table's name for people, such as "[measure]".
  void allow_keys(const toml::table& table, const std::string& what,
                  const std::vector<std::string>& keys) const;
  // Keys in the order of the file; the library keeps them sorted.
  std::vector<toml::key> ordered_keys(const toml::table& table) const;

  // Each read() leaves `value` as it was if the key is absent.
  void read(const toml::table& table, const std::string& key, std::string* value) const;
  void read(const toml::table& table, const std::string& key, int64_t* value, int64_t lo, int64_t hi) const;
  void read(const toml::table& table, const std::string& key, double* value, double lo, double hi) const;
  void read(const toml::table& table, const std::string& key, bool* value) const;
  // These return null if the key is absent.
  const toml::table* subtable(const toml::table& table, const std::string& key) const;
  const toml::array* array(const toml::table& table, const std::string& key) const;

  // A string, an integer, a finite number or a boolean.
  StoredJson scalar(const toml::node& node) const;
  // One such value, or an array of at least one of them.
  StoredJson scalar_or_array(const toml::node& node) const;

 private:
  std::string path_;
  toml::table root_;
};

}  // namespace moehill
