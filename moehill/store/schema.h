// Schema: the tables and views of a results database, and the checks when one is opened.
#pragma once

#include "moehill/store/sqlite.h"

namespace moehill {

inline constexpr int64_t kApplicationId = 0x6d6f6568;  // "moeh"
inline constexpr int64_t kSchemaVersion = 1;           // PRAGMA user_version

// Write-ahead log, or a rollback journal on file systems of a network, where the log's shared memory does not
// work; synchronous=FULL; foreign keys; tables and views where the file is new. Throws InputError for a
// database of another program or of a newer version.
void prepare_database(Database& database, Access access);

}  // namespace moehill
