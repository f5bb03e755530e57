// Implementation of quiet/placement.h: every process tells the first one where its threads and its devices'
// memory are, and the first process puts that into words for the terminal.
#include "moehill/quiet/placement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "moehill/base/table.h"
#include "moehill/machine/pinning.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr size_t kMostNamed = 8;  // devices in the line
constexpr int kFields = 3;        // doubles of a device and of a thread in a message

bool is_pinned(const DevicePlace& device) {
  return std::none_of(device.threads.begin(), device.threads.end(),
                      [](const ThreadPlace& thread) { return thread.cpu == kAnyCpu; });
}

std::string on_host(const std::string& host) { return host.empty() ? "" : " of " + host; }

std::string describe(size_t device, const DevicePlace& place) {
  if (!is_pinned(place)) return fmt::format("{}{}: not pinned", device, on_host(place.host));
  std::vector<int> cpus, nodes;
  for (const ThreadPlace& thread : place.threads) {
    cpus.push_back(thread.cpu);
    if (std::find(nodes.begin(), nodes.end(), thread.numa) == nodes.end()) nodes.push_back(thread.numa);
  }
  const double remote = place.remote_share();
  return fmt::format("{}: CPU {}{}, memory node {}{}", device, fmt::join(cpus, " "), on_host(place.host),
                     fmt::join(nodes, " "),
                     remote > 0 ? fmt::format(", {:.0f} % of its experts on another", 100 * remote) : "");
}

// Warns at most once for each host, since one shared core usually means that all cores are shared.
std::string shared_cores(const std::vector<DevicePlace>& devices) {
  std::map<std::pair<std::string, int>, size_t> owner;  // [host, core] the device
  std::map<std::string, std::string> warnings;
  for (size_t d = 0; d < devices.size(); ++d) {
    for (const ThreadPlace& thread : devices[d].threads) {
      if (thread.cpu == kAnyCpu) continue;
      const auto [found, is_new] = owner.try_emplace({devices[d].host, thread.core}, d);
      if (is_new) continue;
      const std::string who = found->second == d ? fmt::format("device {}", d)
                                                 : fmt::format("devices {} and {}", found->second, d);
      warnings.try_emplace(devices[d].host, fmt::format("warning: threads of {} share core {}{}; give each "
                                                        "cores of its own, or start fewer\n",
                                                        who, thread.core, on_host(devices[d].host)));
    }
  }
  std::string text;
  for (const auto& [host, warning] : warnings) text += warning;
  return text;
}

std::string too_many_threads(const std::vector<DevicePlace>& devices, int num_cores) {
  std::map<std::string, size_t> num_threads;  // [host]
  for (const DevicePlace& device : devices) num_threads[device.host] += device.threads.size();
  std::string text;
  for (const auto& [host, threads] : num_threads) {
    if (threads <= static_cast<size_t>(num_cores)) continue;
    text += fmt::format("warning: {} threads on the {}{} that this job may use: they take turns\n", threads,
                        count_text(num_cores, "core"), on_host(host));
  }
  return text;
}

}  // namespace

// The places travel as doubles: for each device its numbers of threads and pages, then CPU, core and memory
// node of each thread.
std::vector<DevicePlace> gather_places(const Job& job, const std::vector<DevicePlace>& local) {
  std::vector<double> own;
  const auto add = [&own](auto... values) { (own.push_back(static_cast<double>(values)), ...); };
  for (const DevicePlace& device : local) {
    if (device.threads.empty()) continue;
    add(device.threads.size(), device.expert_pages.num_local, device.expert_pages.num_remote);
    for (const ThreadPlace& thread : device.threads) add(thread.cpu, thread.core, thread.numa);
  }
  const std::vector<std::vector<double>> all = job.gather(own);
  std::vector<DevicePlace> devices;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    for (auto at = all[rank].begin(); at != all[rank].end();) {
      DevicePlace device{job.session() == nullptr ? "" : host_of_rank(static_cast<int>(rank)), {}};
      const size_t num_threads = static_cast<size_t>(at[0]);
      device.expert_pages = {static_cast<int64_t>(at[1]), static_cast<int64_t>(at[2])};
      at += kFields;
      for (size_t i = 0; i < num_threads; ++i, at += kFields)
        device.threads.push_back({static_cast<int>(at[0]), static_cast<int>(at[1]), static_cast<int>(at[2])});
      devices.push_back(std::move(device));
    }
  }
  return devices;
}

double DevicePlace::remote_share() const {
  const int64_t known = expert_pages.num_local + expert_pages.num_remote;
  return known == 0 ? 0 : static_cast<double>(expert_pages.num_remote) / static_cast<double>(known);
}

bool all_pinned(const std::vector<DevicePlace>& devices) {
  return !devices.empty() && std::all_of(devices.begin(), devices.end(), is_pinned);
}

std::string placement_lines(const std::vector<DevicePlace>& devices, int num_cores) {
  if (devices.empty()) return "";
  std::vector<std::string> names;
  for (size_t d = 0; d < std::min(kMostNamed, devices.size()); ++d) names.push_back(describe(d, devices[d]));
  if (devices.size() > kMostNamed) names.push_back(fmt::format("{} more", devices.size() - kMostNamed));
  return fmt::format("devices {}\n{}{}", fmt::join(names, "; "), too_many_threads(devices, num_cores),
                     shared_cores(devices));
}

}  // namespace moehill
