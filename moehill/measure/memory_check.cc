// Implementation of measure/memory_check.h: the prediction of each process's bytes, summed over the processes
// of a node and compared with what is there.
#include "moehill/measure/memory_check.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/machine/memory.h"
#include "moehill/moe/parcel.h"
#include "moehill/parallel/path.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

// The rest of the memory is for the system and for what the prediction does not cover.
constexpr double kUsableShare = 0.9;
// OpenBLAS maps this many bytes for each core when it is loaded, and for each thread that calls it. If the
// mapping fails, OpenBLAS waits forever. It touches few of these bytes, so they count only for a limit of
// addresses.
constexpr double kBlasBuffer = 128 << 20;

std::string list_of(const std::vector<MemoryPart>& parts) {
  std::string list;
  for (const MemoryPart& part : parts)
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", part.name, gib(part.bytes));
  return list;
}

// Returns the bytes of rows that a process holds for a check: rows of x, and rows of y if the process has
// only its own tokens' results. They are the process's own rows and the rows of a group of experts.
double brought_bytes(const RunConfig& run, const ProcessPlace& process) {
  if (process.num_processes == 1 || run.spread == Spread::none) return 0;
  const double tokens = static_cast<double>(run.shape.tokens);
  const double element = static_cast<double>(dtype_bytes(run.shape.dtype));
  // Products around the experts need all rows; experts of another width also need z, r and dr.
  const bool all = run.shape.form.latent > 0 || run.block.router_product;
  const double own = static_cast<double>(result_tokens(run, process.rank).size());
  const double rows = all ? tokens : std::min(tokens, own + 2 * tokens / process.num_processes);
  const double latent = 3 * tokens * static_cast<double>(run.shape.form.latent) * element;
  const double of_x = rows * static_cast<double>(run.shape.hidden) * element;
  return shards_tokens(run) ? 2 * of_x + latent : of_x;
}

bool is_alone(const Point& point) { return point.config.spread == Spread::none; }

// Writes a need into a message, or reads it from one.
void pass(MemoryNeed& need, Parcel& parcel) {
  parcel(need.node), parcel(need.parts), parcel(need.bytes), parcel(need.blas_bytes);
  parcel(need.node_bytes), parcel(need.process_bytes);
}

// Returns what this process needs and what its node has.
MemoryNeed need_of(const std::vector<MemoryPart>& parts) {
  std::array<char, 256> host{};
  (void)gethostname(host.data(), host.size() - 1);
  return {host.data(), list_of(parts),           total_bytes(parts),
          0,           available_memory_bytes(), process_headroom_bytes()};
}

double usable(int64_t bytes) { return kUsableShare * static_cast<double>(bytes); }

}  // namespace

// Returns why the needs do not fit; "" if they do. A process may exceed its own limit, or the processes of a
// node together may exceed the node's memory.
std::string memory_fault(const std::vector<MemoryNeed>& needs) {
  constexpr const char* kRemedy =
      "choose more processes, fewer --tokens, fewer --experts or fewer points at once";
  std::map<std::string, double> of_node;
  for (size_t r = 0; r < needs.size(); ++r) {
    const MemoryNeed& need = needs[r];
    const std::string who =
        needs.size() == 1 ? "predicted memory" : fmt::format("predicted memory of rank {}", r);
    if (need.bytes + need.blas_bytes > usable(need.process_bytes)) {
      return input_error(
                 who,
                 fmt::format("{} ({}), and {} of addresses for BLAS", gib(need.bytes), need.parts,
                             gib(need.blas_bytes)),
                 fmt::format("at most {}, 90 % of the {} that the limit of its process leaves",
                             gib(usable(need.process_bytes)), gib(static_cast<double>(need.process_bytes))),
                 kRemedy)
          .what();
    }
    // Processes of a node share its memory, so their needs are added up in the order of ranks.
    double& sum = of_node[need.node];
    sum += need.bytes;
    if (sum <= usable(need.node_bytes)) continue;
    const std::string all =
        needs.size() == 1 ? need.parts : fmt::format("rank {} alone {}: {}", r, gib(need.bytes), need.parts);
    const std::string place =
        needs.size() == 1 ? "" : fmt::format(" of the processes on {} up to rank {}", need.node, r);
    return input_error("predicted memory" + place, fmt::format("{} ({})", gib(sum), all),
                       fmt::format("at most {}, 90 % of the {} available", gib(usable(need.node_bytes)),
                                   gib(static_cast<double>(need.node_bytes))),
                       kRemedy)
        .what();
  }
  return "";
}

// Returns the place of this process in the job.
ProcessPlace place_of(const Job& job) {
  if (job.session() == nullptr) return {};
  return {job.num_processes(), job.processes_of_a_node(), job.session()->rank()};
}

