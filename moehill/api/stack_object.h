// StackObject has packed matrices of the C interface and the grouped products with them, on the first device
// of the context. It has no experts and no routing.
//
//     StackObject stack(context, groups, k, n, DType::bf16);
//     stack.load(0, groups, data, MOEHILL_BF16, MOEHILL_IN_OUT);
//     stack.forward(offsets, a, c);    // c [rows, n] = a [rows, k] times the matrix of each row's group
#pragma once

#include <memory>

#include "moehill/api/context.h"
#include "moehill/api/host_matrix.h"
#include "moehill/api/step_tokens.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// StackObject owns matrices [groups][k, n].
class StackObject {
 public:
  StackObject(std::shared_ptr<Context> context, int groups, int64_t k, int64_t n, DType dtype);

  void load(int first, int count, const void* data, int32_t dtype, int32_t order);
  void store(int first, int count, void* data, int32_t dtype, int32_t order) const;
  void forward(const int64_t* offsets, const moehill_rows& a, void* c) const;
  void input_grad(const int64_t* offsets, const moehill_rows& dc, void* da) const;
  void weight_grad(const int64_t* offsets, const moehill_rows& a, const moehill_rows& dc);

 private:
  LogicalWeights matrices(int first, int count) const;
  HostMatrices host(void* data, int count, int32_t dtype, int32_t order) const;
  // Checks offsets [groups + 1] and returns the rows of all groups.
  int64_t require_offsets(const int64_t* offsets) const;
  RowSource source(const moehill_rows& rows, int64_t num_wanted, int64_t columns, const char* what) const;
  NamedTensor tensor(const char* what, const MatView& m) const;
  // Returns a product with work space for this many rows. It makes a new one if the last has room for fewer.
  GroupedGemm& gemm(int64_t rows) const;

  std::shared_ptr<Context> context_;
  WeightStack stack_;
  mutable std::unique_ptr<GroupedGemm> gemm_;
  mutable int64_t max_rows_ = 0;
};

}  // namespace moehill
