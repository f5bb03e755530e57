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

std::string refusal_of(const std::string& text) {
  try {
    parse_expert_form(text);
    return "";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(ExpertForm, AWordOfAnotherActivationIsRefusedByWhatItNeeds) {
  EXPECT_EQ(refusal_of("silu,alpha:2"),
            "--expert-form: alpha needs swiglu-oai, and not silu; leave alpha out");
  EXPECT_EQ(refusal_of("gelu-tanh,limit:7"),
            "--expert-form: limit needs silu or swiglu-oai, and not gelu-tanh; leave limit out");
  EXPECT_EQ(refusal_of("situ,ungated"),
            "--expert-form: ungated needs relu2, and not situ; leave ungated out");
}

// Each is refused in one sentence with the fault, what is allowed or needed, and a remedy.
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
    const std::string message = refusal_of(text);
    EXPECT_EQ(message.rfind("--expert-form", 0), 0u) << text << ": " << message;
    EXPECT_TRUE(is_refusal(message)) << message;
  }
}

}  // namespace
}  // namespace moehill
