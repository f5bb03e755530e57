// Schema makes the tables and views of a results database and checks a database that exists.
// store/store.h reads the rows and store/journal.h writes them.
//
//     Database database("results.sqlite", Access::read_write);
//     prepare_database(database, Access::read_write);   // InputError if it is not ours
#pragma once

#include "moehill/store/sqlite.h"

namespace moehill {

inline constexpr int64_t kApplicationId = 0x6d6f6568;  // "moeh"
inline constexpr int64_t kSchemaVersion = 1;           // stored as PRAGMA user_version

// Prepares a connection: foreign keys, synchronous = FULL, and a write-ahead log. On network file systems it
// takes a rollback journal instead, because the log needs shared memory. A new file gets its tables and
// views. Throws InputError for a database of another program or of another version, for other tables, and for
// damage.
void prepare_database(Database& database, Access access);

}  // namespace moehill
