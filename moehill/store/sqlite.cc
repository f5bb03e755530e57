#include "moehill/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr int kBusyMilliseconds = 30000;  // another sweep holds the lock for one small transaction

}  // namespace

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close(connection); }
void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Database::Database(const std::string& path, Access access) : path_(path) {
  const int flags =
      access == Access::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  connection_.reset(connection);
  if (code != SQLITE_OK) {
    throw input_error("--db", path + " (" + sqlite3_errstr(code) + ")",
                      access == Access::read_only ? "a database that a sweep has written"
                                                  : "a file that can be read and written",
                      "name another file or make its folder first");
  }
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, kBusyMilliseconds);
}

void Database::fail(int code, const std::string& doing) const {
  const int primary = code & 0xff;
  const std::string reason = sqlite3_errmsg(connection_.get());
  if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT)
    throw input_error("--db", path_ + " (" + reason + ")", "a database of moehill", "name another file");
  if (primary == SQLITE_READONLY || primary == SQLITE_CANTOPEN)
    throw input_error("--db", path_ + " (" + reason + ")", "a file and folder that can be written",
                      "name another file");
  if (primary == SQLITE_FULL || primary == SQLITE_IOERR) {
    throw StoreError(
        fmt::format("cannot write {}: {}. The disk is full or failing; what was stored before is intact: "
                    "free some space and start the same command again",
                    path_, reason));
  }
  const std::string text = fmt::format("database {}: {} while {}", path_, reason, doing);
  if (primary == SQLITE_BUSY) throw StoreBusy(text);
  throw StoreError(text);
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, "executing " + sql.substr(0, 60));
}

int64_t Database::last_insert_id() const { return sqlite3_last_insert_rowid(connection_.get()); }
int64_t Database::changed_rows() const { return sqlite3_changes64(connection_.get()); }

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database.connection_.get(), sql.c_str(), -1, &statement, nullptr);
  if (code != SQLITE_OK) database.fail(code, "preparing " + sql.substr(0, 60));
  statement_.reset(statement);
}

void Statement::require(int code, const char* doing) const {
  if (code != SQLITE_OK) database_.fail(code, doing);
}

void Statement::bind_one(int index, int64_t value) {
  require(sqlite3_bind_int64(statement_.get(), index, value), "binding an integer");
}

void Statement::bind_one(int index, double value) {
  require(sqlite3_bind_double(statement_.get(), index, value), "binding a number");
}

void Statement::bind_one(int index, const std::string& value) {
  const int size = static_cast<int>(value.size());
  require(sqlite3_bind_text(statement_.get(), index, value.data(), size, SQLITE_TRANSIENT), "binding a text");
}

void Statement::bind_one(int index, const std::optional<double>& value) {
  if (value) return bind_one(index, *value);
  require(sqlite3_bind_null(statement_.get(), index), "binding nothing");
}

bool Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail(code, "stepping");
  sqlite3_reset(statement_.get());
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return text == nullptr ? "" : std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
}

std::optional<double> Statement::optional_real(int column) const {
  if (sqlite3_column_type(statement_.get(), column) == SQLITE_NULL) return std::nullopt;
  return real(column);
}

Transaction::Transaction(Database& database) : database_(database) { database_.execute("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const std::exception&) {
    // SQLite has rolled back by itself, as it does after an error of the disk.
  }
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace moehill
