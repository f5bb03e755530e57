// Tests that an expert form and its text turn into each other.
#include "moehill/block/expert_form.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/refusal_fixture.h"

namespace moehill {
namespace {

TEST(ExpertForm, IsItsText) {
  for (const char* text :
       {"silu", "silu,limit:10", "swiglu-oai,limit:7,alpha:1.702", "gelu-tanh", "relu2", "relu2,ungated",
        "situ,beta:4,linear-beta:25", "silu,limit:0.1,biases,latent:1024,latent-norm:1e-05,shared-gate"}) {
    const ExpertForm form = parse_expert_form(text);
    EXPECT_EQ(to_string(form), text);
    EXPECT_EQ(parse_expert_form(to_string(form)), form);
  }
  EXPECT_EQ(to_string(parse_expert_form("swiglu-oai")), "swiglu-oai,alpha:1.702");
  EXPECT_EQ(to_string(parse_expert_form("situ,beta:2")), "situ,beta:2,linear-beta:25");
  EXPECT_EQ(parse_expert_form("relu2,ungated").num_matrices(), 2);
  EXPECT_EQ(parse_expert_form("relu2").num_matrices(), 3);
}

// Each is refused in one sentence with the fault, the value, the allowed values, and a remedy.
TEST(ExpertForm, RefusesWhatMakesNoSense) {
  for (const char* text : {"",
                           "gelu",
                           "SILU",
                           "silu,",
                           "silu,limit",
                           "silu,limit:",
                           "silu,limit:0",
                           "silu,limit:-7",
                           "silu,limit:nan",
                           "silu,limit:7,limit:7",
                           "silu,alpha:2",
                           "gelu-tanh,limit:7",
                           "relu2,limit:7",
                           "silu,beta:4",
                           "silu,linear-beta:4",
                           "silu,ungated",
                           "situ,ungated",
                           "silu,biases:1",
                           "silu,latent:0",
                           "silu,latent:1.5",
                           "silu,latent-norm:1e-05",
                           "silu,latent:8,latent-norm:0",
                           "silu,bias",
                           "biases",
                           "silu,,biases"}) {
    try {
      parse_expert_form(text);
      FAIL() << text;
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind("--expert-form", 0), 0u) << text << ": " << message;
      EXPECT_TRUE(is_refusal(message)) << message;
    }
  }
}

}  // namespace
}  // namespace moehill
