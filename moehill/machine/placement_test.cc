#include "moehill/machine/placement.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "moehill/machine/pinning.h"
#include "moehill/machine/topology.h"

namespace moehill {
namespace {

TEST(Placement, ThreadsAreWhereTheyWerePinned) {
  const std::vector<int> cpus = allowed_cpus();
  ThreadTeam team(2, {cpus.back(), cpus.front()});
  const PinScope pin(cpus.back());
  const std::vector<ThreadPlace> places = places_of(team);
  EXPECT_EQ(places[0].cpu, cpus.back());
  EXPECT_EQ(places[1].cpu, cpus.front());
  for (const ThreadPlace& place : places) {
    EXPECT_GE(place.numa, 0);
    EXPECT_LE(place.core, place.cpu);
  }
}

TEST(Placement, AThreadThatTheSystemMovesHasNoPlace) {
  if (allowed_cpus().size() < 2) GTEST_SKIP() << "one CPU";
  ThreadTeam team(2, {kAnyCpu, kAnyCpu});
  EXPECT_EQ(places_of(team)[1], (ThreadPlace{kAnyCpu, kAnyCpu, kAnyCpu}));
}

TEST(Placement, PagesAreOnTheNodeOfTheThreadThatWroteThem) {
  constexpr size_t kBytes = 40 * 4096;
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const PinScope pin(allowed_cpus().front());
  const int numa = place_of_this_thread().numa;
  EXPECT_EQ(sample_pages(memory, kBytes, {numa}).num_unknown, 40);
  std::memset(memory, 1, kBytes);
  const PageSample written = sample_pages(memory, kBytes, {numa});
  if (written.num_unknown > 0) GTEST_SKIP() << "this system does not say where pages are";
  EXPECT_EQ(written.num_local, 40);
  EXPECT_EQ(sample_pages(memory, kBytes, {numa + 1}).num_remote, 40);
  EXPECT_EQ(sample_pages(memory, kBytes, {numa}, 7).num_local, 7);
  EXPECT_EQ(sample_pages(static_cast<char*>(memory) + 4095, 2, {numa}).num_local, 2);
  EXPECT_EQ(sample_pages(memory, 0, {numa}).num_local, 0);
  munmap(memory, kBytes);
}

// This needs a machine with two memory nodes; docs/clusters.md says how to emulate one.
TEST(Placement, PagesWrittenOnAnotherNodeAreRemote) {
  int first = kAnyCpu, other = kAnyCpu, other_node = 0;
  for (const int cpu : allowed_cpus()) {
    const PinScope pin(cpu);
    const int numa = place_of_this_thread().numa;
    if (first == kAnyCpu) first = cpu;
    const PinScope back(first);
    if (numa != place_of_this_thread().numa) other = cpu, other_node = numa;
  }
  if (other == kAnyCpu) GTEST_SKIP() << "one memory node";
  constexpr size_t kBytes = 64 * 4096;
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  {
    const PinScope pin(other);
    std::memset(memory, 1, kBytes / 4);
  }
  const PinScope pin(first);
  const int own_node = place_of_this_thread().numa;
  std::memset(static_cast<char*>(memory) + kBytes / 4, 1, kBytes - kBytes / 4);
  const PageSample own = sample_pages(memory, kBytes, {own_node});
  EXPECT_EQ(own.num_remote, 16);
  EXPECT_EQ(own.num_local, 48);
  EXPECT_EQ(sample_pages(memory, kBytes, {own_node, other_node}).num_remote, 0);
  munmap(memory, kBytes);
}

}  // namespace
}  // namespace moehill
