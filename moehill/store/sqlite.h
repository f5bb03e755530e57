// SQLite as values: a connection, statements with bound values, and transactions. Errors are exceptions. Only
// this room includes SQLite; the tables are in store/schema.h.
//
//     Database database("results.sqlite", Access::read_only);
//     Statement statement(database, "SELECT label FROM point WHERE id = ?");
//     for (statement.bind(7); statement.step();) fmt::print("{}\n", statement.text(0));
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace moehill {

// StoreError: the database cannot be read or written now (exit status 5). What was committed before is
// intact.
class StoreError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// StoreBusy: another process holds the database.
class StoreBusy : public StoreError {
 public:
  using StoreError::StoreError;
};

// Errors about content that no sweep writes end with this remedy.
inline constexpr const char* kDamagedRemedy = "take the copy of a backup, or name another file";

// Access says how a database is opened. A database that is in_memory has no file and is gone with its
// connection.
enum class Access { read_only, read_write, in_memory };

// Returns the path from the root of the file to which `path` leads. SQLite's own files lie beside that file,
// and not beside a link to it.
std::filesystem::path behind_links(const std::string& path);

// Database is one connection.
class Database {
 public:
  // read_write makes the file if there is none. read_only changes nothing that lasts and leaves no file
  // behind, whether or not its folder can be written. Throws InputError for a path that cannot be opened.
  // A statement that runs for more than a minute ends with an error, because somebody may have put a view
  // into the file that never ends.
  Database(const std::string& path, Access access);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Sets the longest time of a statement.
  void limit_statements(std::chrono::milliseconds longest) { longest_ = longest; }

  void execute(const std::string& sql);  // statements without values and results
  int64_t last_insert_id() const;
  int64_t changed_rows() const;  // changed by the last statement
  const std::string& path() const { return path_; }

 private:
  friend class Statement;
  static int is_too_long(void* database);
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  // Throws InputError if the file is not a database, otherwise StoreError.
  [[noreturn]] void fail(int code, const std::string& doing) const;

  void open_file(Access access);
  int connect(const std::string& name, int flags);
  bool answers();

  std::string path_;
  std::chrono::steady_clock::time_point statement_began_;
  std::chrono::milliseconds longest_{60000};  // for each statement
  std::unique_ptr<sqlite3, Close> connection_;
};

// Statement is one prepared SQL statement. Values are always bound to `?` and never become part of the SQL.
class Statement {
 public:
  Statement(Database& database, const std::string& sql);

  template <typename... Values>
  Statement& bind(const Values&... values) {
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }
  bool step();  // true if there is a row
  void run();   // to the end; the statement can be bound again afterwards

  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  std::optional<double> optional_real(int column) const;
  std::string place(int column) const;  // for errors: "--db 'a.sqlite', column json"

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  void bind_one(int index, int64_t value);
  void bind_one(int index, int value) { bind_one(index, static_cast<int64_t>(value)); }
  void bind_one(int index, bool value) { bind_one(index, static_cast<int64_t>(value)); }
  void bind_one(int index, double value);
  void bind_one(int index, const std::string& value);
  void bind_one(int index, const char* value) { bind_one(index, std::string(value)); }
  void bind_one(int index, const std::optional<double>& value);
  void require(int code, const char* doing) const;

  Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::optional<std::chrono::steady_clock::time_point> began_;  // when its first row was asked for
};

// Transaction takes the write lock at once, so that nobody can change what is read inside it. Without
// commit() its changes are undone.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace moehill
