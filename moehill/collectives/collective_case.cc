// Implementation of collectives/collective_case.h.
#include "moehill/collectives/collective_case.h"

#include <atomic>
#include <cstring>

namespace moehill {
namespace {

constexpr int kSum = -1;  // a Segment::source that stands for the sum over all ranks

// Returns element i of a rank's input, by a multiplication and two xor-shifts after splitmix64 (Steele, Lea,
// Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014). That takes a nanosecond for a value.
// The counter-based generator of base/rng.h takes twenty, so large buffers would be slow to fill and to
// check.
float input_value(int rank, int64_t i) {
  uint64_t x =
      static_cast<uint64_t>(i + 1) * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(rank) * 0xd1342543de82ef95u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(static_cast<int32_t>((x ^ (x >> 31)) >> 32)) * 0x1p-31f;
}

template <typename T>
T stored_value(int rank, int64_t i) {
  return from_f32<T>(input_value(rank, i));
}

// Returns the sum in rank order, in f32, rounded once. The collectives of a mesh promise this sum to the last
// bit.
template <typename T>
T stored_sum(int num_ranks, int64_t i) {
  float sum = to_f32(stored_value<T>(0, i));
  for (int r = 1; r < num_ranks; ++r) sum += to_f32(stored_value<T>(r, i));
  return from_f32<T>(sum);
}

template <typename T>
void fill(T* data, int64_t n, int rank, ThreadTeam& team) {
  team.parallel_for(n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) data[i] = stored_value<T>(rank, i);
  });
}

}  // namespace

double bus_factor(Collective collective, int num_ranks) {
  const double share_of_others = (num_ranks - 1.0) / num_ranks;
  return collective == Collective::all_reduce ? 2 * share_of_others : share_of_others;
}

double memory_factor(Collective collective, int num_ranks) {
  return collective == Collective::reduce_scatter ? num_ranks + 1.0 : 2.0 * num_ranks;
}

void fill_collective_input(void* data, DType dtype, int64_t n, int rank, ThreadTeam& team) {
  dtype == DType::f32 ? fill(static_cast<float*>(data), n, rank, team)
                      : fill(static_cast<bf16*>(data), n, rank, team);
}

void poison(void* data, DType dtype, int64_t n, ThreadTeam& team) {
  const int64_t bytes = n * static_cast<int64_t>(dtype_bytes(dtype));
  team.parallel_for(bytes, [&](int64_t begin, int64_t end) {
    // 0xff in every byte is a NaN in f32 and in bf16.
    std::memset(static_cast<char*>(data) + begin, 0xff, static_cast<size_t>(end - begin));
  });
}

CollectiveCase::CollectiveCase(Collective collective, DType dtype, int64_t n, int rank, int num_ranks)
    : collective_(collective), dtype_(dtype), n_(n), num_ranks_(num_ranks), input_elements_(n), offsets_{0} {
  for (int r = 0; r < num_ranks; ++r) offsets_.push_back(share(n, r, num_ranks).end);
  const Range own = share(n, rank, num_ranks);
  switch (collective) {
    case Collective::all_reduce:
      expected_.push_back({0, n, kSum, 0});
      break;
    case Collective::reduce_scatter:
      expected_.push_back({0, own.size(), kSum, own.begin});
      break;
    case Collective::all_gather:
      input_elements_ = own.size();
      for (int r = 0; r < num_ranks; ++r) {
        const Range part = share(n, r, num_ranks);
        expected_.push_back({part.begin, part.size(), r, 0});
      }
      break;
    case Collective::all_to_all:
      for (int r = 0; r < num_ranks; ++r) {
        receive_offsets_.push_back(r * own.size());
        expected_.push_back({r * own.size(), own.size(), r, own.begin});
      }
      receive_offsets_.push_back(num_ranks * own.size());
      break;
  }
}

int64_t CollectiveCase::output_elements() const { return expected_.back().begin + expected_.back().n; }

void CollectiveCase::call(Group& group, const void* input, void* output) const {
  switch (collective_) {
    case Collective::all_reduce:
      return group.all_reduce(input, dtype_, output, dtype_, n_);
    case Collective::reduce_scatter:
      return group.reduce_scatter(input, dtype_, offsets_, output, dtype_);
    case Collective::all_gather:
      return group.all_gather(input, offsets_, dtype_bytes(dtype_), output);
    case Collective::all_to_all:
      return group.all_to_all(input, offsets_, output, receive_offsets_, dtype_bytes(dtype_));
  }
}

template <typename T>
int64_t CollectiveCase::count_wrong_in(const Segment& segment, const T* output, ThreadTeam& team) const {
  std::atomic<int64_t> num_wrong{0};
  team.parallel_for(segment.n, [&](int64_t begin, int64_t end) {
    int64_t wrong = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = segment.source_begin + i;
      const T expected =
          segment.source == kSum ? stored_sum<T>(num_ranks_, from) : stored_value<T>(segment.source, from);
      // NaN differs from everything, so an element that was not written counts as wrong.
      wrong += !(to_f32(output[segment.begin + i]) == to_f32(expected));
    }
    num_wrong += wrong;
  });
  return num_wrong;
}

int64_t CollectiveCase::count_wrong(const void* output, ThreadTeam& team) const {
  int64_t num_wrong = 0;
  for (const Segment& segment : expected_) {
    num_wrong += dtype_ == DType::f32 ? count_wrong_in(segment, static_cast<const float*>(output), team)
                                      : count_wrong_in(segment, static_cast<const bf16*>(output), team);
  }
  return num_wrong;
}

}  // namespace moehill
