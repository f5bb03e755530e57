// A rule that was written as text and read back is the same rule, and rules that make no sense are refused.
#include "moehill/routing/router_rule.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/refusal_fixture.h"
#include "moehill/routing/router_families.h"

namespace moehill {
namespace {

TEST(RouterRule, IsWhatItsTextSays) {
  EXPECT_EQ(to_string(RouterRule{}), "chosen-softmax");
  for (const RouterFamily& family : kRouterFamilies)
    EXPECT_EQ(to_string(parse_router_rule(family.rule)), family.rule) << family.models;
  const RouterRule v3 = parse_router_rule("sigmoid,bias,groups:8/4,normalized,factor:2.5");
  EXPECT_EQ(v3.score, RouterScore::sigmoid);
  EXPECT_TRUE(v3.bias && v3.normalized && v3.best_two && !v3.expert_scale && !v3.input_weighted);
  EXPECT_EQ(v3.groups, 8);
  EXPECT_EQ(v3.kept_groups, 4);
  EXPECT_EQ(v3.factor, 2.5);
  EXPECT_EQ(v3.zero_experts, 0);
  EXPECT_EQ(parse_router_rule("softmax,zero:256").zero_experts, 256);
  EXPECT_EQ(parse_router_rule("softmax,normalized:1e-12").least_sum, 1e-12);
  EXPECT_FALSE(parse_router_rule("softmax,groups-max:8/3").best_two);
}

void expect_refused(const std::string& text, const std::string& words) {
  try {
    parse_router_rule(text);
    ADD_FAILURE() << text << " accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    EXPECT_TRUE(is_refusal(error.what())) << error.what();
  }
}

TEST(RouterRule, RefusesWhatMakesNoSense) {
  for (const char* text : {"",
                           "softmx",
                           "sigmoid,",
                           "sigmoid,,bias",
                           "bias",
                           "sigmoid,softmax",
                           "sigmoid,bias:1",
                           "sigmoid,factor",
                           "sigmoid,factor:",
                           "sigmoid,factor:0",
                           "sigmoid,factor:nan",
                           "sigmoid,factor:1e9",
                           "sigmoid,groups:8",
                           "sigmoid,groups:8/9",
                           "sigmoid,groups:1/1",
                           "sigmoid,groups:8/4/2",
                           "softmax,zero:-1",
                           "softmax,zero:0",
                           "softmax,hash:0",
                           "softmax,normalized:0",
                           "sigmoid,Bias",
                           "sigmoid bias"}) {
    expect_refused(text, "--router");
  }
  expect_refused("sigmoid,bias,bias", "bias is given twice");
  expect_refused("softmax,groups:4/2,groups-max:4/2", "groups is given twice");
  expect_refused("chosen-softmax,bias", "--router: bias cannot be used with chosen-softmax");
  expect_refused("chosen-softmax,groups:2/1", "groups cannot be used with chosen-softmax");
  expect_refused("chosen-softmax,normalized", "normalized has no effect with chosen-softmax");
  expect_refused("softmax,hash:9,bias", "hash cannot be used with bias or groups");
}

TEST(RouterRule, RefusesExpertsItCannotChooseFrom) {
  const RouterRule v3 = parse_router_rule("sigmoid,bias,groups:4/2,normalized");
  EXPECT_NO_THROW(refuse_impossible(v3, 12, 6));
  EXPECT_THROW(refuse_impossible(v3, 12, 7), InputError);  // six experts in two groups
  EXPECT_THROW(refuse_impossible(v3, 10, 2), InputError);
  EXPECT_THROW(refuse_impossible(v3, 4, 2), InputError);  // the best two of one
  EXPECT_NO_THROW(refuse_impossible(parse_router_rule("softmax,groups-max:4/2"), 4, 2));
  EXPECT_NO_THROW(refuse_impossible(parse_router_rule("softmax,zero:2"), 4, 6));
  EXPECT_THROW(refuse_impossible(parse_router_rule("softmax,zero:2"), 4, 7), InputError);
  EXPECT_THROW(refuse_impossible(RouterRule{}, 4, 0), InputError);
}

}  // namespace
}  // namespace moehill
