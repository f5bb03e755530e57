// ExchangeObject brings rows of tokens to the processes of their experts and back, for callers who have
// experts of their own. It multiplies nothing; BlockObject has moehill's experts. A token's row goes once to
// every device that holds one of its experts (RaggedRoute). That device copies the row for each of these
// experts, in the order of experts, and sums their results before it sends one row back. Dispatch and combine
// are each other's gradients, except for the gate values.
//
//     exchange.plan({tokens, expert_ids, gates}, &num_rows, offsets);   // collective
//     exchange.dispatch(x, rows);     // rows [num_rows, H] in the order of this process's experts
//     exchange.combine(rows, y);      // y [tokens, H] = sums of gate value times row
#pragma once

#include <vector>

#include "moehill/api/description.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/row_route.h"

namespace moehill {

// ExchangeObject has one Device for each device of this process. All its functions but experts() are
// collective.
class ExchangeObject {
 public:
  // Throws Failure for a wrong description.
  ExchangeObject(std::shared_ptr<Context> context, const moehill_block_desc* given);

  Range experts() const { return experts_; }
  // `offsets` is [experts + 1] or null. Throws Failure for a wrong routing.
  void plan(const OwnRouting& own, int64_t* num_rows, int64_t* offsets);
  void dispatch(const void* x, void* rows);
  void combine(const void* rows, void* y);
  void combine_backward(const void* dy, const void* rows, void* d_rows, float* d_gates);
  void dispatch_backward(const void* d_rows, void* dx);

 private:
  struct Device;

  void allocate(const moehill_block_desc& desc);
  Device& device_of(const Group& group);
  void take_rows(int64_t* offsets);
  MatView tokens_view(const void* data, const Group& group) const;
  MatView rows_view(const void* data, const Device& device) const;
  NamedTensor tensor(const char* name, const void* data, int64_t rows) const;  // [rows, H]
  // Runs an entry that needs a plan: refuses it without a plan, checks its tensors, and works on each device.
  // `check_tensors` is called when the call's turn has come, because their sizes are those of the plan. All
  // processes learn what it returns.
  void call(Entry entry, FunctionRef<int64_t()> check_tensors, FunctionRef<void(Group&, Device&)> on_device);

  std::shared_ptr<Context> context_;
  int64_t number_ = 0;  // its number among the objects of the context
  RunConfig config_;
  Range experts_;  // of this process
  StepTokens tokens_;
  Routing routing_;
  int64_t num_rows_ = 0;
  bool is_planned_ = false;
  std::vector<std::shared_ptr<Device>> devices_;  // of this process
};

}  // namespace moehill
