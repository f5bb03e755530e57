// Units cover the rows and columns of every group once, are cut only where tiles allow it, and get smaller
// towards the end.
#include "moehill/kernels/gemm_units.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace moehill {
namespace {

struct UnitCase {
  std::vector<int64_t> rows;
  UnitCut cut;
};

std::vector<UnitCase> unit_cases() {
  const std::vector<std::vector<int64_t>> groups = {
      {1}, {64}, {3, 0, 1, 17, 0, 60}, {4096, 1, 700}, std::vector<int64_t>(41, 1), {0, 0}};
  std::vector<UnitCase> all;
  for (const auto& rows : groups) {
    for (const int64_t panels : {1, 3, 9, 128, 175}) {
      all.push_back({rows, {.num_panels = panels, .max_rows = 288, .max_panels = 64}});
      all.push_back({rows, {.num_panels = panels, .max_rows = 288, .max_panels = panels}});
      all.push_back({rows,
                     {.num_panels = panels,
                      .max_rows = 0,
                      .max_panels = panels,
                      .tall_rows = 1024,
                      .max_panels_tall = 44,
                      .min_panels = 40,
                      .keep_empty = true}});
    }
  }
  return all;
}

std::vector<int64_t> offsets_of(const std::vector<int64_t>& rows) {
  std::vector<int64_t> offset = {0};
  for (const int64_t n : rows) offset.push_back(offset.back() + n);
  return offset;
}

template <typename Body>
void for_all_cuts(const Body& body) {
  for (const UnitCase& c : unit_cases()) {
    const std::vector<int64_t> offset = offsets_of(c.rows);
    const GemmLimits limits{static_cast<int64_t>(c.rows.size()), std::max<int64_t>(1, offset.back()),
                            c.cut.num_panels * kPanelWidth, 1, 16};
    UnitQueue queue(limits, 288);
    for (const int threads : {1, 2, 16}) {
      queue.fill(offset, c.cut, threads);
      body(c, queue.units(), threads);
    }
  }
}

TEST(UnitQueue, CoversRowsAndPanelsOnce) {
  for_all_cuts([](const UnitCase& c, const std::vector<GemmUnit>& units, int) {
    const std::vector<int64_t> offset = offsets_of(c.rows);
    int64_t expected = 0;  // rows times panels, and the panels of empty groups once
    for (const int64_t n : c.rows) expected += (n > 0 ? n : c.cut.keep_empty ? 1 : 0) * c.cut.num_panels;
    int64_t covered = 0;
    for (const GemmUnit& a : units) {
      const size_t g = static_cast<size_t>(a.group);
      EXPECT_TRUE(offset[g] <= a.row_begin && a.row_end <= offset[g + 1] && a.panel_begin < a.panel_end &&
                  a.panel_end <= c.cut.num_panels);
      covered += std::max<int64_t>(1, a.row_end - a.row_begin) * (a.panel_end - a.panel_begin);
      for (const GemmUnit& b : units) {
        const bool other = &a != &b && a.group == b.group &&
                           a.row_begin < std::max(b.row_end, b.row_begin + 1) &&
                           b.row_begin < std::max(a.row_end, a.row_begin + 1);
        EXPECT_FALSE(other && a.panel_begin < b.panel_end && b.panel_begin < a.panel_end);
      }
    }
    EXPECT_EQ(covered, expected);
  });
}

TEST(UnitQueue, KeepsToTheLimitsAndCutsBetweenPairsOfPanels) {
  for_all_cuts([](const UnitCase& c, const std::vector<GemmUnit>& units, int) {
    for (const GemmUnit& unit : units) {
      const int64_t rows = unit.row_end - unit.row_begin;
      EXPECT_LE(unit.panel_end - unit.panel_begin,
                rows > c.cut.tall_rows ? c.cut.max_panels_tall : c.cut.max_panels);
      EXPECT_EQ(unit.panel_begin % 2, 0);
      EXPECT_TRUE(c.cut.max_rows == 0 || rows <= c.cut.max_rows);
    }
  });
}

// Returns the work of a unit as the queue counts it.
int64_t work(const GemmUnit& unit) {
  return std::max<int64_t>(8, unit.row_end - unit.row_begin) * (unit.panel_end - unit.panel_begin);
}

TEST(UnitQueue, UnitsAreSmallAtTheEndAndFewInAll) {
  const std::vector<int64_t> one = {0, 64};
  UnitQueue queue({1, 64, 704 * kPanelWidth, 1, 2}, 288);
  queue.fill(one, {.num_panels = 704, .max_rows = 288, .max_panels = 704}, 2);
  int64_t all = 0;
  for (const GemmUnit& unit : queue.units()) all += work(unit);
  EXPECT_LE(queue.num_units(), 24);
  EXPECT_EQ(work(queue.units().front()), all / 4) << "half of a thread's share";
  EXPECT_LE(work(queue.units().back()), all / 64);
}

TEST(UnitQueue, OneThreadCutsNothingThatItNeedNot) {
  const std::vector<int64_t> offset = {0, 5, 5, 300};
  UnitQueue queue({3, 300, 128 * kPanelWidth, 1, 1}, 288);
  queue.fill(offset, {.num_panels = 128, .max_rows = 288, .max_panels = 128}, 1);
  EXPECT_EQ(queue.num_units(), 3) << "the third group has two blocks of rows";
  queue.fill(std::vector<int64_t>{0, 5}, {.num_panels = 9, .max_rows = 288, .max_panels = 9}, 1);
  EXPECT_EQ(queue.num_units(), 1) << "an odd number of panels";
}

// The weight gradient packs all of A for every unit.
TEST(UnitQueue, StaysAtTheLeastPanelsUnlessThreadsWouldIdle) {
  std::vector<int64_t> offset(61);
  for (size_t g = 0; g < offset.size(); ++g) offset[g] = static_cast<int64_t>(g) * 100;
  UnitQueue queue({60, 6000, 176 * kPanelWidth, 1, 2}, 288);
  const UnitCut cut{.num_panels = 176, .max_rows = 0, .max_panels = 176, .min_panels = 40};
  queue.fill(offset, cut, 2);
  for (const GemmUnit& unit : queue.units()) EXPECT_GE(unit.panel_end - unit.panel_begin, 40);
  queue.fill(std::vector<int64_t>{0, 100}, cut, 16);
  EXPECT_GE(queue.num_units(), 16) << "one for each thread";
}

}  // namespace
}  // namespace moehill
