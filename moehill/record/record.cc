#include "moehill/record/record.h"

namespace moehill {

std::string record_line(const Record& record) { return json_line(json_of(record)); }

}  // namespace moehill
