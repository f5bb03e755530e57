// Implementation of collectives/mesh_measurement.h.
#include "moehill/collectives/mesh_measurement.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/bench/statistics.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"
#include "moehill/quiet/cold_caches.h"
#include "moehill/tensor/content_hash.h"

namespace moehill {
namespace {

// Inputs smaller than this stay in a core's own cache between two stages, so they are never made cold.
constexpr int64_t kColdFrom = 256 << 10;

// BufferBytes is the memory of the rank that needs most.
struct BufferBytes {
  size_t input = 0, output = 0;
};

BufferBytes largest_buffers(const MeshOptions& options, int num_ranks) {
  const int64_t n = element_counts(options).back();
  BufferBytes bytes;
  for (const Collective collective : options.collectives) {
    for (int r = 0; r < num_ranks; ++r) {
      const CollectiveCase largest(collective, options.dtype, n, r, num_ranks);
      bytes.input = std::max(bytes.input, static_cast<size_t>(largest.input_elements()));
      bytes.output = std::max(bytes.output, static_cast<size_t>(largest.output_elements()));
    }
  }
  const size_t element = dtype_bytes(options.dtype);
  return {bytes.input * element, bytes.output * element};
}

// Returns the value of every rank.
template <typename T>
std::vector<T> of_all_ranks(Group& group, T value) {
  std::vector<T> values(static_cast<size_t>(group.size()));
  std::vector<int64_t> offsets(values.size() + 1);
  std::iota(offsets.begin(), offsets.end(), int64_t{0});
  group.all_gather(&value, offsets, sizeof(T), values.data());
  return values;
}

// All devices copy the same number of bytes at the same time, so the slowest device determines the bandwidth.
double copy_bandwidth(Group& group) {
  group.barrier();
  const std::vector<double> rates = of_all_ranks(group, measure_copy_bandwidth(group.team()));
  return static_cast<double>(rates.size()) * *std::min_element(rates.begin(), rates.end());
}

// Device does one device's part of the measurement. Its peers do the same at the same time.
class Device {
 public:
  Device(Group& group, const MeshOptions& options, const LibraryGroupMaker& library)
      : group_(group), options_(options), library_(library ? library(group.team()) : nullptr) {
    const BufferBytes bytes = largest_buffers(options, group.size());
    input_ = group.exchange_memory(bytes.input);
    output_ = group.exchange_memory(bytes.output);
    const int64_t elements = static_cast<int64_t>(bytes.input / dtype_bytes(options.dtype));
    fill_collective_input(input_.get(), options.dtype, elements, group.rank(), group.team());
    poison(output_.get(), options.dtype, static_cast<int64_t>(bytes.output / dtype_bytes(options.dtype)),
           group.team());
    // Cold inputs change their signs before each call, so the expected result would be wrong.
    MOEHILL_CHECK(options.cold_bytes == 0 || !options.check, "cold collectives are not checked");
    if (options.cold_bytes > 0) cold_.emplace(options.cold_bytes, group.team());
  }

  MeshResult measure(const LineMeasured& measured, const StopMeasuring& stop) {
    MeshResult result;
    bool stopped = false;
    result.num_devices = group_.size();
    result.threads_per_device = group_.team().size();
    std::vector<double> copies;
    for (const Collective collective : options_.collectives) {
      if (stopped) break;
      if (options_.copies) copies.push_back(copy_bandwidth(group_));
      for (const int64_t n : element_counts(options_)) {
        if (stopped) break;
        result.collectives.push_back(measure(collective, n));
        if (measured && group_.rank() == 0)
          measured(result.collectives.back(), copies.empty() ? 0 : median_of(copies));
        stopped = stop && sum_of_ranks(stop() ? 1 : 0) > 0;
      }
    }
    if (options_.copies) copies.push_back(copy_bandwidth(group_));
    result.copy_bytes_per_s = copies.empty() ? 0 : median_of(copies);
    return result;
  }

 private:
  CollectiveResult measure(Collective collective, int64_t n) {
    const CollectiveCase problem(collective, options_.dtype, n, group_.rank(), group_.size());
    CollectiveResult result{collective, options_.dtype, n, group_.size(), {}, std::nullopt, {}};
    // The first call is checked before anything is timed. A size with a wrong result is not timed.
    if (options_.check) {
      poison_output(problem);
      problem.call(group_, input_.get(), output_.get());
      result.num_wrong = sum_of_ranks(own_wrong(problem));
      if (*result.num_wrong > 0) return result;
    }
    const bool beside = library_has(collective, options_.dtype, n, group_.size());
    const int64_t wrong = time(problem, beside ? library_.get() : nullptr, result);
    if (options_.check) result.num_wrong = sum_of_ranks(wrong);
    if (result.num_wrong.value_or(0) > 0) result.samples.clear();
    return result;
  }

  int64_t sum_of_ranks(int64_t own) {
    const auto counts = of_all_ranks(group_, own);
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }

  // Fills the output with NaN. Otherwise an element that the next call leaves out would keep its old value.
  void poison_output(const CollectiveCase& problem) {
    poison(output_.get(), options_.dtype, problem.output_elements(), group_.team());
  }

