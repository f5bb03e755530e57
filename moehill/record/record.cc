#include "moehill/record/record.h"

namespace moehill {

std::string record_line(const Record& record) {
  return json_of(record).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace moehill
