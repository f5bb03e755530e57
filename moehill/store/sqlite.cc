// Implementation of store/sqlite.h. The file may come from anybody, so everything that SQLite does with it
// has limits, also of time.
#include "moehill/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cctype>
#include <cstring>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

// A connection waits this long for the lock, which another sweep holds only for small transactions.
constexpr int kBusyMilliseconds = 30000;
constexpr int kMostValueBytes = 256 << 20;
// The time is checked after this many steps of SQLite's virtual machine; a step takes less than a
// microsecond.
constexpr int kStepsBetweenLooks = 1 << 16;

// Returns "file:" and the path from the root as a URI, with everything except letters, digits and "/._-"
// written as %XX.
std::string uri_of(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    const bool is_plain =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("/._-", c) != nullptr;
    uri += is_plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

// Throws InputError if a pipe, a device or a folder has the name of a file that SQLite opens beside the
// database. To open a pipe would wait for its writer.
void refuse_others_beside(const std::string& path) {
  for (const char* ending : {"-journal", "-wal", "-shm"}) {
    const std::string name = path + ending;
    if (is_there(name) && !is_plain_file(name))
      throw input_error("--db", quoted(name, 200) + " (no regular file)",
                        "files of SQLite beside the database", "move it away, or name another database");
  }
}

}  // namespace

std::filesystem::path behind_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error),
                              file = std::filesystem::weakly_canonical(whole, error);
  return error ? whole : file;
}

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close(connection); }
void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Database::Database(const std::string& path, Access access) : path_(path) {
  if (access == Access::in_memory) {
    sqlite3* made = nullptr;
    const int code = sqlite3_open_v2(":memory:", &made, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
    connection_.reset(made);
    if (code != SQLITE_OK) fail(code, "making a database in memory");
  } else {
    open_file(access);
  }
  sqlite3* connection = connection_.get();
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, kBusyMilliseconds);
  // The file may come from anybody. Its schema has to be a trusted one all the same: otherwise SQLite 3.40
  // takes json_type(), which our own checks call, for unsafe, and refuses our tables. But only functions of
  // SQLite itself exist, and none of them reads files or loads code.
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);  // our own tables have none
  sqlite3_limit(connection, SQLITE_LIMIT_LENGTH, kMostValueBytes);
  sqlite3_limit(connection, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_progress_handler(connection, kStepsBetweenLooks, is_too_long, this);
}

int Database::is_too_long(void* database) {
  const auto& self = *static_cast<Database*>(database);
  return std::chrono::steady_clock::now() - self.statement_began_ > self.longest_ ? 1 : 0;
}

int Database::connect(const std::string& name, int flags) {
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &connection, flags, nullptr);
  connection_.reset(connection);
  return code;
}

// Reads the first page, for which SQLite makes its files beside the database. Returns false if that fails.
bool Database::answers() {
  return sqlite3_exec(connection_.get(), "SELECT count(*) FROM sqlite_master", nullptr, nullptr, nullptr) ==
         SQLITE_OK;
}

// To read a database with a write-ahead log SQLite makes files beside it, and only a connection that may
// write removes them. So a reader opens the file for writing if it can. If it cannot, because the folder is
// read-only or the disk is full, it declares the file immutable, unless somebody's log lies beside it.
void Database::open_file(Access access) {
  std::error_code ignored;
  const bool is_file = !path_.empty() && path_.front() != ':' &&  // as SQLite names what is no file
                       (!std::filesystem::exists(path_, ignored) || is_plain_file(path_));
  // A path from the root is never one of SQLite's other names, such as file:x?mode=memory.
  const std::filesystem::path file = behind_links(path_);
  const std::string folder = file.parent_path().string();
  const bool only_reads = access == Access::read_only;
  const bool can_write =
      !only_reads || (::access(path_.c_str(), W_OK) == 0 && ::access(folder.c_str(), W_OK) == 0);
  refuse_others_beside(file.string());
  const auto log_bytes = std::filesystem::file_size(file.string() + "-wal", ignored);
  const bool has_log = !ignored && log_bytes > 0;
  int code = SQLITE_CANTOPEN;
  if (is_file)
    code = connect(file.string(), (can_write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                                      (only_reads ? 0 : SQLITE_OPEN_CREATE));
  if (code == SQLITE_OK && only_reads && !has_log && !(can_write && answers()))
    code = connect(uri_of(file) + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  if (code != SQLITE_OK) {
    throw input_error(
        "--db", quoted(path_, 200) + " (" + sqlite3_errstr(code) + ")",
        only_reads ? "a database that a sweep has written" : "a file that can be read and written",
        "name another file or make its folder first");
  }
  if (only_reads) execute("PRAGMA query_only = ON");
}

// Each kind of error has a message that says what the user can do about it.
void Database::fail(int code, const std::string& doing) const {
  const int primary = code & 0xff;
  const std::string reason = sqlite3_errmsg(connection_.get());
  if (primary == SQLITE_INTERRUPT)
    throw input_error("--db",
                      fmt::format("{} (a view or table that is not read within {} s)", quoted(path_, 200),
                                  std::chrono::duration<double>(longest_).count()),
                      "a database that a sweep has written", "name another file");
  // SQLite has no number of its own for a file of a later format.
  const bool is_later = primary == SQLITE_ERROR && reason == "unsupported file format";
  if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT || is_later)
    throw input_error("--db", quoted(path_, 200) + " (" + reason + ")", "a database of moehill",
                      "name another file");
  if (primary == SQLITE_READONLY || primary == SQLITE_CANTOPEN)
    throw input_error("--db", quoted(path_, 200) + " (" + reason + ")",
                      "a file and folder that can be written", "name another file");
  if (primary == SQLITE_FULL || primary == SQLITE_IOERR) {
    throw StoreError(
        fmt::format("cannot write {}: {}. The disk is full or failing; what was stored before is intact: "
                    "free some space and start the same command again",
                    quoted(path_, 200), reason));
  }
  const std::string text = fmt::format("database {}: {} while {}", quoted(path_, 200), reason, doing);
  if (primary == SQLITE_BUSY) throw StoreBusy(text);
  throw StoreError(text);
}

void Database::execute(const std::string& sql) {
  statement_began_ = std::chrono::steady_clock::now();
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
  if (!began_) began_ = std::chrono::steady_clock::now();
  database_.statement_began_ = *began_;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail(code, "stepping");
  // The statement is reset, so that it can be bound and run again.
  sqlite3_reset(statement_.get());
  began_.reset();
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

std::string Statement::place(int column) const {
  return fmt::format("--db {}, column {}", quoted(database_.path(), 200),
                     sqlite3_column_name(statement_.get(), column));
}

Transaction::Transaction(Database& database) : database_(database) { database_.execute("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const std::exception&) {
    // SQLite has already rolled back by itself, as it does after an error of the disk.
  }
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace moehill