  int64_t own_wrong(const CollectiveCase& problem) {
    return problem.count_wrong(output_.get(), group_.team());
  }

  uint64_t output_hash(const CollectiveCase& problem) {
    return content_hash(group_.team(), output_.get(),
                        static_cast<size_t>(problem.output_elements()) * dtype_bytes(options_.dtype));
  }

  // Times our collective and the MPI library's in turn, so that a drift of the machine hits both. Returns the
  // number of wrong elements of our worst call on this device. The output of the checked call is there at
  // first, and is hashed. Later outputs are counted only if their hash differs, since counting takes longer.
  int64_t time(const CollectiveCase& problem, Group* library, CollectiveResult& result) {
    const uint64_t checked = options_.check ? output_hash(problem) : 0;
    int64_t wrong = 0;
    for (int64_t i = -options_.warmup; i < options_.iters; ++i) {
      if (library != nullptr) {
        const double elapsed = time_call(problem, *library);
        if (i >= 0) result.library_samples.push_back(elapsed);
      }
      const double elapsed = time_call(problem, group_);
      if (i >= 0) result.samples.push_back(elapsed);
      if (options_.check && output_hash(problem) != checked) wrong = std::max(wrong, own_wrong(problem));
    }
    // A sample is the time of the slowest device in that iteration.
    for (std::vector<double>* samples : {&result.samples, &result.library_samples}) {
      for (double& sample : *samples) {
        const std::vector<double> devices = of_all_ranks(group_, sample);
        sample = *std::max_element(devices.begin(), devices.end());
      }
    }
    return wrong;
  }

  double time_call(const CollectiveCase& problem, Group& group) {
    if (options_.check) poison_output(problem);
    if (cold_ && problem.input_elements() * static_cast<int64_t>(dtype_bytes(options_.dtype)) >= kColdFrom) {
      // The stage before a collective writes its input, so the input is in the caches of its own cores.
      (*cold_)();
      flip_signs(static_cast<uint32_t*>(input_.get()), problem.input_elements());
    }
    group_.barrier();
    const double start = seconds();
    problem.call(group, input_.get(), output_.get());
    const double elapsed = seconds() - start;
    group_.barrier();  // so that what follows does not slow the call of another device
    return elapsed;
  }

  // Writes every value anew. The mask flips the signs of one f32 or of two bf16.
  void flip_signs(uint32_t* words, int64_t elements) {
    const int64_t bytes = elements * static_cast<int64_t>(dtype_bytes(options_.dtype));
    group_.team().parallel_for(bytes / 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) words[i] ^= 0x80008000u;
    });
  }

  Group& group_;
  const MeshOptions& options_;
  std::optional<ColdCaches> cold_;
  std::unique_ptr<Group> library_;  // null: there is none
  std::shared_ptr<void> input_, output_;
};

}  // namespace

double CollectiveResult::algorithm_bandwidth() const { return bytes() / median_of(samples); }
double CollectiveResult::bus_bandwidth() const {
  return algorithm_bandwidth() * bus_factor(collective, num_devices);
}
double CollectiveResult::memory_bandwidth() const {
  return algorithm_bandwidth() * memory_factor(collective, num_devices);
}

// 256e3 bytes stand for the constant cost of a call.
double cost_of(const CollectiveResult& line) { return 256e3 + line.bytes(); }

double cost_of(const MeshOptions& options) {
  double sum = 0;
  for (const int64_t n : element_counts(options))
    sum += cost_of({.dtype = options.dtype, .n = n}) * static_cast<double>(options.collectives.size());
  return sum;
}

MeshResult measure_mesh(Mesh& mesh, const MeshOptions& options, const LibraryGroupMaker& library,
                        const LineMeasured& measured, const StopMeasuring& stop) {
  MeshResult result;
  mesh.run([&](Group& group) {
    MeshResult own = Device(group, options, library).measure(measured, stop);
    if (group.rank() == mesh.local_devices().begin) result = std::move(own);
  });
  return result;
}

// The library's collectives sum elements, but gather and exchange bytes. The shares of devices differ by at
// most one element, so no place is further than one element for each device past the size.
bool library_has(Collective collective, DType dtype, int64_t n, int num_devices) {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  if (collective == Collective::all_reduce || collective == Collective::reduce_scatter)
    return dtype == DType::f32 && n <= kMost;
  return (n + num_devices) * static_cast<int64_t>(dtype_bytes(dtype)) <= kMost;
}

std::vector<MemoryPart> predict_mesh_memory(const MeshOptions& options, int num_devices, int node_devices) {
  const BufferBytes bytes = largest_buffers(options, num_devices);
  const double devices = node_devices;
  return {{"inputs", devices * static_cast<double>(bytes.input)},
          {"outputs", devices * static_cast<double>(bytes.output)},
          {"copy bandwidth", devices * 2 * static_cast<double>(kCopyBytes)}};
}

std::vector<int64_t> element_counts(const MeshOptions& options) {
  std::vector<int64_t> counts;
  for (int64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= options.factor) {
    counts.push_back(bytes / static_cast<int64_t>(dtype_bytes(options.dtype)));
  }
  return counts;
}

}  // namespace moehill