std::vector<MemoryPart> predict_points_memory(const std::vector<Point>& points, const ProcessPlace& process,
                                              CheckMode check) {
  std::vector<MemoryPart> sum;
  // Runs of different distributions have operands of their own.
  std::vector<std::pair<DistributionOptions, std::vector<RunConfig>>> runs_of;
  for (const Point& point : points) {
    auto known = std::find_if(runs_of.begin(), runs_of.end(),
                              [&](const auto& runs) { return same_routing(runs.first, point.distribution); });
    if (known == runs_of.end()) known = runs_of.insert(known, {point.distribution, {}});
    known->second.push_back(point.config);
  }
  for (const auto& [distribution, runs] : runs_of) {
    for (const MemoryPart& part : predict_memory(runs, process)) {
      const auto same =
          std::find_if(sum.begin(), sum.end(), [&](const MemoryPart& p) { return p.name == part.name; });
      if (same == sum.end()) {
        sum.push_back(part);
      } else {
        same->bytes += part.bytes;
      }
    }
  }
  static const double cold_bytes = static_cast<double>(cold_cache_bytes(detect_topology()));
  // Checks run one after the other, so only the largest counts.
  MemoryPart checking{"the check", 0};
  for (const Point& point : points) {
    const RunConfig& run = point.config;
    if (is_alone(point) && process.rank > 0) continue;
    const bool alone = process.num_processes == 1 || is_alone(point);
    const int num_devices = process.num_processes > 1 ? 1 : run.num_devices;
    const double bytes =
        check_bytes(run.shape, run.block.pass, check,
                    {alone ? 1 : process.num_processes, num_devices * run.threads_per_device});
    checking.bytes =
        std::max(checking.bytes, bytes + (check == CheckMode::off ? 0 : brought_bytes(run, process)));
  }
  sum.push_back(checking);
  const bool whole = process.rank == 0 && std::any_of(points.begin(), points.end(), is_alone);
  sum.push_back({"to empty the caches", cold_bytes / (whole ? 1 : process.processes_of_a_node)});
  return sum;
}

double total_bytes(const std::vector<MemoryPart>& parts) {
  double total = 0;
  for (const MemoryPart& part : parts) total += part.bytes;
  return total;
}

void refuse_too_much_memory(const std::vector<MemoryPart>& parts, int64_t available_bytes,
                            const std::string& remedy) {
  const double needed = total_bytes(parts);
  if (needed <= usable(available_bytes)) return;
  throw input_error("predicted memory", fmt::format("{} ({})", gib(needed), list_of(parts)),
                    fmt::format("at most {}, 90 % of the {} available", gib(usable(available_bytes)),
                                gib(static_cast<double>(available_bytes))),
                    remedy);
}

namespace {

// Returns why the points do not fit; empty if they do. Collective, with the same answer on all processes.
std::string memory_fault(const std::vector<Point>& points, const Job& job, CheckMode check) {
  Parcel sent;
  MemoryNeed need = need_of(predict_points_memory(points, place_of(job), check));
  for (const Point& point : points) {
    const int devices = job.session() == nullptr ? point.config.num_devices : 1;
    const int threads = devices * point.config.threads_per_device;
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    need.blas_bytes = std::max(need.blas_bytes, kBlasBuffer * (threads + cores));
  }
  pass(need, sent);
  std::vector<MemoryNeed> needs;
  // The needs are gathered, and the root's answer is used everywhere, so that all processes refuse or none.
  for (const std::string& text : job.session() == nullptr ? std::vector<std::string>{sent.bytes()}
                                                          : job.session()->gather(sent.bytes())) {
    Parcel came(text);
    pass(needs.emplace_back(), came);
  }
  return job.from_root(memory_fault(needs));
}

}  // namespace

std::string memory_refusal() {
  const int64_t left = process_headroom_bytes();
  const std::string below = left == INT64_MAX ? ""
                                              : fmt::format(" and {} left below its limits (ulimit -v, -d)",
                                                            gib(static_cast<double>(left)));
  return fmt::format(
      "memory: the system refused more to this process, which has {} resident{}, although what was predicted "
      "is "
      "there; choose more processes, fewer --tokens, fewer --experts or fewer points at once",
      gib(static_cast<double>(current_rss_bytes())), below);
}

std::vector<double> by_rank(const Job& job, double value) {
  std::vector<double> values;
  for (const std::vector<double>& of_process : job.gather({value})) values.push_back(of_process.front());
  return values;
}

std::string memory_text(const std::vector<double>& bytes) {
  const double sum = std::accumulate(bytes.begin(), bytes.end(), 0.0);
  if (bytes.size() < 2) return gib(sum);
  const auto [least, most] = std::minmax_element(bytes.begin(), bytes.end());
  return fmt::format("{}, {} to {} a rank (most on rank {})", gib(sum), gib(*least), gib(*most),
                     most - bytes.begin());
}

std::vector<double> require_memory(const std::vector<Point>& points, const Job& job, CheckMode check) {
  const std::string fault = memory_fault(points, job, check);
  if (!fault.empty()) throw AgreedInputError(fault);
  return by_rank(job, total_bytes(predict_points_memory(points, place_of(job), check)));
}

// none and dp need the whole block in one process. If the memory suffices only without them, they are left
// out and the other points are measured.
std::vector<Point> without_large_references(const std::vector<Point>& points, const Job& job, CheckMode check,
                                            std::string& note) {
  if (job.session() == nullptr) return points;
  std::vector<Point> sharded;
  for (const Point& point : points) {
    if (is_ep(point.config.spread)) sharded.push_back(point);
  }
  if (sharded.empty() || sharded.size() == points.size()) return points;
  const std::string fault = memory_fault(points, job, check);
  if (fault.empty() || !memory_fault(sharded, job, check).empty()) return points;
  note += "left out: none and dp, which need the whole block in one process: " + fault + "\n";
  return sharded;
}

}  // namespace moehill
