// NeedsSimulator is the base of tests that simulate. A build without SimGrid skips them.
//
//     class EngineTest : public NeedsSimulator {};
#pragma once

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/simulation/engine.h"

namespace moehill {

class NeedsSimulator : public testing::Test {
 protected:
  void SetUp() override {
    try {
      require_simulator();
    } catch (const InputError& error) {
      GTEST_SKIP() << error.what();
    }
  }
};

}  // namespace moehill
