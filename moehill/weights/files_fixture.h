// This header has the expectations that several tests of bad files share.
#pragma once

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/weights/bad_files_fixture.h"

namespace moehill::testing_models {

// Expects an error of input in one line, with what, got, allowed and remedy.
inline void expect_message(const BadFile& bad, const std::string& message) {
  EXPECT_NE(message.find(bad.said), std::string::npos) << bad.name << ": " << message;
  EXPECT_NE(message.find("--weights"), std::string::npos) << bad.name << ": " << message;
  const size_t got = message.find(": got "), allowed = message.find(", allowed: "),
               remedy = message.rfind("; ");
  EXPECT_NE(got, std::string::npos) << bad.name << ": " << message;
  EXPECT_TRUE(allowed != std::string::npos && allowed > got) << bad.name << ": " << message;
  EXPECT_TRUE(remedy != std::string::npos && remedy > allowed) << bad.name << ": " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << bad.name << ": " << message;
}

template <typename Work>
void expect_refusal(const BadFile& bad, const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return expect_message(bad, error.what());
  }
  ADD_FAILURE() << bad.name << " was accepted";
}

}  // namespace moehill::testing_models
