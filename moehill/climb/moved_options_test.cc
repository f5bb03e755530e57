// Tests that a table of climbs gives bench no options but those that a climb moves.
#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/climb/moves.h"

namespace moehill {
namespace {

TEST(RequireMoved, OptionsThatNoClimbMovesAreRefused) {
  EXPECT_NO_THROW(require_moved({{"impl", "fast"}, {"ep_path", "fused"}, {"shared_fused", true}}, "table"));
  EXPECT_NO_THROW(require_moved(StoredJson::object(), "table"));
  for (const char* name : {"json", "dump", "trace_dir", "save_routing", "export_csv", "tokens", "IMPL", "",
                           "impl=fast --json", "parallel-mode"}) {
    StoredJson options = {{"impl", "fast"}};
    options[name] = "file";
    EXPECT_THROW(require_moved(options, "table"), InputError) << name;
  }
}

}  // namespace
}  // namespace moehill
