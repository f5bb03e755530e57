// Implementation of quiet/yardstick.h: bursts that all processes begin together, put on one clock.
#include "moehill/quiet/yardstick.h"

#include <algorithm>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/bench/statistics.h"
#include "moehill/machine/topology.h"

namespace moehill {
namespace {

constexpr int kBursts = 2;      // of one measurement; the better one counts
constexpr int kReadPasses = 3;  // of one measurement

InstructionPeak peak_of(const char* instruction, const std::vector<double>& samples) {
  return {instruction, *std::max_element(samples.begin(), samples.end()), median_of(samples)};
}

}  // namespace

PointThreads threads_of(const RunConfig& config, const Job& job) {
  const bool alone = config.spread == Spread::none;
  const bool one_device = job.session() != nullptr || alone;
  return {one_device ? config.threads_per_device : config.num_devices * config.threads_per_device,
          alone && job.num_processes() > 1};
}

double rate_together(const std::vector<Burst>& bursts) {
  Burst all{0, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const Burst& burst : bursts) {
    if (burst.amount <= 0) continue;
    all.amount += burst.amount;
    all.begin = std::min(all.begin, burst.begin);
    all.end = std::max(all.end, burst.end);
  }
  return all.amount > 0 ? all.rate() : 0;
}

std::vector<double> job_rates(const std::vector<std::vector<double>>& values,
                              const std::vector<ClockReading>& before,
                              const std::vector<ClockReading>& after) {
  std::vector<double> rates;
  for (size_t i = 0; !values.empty() && i < values.front().size(); i += 3) {
    std::vector<Burst> bursts;
    for (size_t rank = 0; rank < values.size(); ++rank) {
      const double* burst = &values[rank][i];
      bursts.push_back({burst[0], on_first_clock(burst[1], before[rank], after[rank]),
                        on_first_clock(burst[2], before[rank], after[rank])});
    }
    rates.push_back(rate_together(bursts));
  }
  return rates;
}

std::vector<double> best_of_each(const std::vector<double>& rates, int64_t n) {
  MOEHILL_CHECK(std::ssize(rates) % n == 0, "{} rates, {} of each kind", rates.size(), n);
  std::vector<double> best;
  for (int64_t i = 0; i < std::ssize(rates); i += n)
    best.push_back(*std::max_element(rates.begin() + i, rates.begin() + i + n));
  return best;
}

Yardstick::Yardstick(std::vector<int> node_cpus, Job job) : job_(job), node_cpus_(std::move(node_cpus)) {}

int Yardstick::num_sharers(PointThreads threads) const {
  return threads.alone ? 1 : job_.processes_of_a_node();
}

ThreadTeam& Yardstick::team(PointThreads threads) {
  std::unique_ptr<ThreadTeam>& team = teams_[threads];
  if (team == nullptr) {
    std::vector<int> cpus;
    if (job_.session() != nullptr && !threads.alone)
      cpus = job_.session()->own_cpus(threads.num_threads);
    else if (threads.num_threads <= std::ssize(node_cpus_))
      cpus.assign(node_cpus_.begin(), node_cpus_.begin() + threads.num_threads);
    team = std::make_unique<ThreadTeam>(threads.num_threads, cpus);
  }
  return *team;
}

// Only clocks of different hosts differ, because the processes of one host share its clock.
std::vector<ClockReading> Yardstick::read_clocks() const {
  const bool several = job_.session() != nullptr && job_.session()->num_nodes() > 1;
  return several ? job_.read_clocks() : std::vector<ClockReading>(static_cast<size_t>(job_.num_processes()));
}

// Runs this process's part of a burst that all processes begin together. A process that takes no part returns
// an empty burst.
template <typename Measure>
Burst Yardstick::measure_here(PointThreads threads, const Measure& measure) {
  job_.wait_quietly();
  // Waking the threads takes a fifth of a burst, so they are woken before.
  if (takes_part(threads)) team(threads).run([](int) {});
  job_.start_together();
  return takes_part(threads) ? measure_pinned(team(threads), measure) : Burst{};
}

// Returns the rate of each burst of the whole job, on the first process.
std::vector<double> Yardstick::rates(const std::vector<Burst>& own,
                                     const std::vector<ClockReading>& before) const {
  std::vector<double> values;
  for (const Burst& burst : own) values.insert(values.end(), {burst.amount, burst.begin, burst.end});
  job_.wait_quietly();
  const std::vector<std::vector<double>> all = job_.gather(values);
  return job_rates(all, before, read_clocks());
}

void Yardstick::measure_peaks() {
  const std::vector<ClockReading> clocks = read_clocks();
  const size_t num_kernels = peak_kernels().size();
  std::vector<Burst> own;  // [measured][kernel][kBursts]
  for (const auto& [threads, samples] : measured_) {
    for (const PeakKernel& kernel : peak_kernels()) {
      for (int i = 0; i < kBursts; ++i)
        own.push_back(measure_here(threads, [&](ThreadTeam& team) { return run_burst(team, kernel); }));
    }
  }
  const std::vector<double> all = best_of_each(rates(own, clocks), kBursts);
  auto at = all.begin();
  for (auto& [threads, samples] : measured_) {
    samples.flops.resize(num_kernels);
    for (size_t k = 0; k < num_kernels && at != all.end(); ++k) samples.flops[k].push_back(*at++);
  }
  MOEHILL_CHECK(at == all.end(), "{} rates of {} teams", all.size(), measured_.size());
}

// The processes of a node share its memory beyond the caches, so each process reads its part. A process that
// measures alone reads all of it.
std::unique_ptr<ReadMemory> Yardstick::memory_for(PointThreads threads) {
  if (!takes_part(threads)) return nullptr;
  const Topology topology = detect_topology();
  const int64_t bytes = read_memory_bytes(topology.l3_bytes * topology.num_l3) / num_sharers(threads);
  return std::make_unique<ReadMemory>(team(threads), bytes / 4096 * 4096);
}

void Yardstick::measure_bandwidth() {
  const std::vector<ClockReading> clocks = read_clocks();
  std::vector<Burst> own;  // [measured][kReadPasses]
  for (const auto& [threads, samples] : measured_) {
    const std::unique_ptr<ReadMemory> memory = memory_for(threads);
    for (int i = 0; i < kReadPasses; ++i)
      own.push_back(measure_here(threads, [&](ThreadTeam& team) { return memory->read(team); }));
  }
  const std::vector<double> all = rates(own, clocks);
  auto at = all.begin();
  for (auto& [threads, samples] : measured_) {
    for (int i = 0; i < kReadPasses && at != all.end(); ++i) samples.read.push_back(*at++);
  }
  MOEHILL_CHECK(at == all.end(), "{} rates of {} teams", all.size(), measured_.size());
}

void Yardstick::measure_tile() {
  for (auto& [threads, samples] : measured_)
    samples.tile.push_back(measure_pinned(team(threads), measure_tile_peak));
}

Peaks Yardstick::peaks(PointThreads threads) const {
  Peaks peaks;
  const auto found = measured_.find(threads);
  if (found == measured_.end()) return peaks;
  const Samples& samples = found->second;
  for (size_t k = 0; k < samples.flops.size(); ++k) {
    if (samples.flops[k].empty()) continue;
    const InstructionPeak peak = peak_of(peak_kernels()[k].instruction, samples.flops[k]);
    if (peak_kernels()[k].dtype == DType::f32 && peak.best > peaks.f32.best) peaks.f32 = peak;
    if (peak.best > peaks.bf16.best) peaks.bf16 = peak;
  }
  if (!samples.read.empty()) {
    const auto [min, max] = std::minmax_element(samples.read.begin(), samples.read.end());
    peaks.read = {median_of(samples.read), *min, *max};
  }
  return peaks;
}

double Yardstick::tile_flops(int num_threads) const {
  const auto found = measured_.find({num_threads});
  return found == measured_.end() || found->second.tile.empty() ? 0 : median_of(found->second.tile);
}

}  // namespace moehill
