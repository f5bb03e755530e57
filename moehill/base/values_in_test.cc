// Tests that values come out of a message as they went in, and that a message may be empty.
#include "moehill/base/values_in.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace moehill {
namespace {

TEST(ValuesIn, AMessageHasTheValuesWhoseBytesItHas) {
  const std::vector<double> values = {1.5, -2};
  const std::string message(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
  EXPECT_EQ(values_in<double>(message), values);
  EXPECT_EQ(values_in<double>(message.substr(0, 15)), std::vector<double>{1.5});
}

TEST(ValuesIn, AnEmptyMessageHasNone) {
  EXPECT_TRUE(values_in<double>("").empty());
  EXPECT_TRUE(values_in<uint64_t>({}).empty());
}

}  // namespace
}  // namespace moehill
